// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>

extern char** environ;

namespace karyon::bench {

/// A nats-server of this run's own, on a free port of the loopback.
class nats_process {
public:
  nats_process() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int const probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(probe, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no free port");
    }
    ::close(probe);
    auto port = std::to_string(ntohs(address.sin_port));
    url_ = "nats://127.0.0.1:" + port;
    std::string words[] = {"nats-server", "-a", "127.0.0.1", "-p", port};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), words[4].data(), nullptr};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", 1, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", 1, 0);
    bool started = false;
    for (char const* path : {"/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"}) {
      started = started || posix_spawn(&pid_, path, &files, nullptr, arguments, environ) == 0;
    }
    posix_spawn_file_actions_destroy(&files);
    if (!started) {
      throw std::runtime_error("nats-server is not installed (Debian package nats-server)");
    }
    for (int tries = 0; tries < 1000; ++tries) {
      int const s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      bool const up = ::connect(s, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0;
      ::close(s);
      if (up) {
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    throw std::runtime_error("nats-server does not listen");
  }
  ~nats_process() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  nats_process(nats_process const&) = delete;
  nats_process& operator=(nats_process const&) = delete;

  void stop() const { ::kill(pid_, SIGSTOP); }
  void go_on() const { ::kill(pid_, SIGCONT); }
  void kill() const { ::kill(pid_, SIGKILL); }
  [[nodiscard]] std::string const& url() const { return url_; }

private:
  pid_t pid_ = 0;
  std::string url_;
};

}  // namespace karyon::bench
