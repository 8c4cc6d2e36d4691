// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <karyon/core/result.hpp>

#include "tools/colony/child_process.hpp"

namespace karyon::tools {

/// What a file was from a time on.
struct file_version {
  std::int64_t since_us = 0;  ///< since 1970-01-01 UTC
  std::string blob;           ///< git's name of its content; empty: there was no such file
};

/// The versions that a git repository has of the files below a directory, asked of the `git` command.
///
/// What counts is the line of first parents: a file is at each time what it was on the branch that is checked out, and what a merge brought
/// is there since the merge. Times are those of the commits as their committers' clocks had them; where they do not ascend, a version
/// is a microsecond later than the one before it.
class git_history {
public:
  /// errc::not_found: the directory is in no repository, or git is not installed, or refuses the repository (as it does with those of
  /// other users).
  [[nodiscard]] static result<git_history> of(const std::string& directory);

  /// By path below the directory, each in the order of time; those that are gone by now are among them.
  [[nodiscard]] const std::map<std::string, std::vector<file_version>>& files() const noexcept { return files_; }

  /// A content. Any thread; one at a time is served. errc::not_found, and what the system says.
  [[nodiscard]] result<std::string> content(const std::string& blob, std::uint64_t bytes_max) const;

private:
  struct asked {
    explicit asked(child_process c) : command(std::move(c)) {}
    std::mutex lock;
    child_process command;  // git cat-file --batch
    std::string ahead;      // read, and not used yet
  };

  std::map<std::string, std::vector<file_version>> files_;
  std::unique_ptr<asked> objects_;
};

/// What `git log --raw -z --format=%x01%ct` prints, read; `prefix` is cut off from paths, and paths without it are left out. Tolerates any
/// bytes: what is not understood is passed over.
[[nodiscard]] std::map<std::string, std::vector<file_version>> read_git_log(const std::string& log,
                                                                            const std::string& prefix);

}  // namespace karyon::tools
