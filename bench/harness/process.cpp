// SPDX-License-Identifier: Apache-2.0
#include "harness/process.hpp"

#include "harness/driver.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <system_error>

extern char** environ;

namespace karyon::bench {
namespace {

/// Owns a file descriptor.
class descriptor {
public:
  explicit descriptor(int number) : number_(number) {
    if (number_ < 0) {
      throw std::system_error(errno, std::generic_category());
    }
  }
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  ~descriptor() { close(); }

  [[nodiscard]] int number() const { return number_; }

  void close() {
    if (number_ >= 0) {
      ::close(number_);
      number_ = -1;
    }
  }

private:
  int number_;
};

struct pipe_ends {
  static std::array<int, 2> open() {
    std::array<int, 2> ends{-1, -1};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw std::system_error(errno, std::generic_category(), "pipe");
    }
    return ends;
  }

  std::array<int, 2> both = open();
  descriptor read{both[0]};
  descriptor write{both[1]};
};

sigset_t endings() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

pid_t spawn_in_group(std::vector<std::string> const& command, int out, int err) {
  std::vector<char*> argv;
  for (auto const& word : command) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);

  pid_t pid = -1;
  int const error = posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    throw std::system_error(error, std::generic_category(), "can not start " + command.front());
  }
  return pid;
}

/// A driver that was started, with its process group. It is killed and reaped at the latest here.
class child {
public:
  explicit child(pid_t pid) : pid_(pid) {}
  child(child const&) = delete;
  child& operator=(child const&) = delete;
  ~child() {
    if (pid_ > 0) {
      rusage unused{};
      reap(unused);
    }
  }

  [[nodiscard]] pid_t pid() const { return pid_; }

  /// Ends what is left of the group, while the leader still holds its number, and returns the leader's wait status.
  int reap(rusage& used) {
    int status = 0;
    kill(-pid_, SIGKILL);
    while (wait4(pid_, &status, 0, &used) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

private:
  pid_t pid_;
};

/// Appends what can be read; false at the end of the stream.
bool drain(int from, std::string& text) {
  std::array<char, 4096> chunk;
  auto const got = ::read(from, chunk.data(), chunk.size());
  if (got > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return got > 0 || (got < 0 && errno == EINTR);
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  return text.substr(text.find_last_of('\n') + 1);
}

bool is_not_here(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == driver_not_here; }

std::string describe(int status, std::string const& errors) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return {};
  }
  if (is_not_here(status)) {
    return last_line(errors);
  }
  auto reason = WIFSIGNALED(status) ? "killed by signal " + std::to_string(WTERMSIG(status))
                                    : "exit status " + std::to_string(WEXITSTATUS(status));
  auto const line = last_line(errors);
  return line.empty() ? reason : reason + ": " + line;
}

/// Reads both streams until the process has ended. Returns the reason why it was killed, if it was.
std::string watch(pid_t pid, int out, int err, std::chrono::seconds timeout, std::string& output, std::string& errors) {
  auto const ending_set = endings();
  descriptor const endings_fd{signalfd(-1, &ending_set, SFD_CLOEXEC)};
  descriptor const ended{static_cast<int>(syscall(SYS_pidfd_open, pid, 0))};
  std::array<pollfd, 4> watched{
      {{ended.number(), POLLIN, 0}, {endings_fd.number(), POLLIN, 0}, {out, POLLIN, 0}, {err, POLLIN, 0}}};
  auto const deadline = now_ns() + std::chrono::nanoseconds{timeout}.count();
  while (true) {
    auto const left_ms = (deadline - now_ns()) / 1'000'000;
    if (left_ms <= 0) {
      kill(-pid, SIGKILL);
      return "timed out after " + std::to_string(timeout.count()) + " s";
    }
    if (poll(watched.data(), watched.size(), static_cast<int>(std::min<std::int64_t>(left_ms + 1, 60'000))) < 0) {
      continue;
    }
    if (watched[1].revents != 0) {
      kill(-pid, SIGKILL);
      signalfd_siginfo which{};
      (void)!::read(endings_fd.number(), &which, sizeof which);
      auto const number = static_cast<int>(which.ssi_signo);
      std::signal(number, SIG_DFL);
      std::raise(number);
      sigprocmask(SIG_UNBLOCK, &ending_set, nullptr);
    }
    for (std::size_t i : {2U, 3U}) {
      if (watched[i].revents != 0 && !drain(watched[i].fd, i == 2 ? output : errors)) {
        watched[i].fd = -1;
      }
    }
    // Only when both streams are empty: what was printed before the end still lies in the pipes.
    if (watched[0].revents != 0 && (watched[2].revents | watched[3].revents) == 0) {
      return {};
    }
  }
}

}  // namespace

outcome run_process(std::vector<std::string> const& command, std::chrono::seconds timeout) {
  outcome ended;
  auto const ending_set = endings();
  sigset_t previous;
  sigprocmask(SIG_BLOCK, &ending_set, &previous);
  try {
    pipe_ends out;
    pipe_ends err;
    std::string errors;
    auto const begin = now_ns();
    child driver{spawn_in_group(command, out.write.number(), err.write.number())};
    out.write.close();
    err.write.close();
    std::ofstream{"/proc/" + std::to_string(driver.pid()) + "/oom_score_adj"} << 1000;
    ended.failure = watch(driver.pid(), out.read.number(), err.read.number(), timeout, ended.output, errors);
    rusage used{};
    auto const status = driver.reap(used);
    ended.wall_ns = now_ns() - begin;
    ended.resident_bytes_max = static_cast<std::uint64_t>(used.ru_maxrss) * 1024;
    if (ended.failure.empty()) {
      ended.failure = describe(status, errors);
      ended.not_here = is_not_here(status) && !ended.failure.empty();
    }
  } catch (std::system_error const& error) {
    ended.failure = error.what();
  }
  sigprocmask(SIG_SETMASK, &previous, nullptr);
  return ended;
}

}  // namespace karyon::bench
