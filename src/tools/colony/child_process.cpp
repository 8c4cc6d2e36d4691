// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

extern char** environ;

namespace karyon::tools {

namespace {

void close_both(const std::array<int, 2>& ends) {
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace

result<child_process> child_process::start(const std::vector<std::string>& command) {
  // Sockets, since one that nobody reads any more can be written to without a signal.
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data()) != 0) {
    return fail(errc::system_error, std::strerror(errno));
  }
  if (::pipe2(out.data(), O_CLOEXEC) != 0) {
    const int why = errno;
    close_both(in);
    return fail(errc::system_error, std::strerror(why));
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));  // posix_spawnp's type; it changes nothing
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int why = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  if (why != 0) {
    ::close(in[1]);
    ::close(out[0]);
    return fail(why == ENOENT ? errc::not_found : errc::system_error, command[0] + ": " + std::strerror(why));
  }
  return child_process(pid, in[1], out[0]);
}

child_process::child_process(child_process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), to_(std::exchange(other.to_, -1)), from_(std::exchange(other.from_, -1)) {}

child_process::~child_process() {
  if (to_ >= 0) {
    ::close(to_);
  }
  if (from_ >= 0) {
    ::close(from_);
  }
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
}

bool child_process::write(const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t took = ::send(to_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (took < 0 && errno != EINTR) {
      return false;
    }
    done += took > 0 ? static_cast<std::size_t>(took) : 0;
  }
  return true;
}

std::size_t child_process::read(char* to, std::size_t size) {
  for (;;) {
    const ssize_t got = ::read(from_, to, size);
    if (got >= 0) {
      return static_cast<std::size_t>(got);
    }
    if (errno != EINTR) {
      return 0;
    }
  }
}

std::string child_process::read_all() {
  std::string all;
  std::array<char, 65536> buffer{};
  while (const std::size_t got = read(buffer.data(), buffer.size())) {
    all.append(buffer.data(), got);
  }
  return all;
}

bool child_process::succeeded() {
  int status = 0;
  pid_t ended = -1;
  do {
    ended = ::waitpid(pid_, &status, 0);
  } while (ended < 0 && errno == EINTR);
  pid_ = -1;
  return ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace karyon::tools
