// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/chronicler.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "tools/colony/source_text.hpp"

namespace karyon::tools {

namespace {

error as_error(const organelle_error& why) { return {why.code(), why.message()}; }

// The C grammar reads what C++ can not, such as names that are keywords there. Headers may be of either: C++ reads most of both.
std::string_view language_of(std::string_view path) { return path.ends_with(".c") ? "c" : "cpp"; }

}  // namespace

chronicler::version_text chronicler::from_disk(const std::string& path, std::uint64_t bytes_max) {
  struct stat status {};
  version_text version;
  if (::stat(path.c_str(), &status) == 0) {
    version.since_us = std::int64_t{status.st_mtim.tv_sec} * 1'000'000 + status.st_mtim.tv_nsec / 1'000;
  }
  source_text source = read_source(path, bytes_max);
  if (source.what == outcome::scanned) {
    version.text = std::move(source.text);
  }
  version.unread = !version.text.has_value();
  return version;
}

chronicler::version_text chronicler::from_git(const chronicle& file, std::size_t i, std::uint64_t bytes_max) {
  const file_version& wanted = file.versions[i];
  version_text version{wanted.since_us, std::nullopt, false};
  if (!wanted.blob.empty()) {
    auto content = file.history->content(wanted.blob, bytes_max);
    version.unread = !content.has_value();
    if (content) {
      version.text = std::move(*content);
    }
  }
  return version;
}

// Whether the file has this version in the graph now. A text that is none (not UTF-8, too long) is as one that can not be read: what the
// file was before is not true any more.
karyon::task<karyon::result<bool>> chronicler::put(const chronicle& file, version_text& version) {
  const std::string& path = file.path;
  if (version.text) {
    const view text = view::of(std::move(*version.text));
    const std::string_view language = language_of(path);
    const organelle_result parsed = co_await desk_->call.parse(text, language).on(this);
    if (parsed) {
      const handle tree = *parsed->get_if<handle>();
      const std::int64_t since = version.since_us;
      const organelle_result done = co_await desk_->call.code_put(desk_->code, path, tree, since).on(this);
      if (!done) {
        co_return tl::unexpected<error>(as_error(done.error()));
      }
      ++counts_.versions;
      co_return true;
    }
    version.unread = true;
  }
  counts_.unread += version.unread ? 1 : 0;
  const organelle_result gone = co_await desk_->call.code_remove(desk_->code, path, version.since_us).on(this);
  if (!gone && gone.error().status() != KARYON_NOT_FOUND) {
    co_return tl::unexpected<error>(as_error(gone.error()));
  }
  co_return false;
}

karyon::task<karyon::result<chronicle_counts>> chronicler::on(chronicle_all) {
  counts_ = {};
  const std::uint64_t bytes_max = desk_->file_bytes_max;
  for (std::size_t i = 0; (i = desk_->next.fetch_add(1, std::memory_order_relaxed)) < desk_->files.size();) {
    const chronicle& file = desk_->files[i];
    const chronicle* const at = &file;  // the desk outlives the cells, and the work
    bool known = false;
    std::int64_t last = std::numeric_limits<std::int64_t>::min();
    std::optional<std::string> newest;
    for (std::size_t n = 0; n < file.versions.size(); ++n) {
      const auto fetch = [at, n, bytes_max] { return from_git(*at, n, bytes_max); };
      result<version_text> version = co_await offload_io(fetch);
      if (!version) {
        co_return tl::unexpected<error>(version.error());
      }
      last = version->since_us;
      newest = version->text;
      const result<bool> done = co_await put(file, *version);
      if (!done) {
        co_return tl::unexpected<error>(done.error());
      }
      known = known || *done;
    }
    if (file.on_disk) {
      const auto fetch = [at, bytes_max] { return from_disk(at->path, bytes_max); };
      result<version_text> version = co_await offload_io(fetch);
      if (!version) {
        co_return tl::unexpected<error>(version.error());
      }
      if (file.versions.empty() || version->text != newest) {
        version->since_us = file.versions.empty() ? version->since_us : std::max(version->since_us, last + 1);
        const result<bool> done = co_await put(file, *version);
        if (!done) {
          co_return tl::unexpected<error>(done.error());
        }
        known = known || *done;
      }
    }
    counts_.files += known ? 1 : 0;
    desk_->done.fetch_add(1, std::memory_order_relaxed);
  }
  co_return counts_;
}

}  // namespace karyon::tools
