// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "unit/cell/cell_testing.hpp"

extern char** environ;

namespace karyon::tests {

/// A server of Debian's package nats-server, on a free port of the loopback; ended with the object.
class nats_server {
public:
  /// Whether the program is there: without it what needs a server is left out.
  [[nodiscard]] static bool available() {
#if defined(KARYON_HAS_NATS)
    for (const char* path : {"/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"}) {
      if (::access(path, X_OK) == 0) return true;
    }
#endif
    return false;
  }
  explicit nats_server(std::vector<std::string> more = {}) : more_(std::move(more)) {
    hold_port();
    start();
  }
  ~nats_server() {
    kill();
    ::close(held_);
  }
  nats_server(const nats_server&) = delete;
  nats_server& operator=(const nats_server&) = delete;

  [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] sockaddr_in address() const { return loopback(port_); }
  void start() {
    std::vector<std::string> words{"nats-server", "-a", "127.0.0.1", "-p", std::to_string(port_)};
    words.insert(words.end(), more_.begin(), more_.end());
    std::vector<char*> arguments;
    for (std::string& w : words) arguments.push_back(w.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", 1, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", 1, 0);
    std::string path = "/usr/sbin/nats-server";
    for (const char* p : {"/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"}) {
      if (::access(p, X_OK) == 0) path = p;
    }
    const int failed = posix_spawn(&pid_, path.c_str(), &files, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed != 0) throw std::runtime_error("nats-server can not be started");
    if (!eventually([this] { return listens(); })) throw std::runtime_error("nats-server does not listen");
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void stop() const { ::kill(pid_, SIGSTOP); }
  void go_on() const { ::kill(pid_, SIGCONT); }

private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
  }
  /// A free port, which is nobody else's as long as this lives: a socket that is bound and does not listen leaves it to a server
  /// that asks for this very port, and to no other (both with SO_REUSEADDR, as Go's are).
  void hold_port() {
    held_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    sockaddr_in a = loopback(0);
    socklen_t size = sizeof(a);
    if (held_ < 0 || ::setsockopt(held_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        ::bind(held_, reinterpret_cast<sockaddr*>(&a), size) != 0 ||
        ::getsockname(held_, reinterpret_cast<sockaddr*>(&a), &size) != 0) {
      throw std::runtime_error("no free port");
    }
    port_ = ntohs(a.sin_port);
  }
  [[nodiscard]] bool listens() const {
    const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in a = loopback(port_);
    const bool connected = ::connect(s, reinterpret_cast<const sockaddr*>(&a), sizeof(a)) == 0;
    ::close(s);
    return connected;
  }
  int held_ = -1;
  std::uint16_t port_ = 0;
  std::vector<std::string> more_;
  pid_t pid_ = 0;
};

}  // namespace karyon::tests
