// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/walker.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

namespace karyon::tools {

namespace {

using file_identity = std::pair<dev_t, ino_t>;

outcome outcome_of(int error_number) noexcept {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:  // a directory of the path was replaced
      return outcome::vanished;
    case ELOOP: return outcome::symlink_loop;
    default: return outcome::unreadable;
  }
}

// The standard library's headers have no extension, but tell editors what they are.
bool first_line_says_source(const std::string& path) noexcept {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    return false;
  }
  std::array<char, 256> bytes{};
  const ssize_t got = ::read(fd, bytes.data(), bytes.size());
  ::close(fd);
  std::string_view line(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  line = line.substr(0, line.find('\n'));
  return line.find("-*- C++ -*-") != std::string_view::npos || line.find("-*- c++ -*-") != std::string_view::npos ||
         line.find("-*- C -*-") != std::string_view::npos;
}

// Why a root can not be walked, or nothing and its status.
std::string examine_root(const std::string& root, struct stat& status) {
  if (root.empty()) {
    return "an empty name";
  }
  if (::stat(root.c_str(), &status) != 0 || (S_ISDIR(status.st_mode) && ::access(root.c_str(), R_OK | X_OK) != 0)) {
    return std::strerror(errno);
  }
  return S_ISDIR(status.st_mode) || S_ISREG(status.st_mode) ? "" : "neither a directory nor a regular file";
}

class walker {
public:
  void walk_root(const std::string& root) {
    struct stat status {};
    if (std::string why = examine_root(root, status); !why.empty()) {
      found_.unusable_roots.push_back(root + ": " + why);
    } else if (S_ISDIR(status.st_mode)) {
      enter(root, status);
    } else {
      take(root, status);
    }
  }

  walk_result finish() { return std::move(found_); }

private:
  void enter(const std::string& directory, const struct stat& status) {
    const file_identity identity{status.st_dev, status.st_ino};
    if (open_directories_.count(identity) != 0) {
      report(directory, outcome::symlink_loop, "leads back to a directory that it is in");
      return;
    }
    if (!seen_.insert(identity).second) {
      found_.outcomes.add(outcome::duplicate);
      return;
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(directory.c_str()), &::closedir);
    if (listing == nullptr) {
      report(directory, outcome_of(errno), std::strerror(errno));
      return;
    }
    ++found_.directories;
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(listing.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") {
        names.emplace_back(name);
      }
    }
    std::sort(names.begin(), names.end());
    open_directories_.insert(identity);
    const std::string prefix = directory.back() == '/' ? directory : directory + '/';
    for (const std::string& name : names) {
      visit(prefix + name, name);
    }
    open_directories_.erase(identity);
  }

  void visit(const std::string& path, const std::string& name) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      report(path, outcome_of(errno), std::strerror(errno));
    } else if (S_ISDIR(status.st_mode)) {
      enter(path, status);
    } else if (!S_ISREG(status.st_mode)) {
      report(path, outcome::not_regular, "a device, pipe or socket");
    } else if (has_source_name(name) || (name.find('.') == std::string::npos && first_line_says_source(path))) {
      take(path, status);
    } else {
      found_.outcomes.add(outcome::not_source);
    }
  }

  void take(const std::string& path, const struct stat& status) {
    if (seen_.insert({status.st_dev, status.st_ino}).second) {
      found_.files.push_back(path);
    } else {
      found_.outcomes.add(outcome::duplicate);
    }
  }

  void report(const std::string& path, outcome what, std::string reason) {
    found_.outcomes.add(what);
    found_.problems.push_back({path, what, std::move(reason)});
  }

  walk_result found_;
  std::set<file_identity> seen_;
  std::set<file_identity> open_directories_;  // those on the way from the root to here
};

}  // namespace

bool has_source_name(std::string_view file_name) noexcept {
  static constexpr std::array<std::string_view, 24> extensions{"C",   "H",   "c",   "c++", "cc",  "cpp", "cppm", "cu",
                                                               "cuh", "cxx", "def", "h",   "h++", "hh",  "hpp",  "hxx",
                                                               "inc", "inl", "ipp", "ixx", "m",   "mm",  "tcc",  "tpp"};
  const std::size_t dot = file_name.rfind('.');
  return dot != std::string_view::npos && dot != 0 &&
         std::binary_search(extensions.begin(), extensions.end(), file_name.substr(dot + 1));
}

walk_result walk(const std::vector<std::string>& roots) {
  walker w;
  for (const std::string& root : roots) {
    w.walk_root(root);
  }
  return w.finish();
}

bool can_walk(const std::string& root) {
  struct stat status {};
  return examine_root(root, status).empty();
}

std::vector<std::string> header_directories() {
  static constexpr std::array<const char*, 6> patterns{
      "/usr/include",   "/usr/local/include",       "/usr/local/*/include",
      "/opt/*/include", "/usr/lib/gcc/*/*/include", "/usr/lib/llvm-*/lib/clang/*/include"};
  std::vector<std::string> directories;
  for (const char* pattern : patterns) {
    glob_t matches{};
    if (::glob(pattern, GLOB_ONLYDIR, nullptr, &matches) == 0) {
      for (std::size_t i = 0; i < matches.gl_pathc; ++i) {
        struct stat status {};
        if (::stat(matches.gl_pathv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
          directories.emplace_back(matches.gl_pathv[i]);
        }
      }
    }
    ::globfree(&matches);
  }
  return directories;
}

}  // namespace karyon::tools
