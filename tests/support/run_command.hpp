// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace karyon::tests {

/// What a command left behind: its exit status (128 + n if signal n ended it) and what it wrote.
struct command_result {
  int status = -1;
  std::string out;
  std::string err;
};

namespace detail {

[[noreturn]] inline void execute(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

inline int exit_status(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid failed");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline std::string content(std::FILE* file) {
  std::rewind(file);
  std::string text;
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, got);
  return text;
}

}  // namespace detail

/// Runs a program, given by its path, without a terminal; standard input is empty. `out_path` replaces the captured
/// standard output.
inline command_result run_command(const std::vector<std::string>& command, const char* out_path = nullptr) {
  using file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  const file out(std::tmpfile(), &std::fclose);
  const file err(std::tmpfile(), &std::fclose);
  if (out == nullptr || err == nullptr) throw std::runtime_error("no temporary file");
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(out_path != nullptr ? ::open(out_path, O_WRONLY) : ::fileno(out.get()), STDOUT_FILENO);
    ::dup2(::fileno(err.get()), STDERR_FILENO);
    detail::execute(command);
  }
  command_result result;
  result.status = detail::exit_status(child);
  result.out = detail::content(out.get());
  result.err = detail::content(err.get());
  return result;
}

/// Runs a program on a terminal of its own, types `input` and then the end of input (^D); `out` is all that the terminal
/// showed.
inline command_result run_on_terminal(const std::vector<std::string>& command, const std::string& input) {
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child < 0) throw std::runtime_error("no terminal");
  if (child == 0) {
    ::setenv("TERM", "xterm", 1);
    detail::execute(command);
  }
  const std::string typed = input + '\x04';
  if (::write(terminal, typed.data(), typed.size()) != static_cast<ssize_t>(typed.size())) {
    throw std::runtime_error("the terminal took no input");
  }
  command_result result;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(terminal, buffer, sizeof buffer)) > 0;) {  // fails with EIO at the program's end
    result.out.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(terminal);
  result.status = detail::exit_status(child);
  return result;
}

}  // namespace karyon::tests
