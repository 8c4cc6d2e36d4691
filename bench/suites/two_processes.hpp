// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>

/// What the drivers of the suite nerve share: a second process, and a line of text each way with it.
namespace karyon::bench {

/// A pipe for lines.
class line_pipe {
public:
  line_pipe() {
    if (::pipe(ends_) != 0) throw std::runtime_error("no pipe");
  }
  void say(std::string const& line) const {
    auto const text = line + "\n";
    if (::write(ends_[1], text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      throw std::runtime_error("the other process can not be told");
    }
  }
  [[nodiscard]] std::string hear() const {
    std::string line;
    for (char c = 0; ::read(ends_[0], &c, 1) == 1 && c != '\n';) line.push_back(c);
    if (line.empty()) throw std::runtime_error("the other process has ended");
    return line;
  }
  /// The process that does not read, or does not say, gives up its end, so that the other one's end is noticed.
  void only_say() { ::close(ends_[0]); }
  void only_hear() { ::close(ends_[1]); }

private:
  int ends_[2];
};

/// Runs `other` in a process of its own, which ends with this one at the latest. Before any thread is started.
template <class Other>
pid_t begin_process(Other const& other) {
  auto const parent = ::getpid();
  auto const child = ::fork();
  if (child < 0) throw std::runtime_error("no second process");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto status = 1;
    try {
      if (::getppid() == parent) {
        other();
        status = 0;
      }
    } catch (std::exception const& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    std::_Exit(status);
  }
  return child;
}

/// A folder of this user alone.
class private_folder {
public:
  private_folder() {
    char name[] = "/tmp/karyon-bench-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("no folder");
    path_ = name;
  }
  [[nodiscard]] std::string path(char const* name) const { return path_ + "/" + name; }
  ~private_folder() {
    for (auto const* name : {"a", "b", "c", "a.key", "b.key", "a.allow", "b.allow"}) ::unlink(path(name).c_str());
    ::rmdir(path_.c_str());
  }
  private_folder(private_folder const&) = delete;
  private_folder& operator=(private_folder const&) = delete;

private:
  std::string path_;
};

}  // namespace karyon::bench
