// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/result.hpp>

namespace karyon::tools {

class progress;

/// How the graph of the sources came to be.
struct graph_census {
  std::uint64_t files = 0;         // of which at least one version could be read
  std::uint64_t versions = 0;      // in the graph
  std::uint64_t unread = 0;        // versions that could not be read, or are no text
  std::uint64_t repositories = 0;  // directories whose files come with git's history
  double seconds = 0;
};

/// A file that a change of another one touches.
struct touched_file {
  std::string file;
  std::uint32_t distance = 0;  // 1: directly
  bool by_include = false;     // else by a call
};

/// The sources as a graph in the rhizome engine: which file defines, uses, calls and includes what, at every time that something is known of.
///
/// It is read from syntax trees, by cells that have the engine parse one file each at a time: so, other than the word scan, it knows what a
/// name is to a program, and it sees neither inside of macros nor beyond what a parser makes of code that was not preprocessed. A file's
/// version is true from its modification time on; below a git repository a file has all versions that git has of it, from their
/// commits' times on, and the one on the disk, if that differs, from its modification time on.
///
/// One ordinary thread uses it; its calls block.
class source_graph {
public:
  struct settings {
    std::string engine;         // the library; empty: the one that is installed
    std::uint32_t workers = 0;  // 0: one a core
    std::uint64_t file_bytes_max = 0;
  };

  /// Loads the engine and starts a runtime. Errors: of loading (the sentence names the file and what is wrong), unsupported when the engine
  /// was built without grammars.
  [[nodiscard]] static result<source_graph> open(const settings& s);
  source_graph(source_graph&&) noexcept;
  source_graph& operator=(source_graph&&) = delete;
  ~source_graph();

  /// Reads all versions of these files, and of those that git knows below the roots and that are gone. To be called once, first.
  [[nodiscard]] result<graph_census> learn(const std::vector<std::string>& files, const std::vector<std::string>& roots,
                                           progress& shown);

  /// The files of the graph that somebody may mean: the one of that name, or those whose paths end with it. Sorted.
  [[nodiscard]] std::vector<std::string> files_named(std::string_view name) const;

  /// Each as of a time in microseconds since 1970-01-01 UTC; none: now. Errors: those of the engine.
  [[nodiscard]] result<std::vector<touched_file>> impact(const std::string& file, std::optional<std::int64_t> at) const;
  [[nodiscard]] result<std::vector<std::string>> definers(const std::string& name,
                                                          std::optional<std::int64_t> at) const;
  [[nodiscard]] result<std::vector<std::string>> users(const std::string& name, std::optional<std::int64_t> at) const;

private:
  struct parts;
  explicit source_graph(std::unique_ptr<parts> p) noexcept;
  std::unique_ptr<parts> parts_;
};

}  // namespace karyon::tools
