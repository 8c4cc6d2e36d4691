// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace karyon::tests {

/// A directory of a test's own, which any user may enter; gone with the object.
class temporary_tree {
public:
  temporary_tree() {
    std::string name = (std::filesystem::temp_directory_path() / "karyon-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = std::filesystem::canonical(name).string();
    ::chmod(path_.c_str(), 0755);
  }
  temporary_tree(const temporary_tree&) = delete;
  temporary_tree& operator=(const temporary_tree&) = delete;
  ~temporary_tree() {
    // Directories may have been closed by the test, and be nested beyond what std::filesystem can take back.
    const std::string command = "chmod -R u+rwX '" + path_ + "' 2>/dev/null; rm -rf '" + path_ + "'";
    [[maybe_unused]] const int status = std::system(command.c_str());
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::string path(std::string_view name) const { return path_ + '/' + std::string(name); }

  void write(std::string_view name, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
  }
  /// A symbolic link at `name` that leads to `target`, which is below the tree and need not exist.
  void link(std::string_view target, std::string_view name) const {
    std::filesystem::create_symlink(path(target), path(name));
  }
  void link_to(const std::string& target, std::string_view name) const {
    std::filesystem::create_symlink(target, path(name));
  }
  void hard_link(std::string_view target, std::string_view name) const {
    std::filesystem::create_hard_link(path(target), path(name));
  }
  void pipe(std::string_view name) const { check(::mkfifo(path(name).c_str(), 0644)); }
  void mode(std::string_view name, mode_t bits) const { check(::chmod(path(name).c_str(), bits)); }
  /// `depth` directories, each in the one before: too deep for any path to name.
  void deep_chain(int depth) const {
    int at = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < depth; ++i) {
      check(::mkdirat(at, "d", 0755));
      const int next = ::openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      ::close(at);
      check(at = next);
    }
    ::close(at);
  }

private:
  static void check(int result) {
    if (result < 0) throw std::runtime_error("the test's file system refused");
  }

  std::string path_;
};

/// Calls `test` where file modes count: in a child process that is no longer root. `passed` becomes what it returns.
template <class Test>
void as_nobody(Test test, bool& passed) {
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr unsigned nobody = 65534;
    if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) ::_exit(2);
    ::_exit(test() ? 0 : 1);
  }
  int status = 0;
  passed = child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace karyon::tests
