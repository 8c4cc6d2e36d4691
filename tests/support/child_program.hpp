// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace karyon::tests {

/// A program beside the test, spoken with by lines; killed with the object, if it has not ended before.
class child_program {
public:
  /// Its path, and what follows on its command line.
  explicit child_program(std::vector<std::string> words) {
    int to[2];
    int from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(to[0], STDIN_FILENO);
      ::dup2(from[1], STDOUT_FILENO);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    if (child_ < 0) throw std::runtime_error("no process");
    in_ = ::fdopen(to[1], "w");
    out_ = ::fdopen(from[0], "r");
  }
  child_program(const child_program&) = delete;
  child_program& operator=(const child_program&) = delete;
  ~child_program() {
    if (!ended_) ::kill(child_, SIGKILL);
    static_cast<void>(wait());
    std::fclose(in_);
    std::fclose(out_);
  }

  /// The next line that it writes; empty at its end.
  [[nodiscard]] std::string line() {
    std::string whole;
    char text[512];
    while (std::fgets(text, sizeof text, out_) != nullptr) {
      whole += text;
      if (whole.back() != '\n') continue;
      whole.pop_back();
      break;
    }
    return whole;
  }
  void tell(const std::string& what) {
    std::fputs((what + '\n').c_str(), in_);
    std::fflush(in_);
  }
  [[nodiscard]] std::string ask(const std::string& what) {
    tell(what);
    return line();
  }
  void send(int signal) const { ::kill(child_, signal); }
  /// Stopped, all of its threads: it may still run for a while after the signal was sent.
  void stop() const {
    send(SIGSTOP);
    int status = 0;
    static_cast<void>(::waitpid(child_, &status, WUNTRACED));
  }
  /// Ends it at once, and returns when it has ended.
  void kill() {
    ::kill(child_, SIGKILL);
    static_cast<void>(wait());
  }
  /// Its exit status; -1 if a signal has ended it.
  int wait() {
    if (!ended_) {
      int status = 0;
      static_cast<void>(::waitpid(child_, &status, 0));
      ended_ = true;
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    return status_;
  }

private:
  pid_t child_ = -1;
  bool ended_ = false;
  int status_ = 0;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

}  // namespace karyon::tests
