// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <karyon/cell/cell.hpp>
#include <karyon/cell/task.hpp>
#include <karyon/organelle/rhizome.hpp>

#include "tools/colony/git_history.hpp"

namespace karyon::tools {

/// A file, and where its versions are to be had.
struct chronicle {
  std::string path;     // its name in the graph
  bool on_disk = true;  // else there is only what git has of it
  const git_history* history = nullptr;
  std::vector<file_version> versions;  // git's
};

/// What chroniclers share. All but the counters is set before the first begins.
struct chronicle_desk {
  rhizome::code_functions call;
  handle code;
  std::vector<chronicle> files{};
  std::uint64_t file_bytes_max = 0;

  // Relaxed: a number is taken by one chronicler, and means nothing else.
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
};

/// Asks a chronicler to work on files until none is left.
struct chronicle_all {};

/// What it has done.
struct chronicle_counts {
  std::uint64_t files = 0;
  std::uint64_t versions = 0;
  std::uint64_t unread = 0;
};

/// Takes one file after the other and puts its versions into the graph, in the order of time. Reading waits on the dirty I/O pool, parsing
/// and storing are the engine's calls: so a few chroniclers keep all cores busy.
class chronicler : public karyon::cell {
public:
  using accepts = karyon::signals<chronicle_all>;

  explicit chronicler(chronicle_desk* desk) noexcept : desk_(desk) {}

  karyon::task<karyon::result<chronicle_counts>> on(chronicle_all);

private:
  struct version_text {
    std::int64_t since_us = 0;
    std::optional<std::string> text;  // none: there was no such file, or none that can be read
    bool unread = false;
  };

  karyon::task<karyon::result<bool>> put(const chronicle& file, version_text& version);
  static version_text from_disk(const std::string& path, std::uint64_t bytes_max);
  static version_text from_git(const chronicle& file, std::size_t i, std::uint64_t bytes_max);

  chronicle_desk* desk_;
  chronicle_counts counts_;
};

}  // namespace karyon::tools
