// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/git_history.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "tools/colony/options.hpp"

namespace karyon::tools {

namespace {

// Whatever the user has configured, git only reads, and starts no other program for it.
std::vector<std::string> git(const std::string& directory, std::vector<std::string> arguments) {
  std::vector<std::string> command{"git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", directory};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

result<std::string> output_of(const std::vector<std::string>& command) {
  auto started = child_process::start(command);
  if (!started) {
    return tl::unexpected<error>(started.error());
  }
  std::string out = started->read_all();
  if (!started->succeeded()) {
    return fail(errc::not_found, "git has no history of it");
  }
  return out;
}

// The next piece of `text` up to the separator, which is taken away with it.
std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return piece;
}

// Of ":OLD_MODE NEW_MODE OLD_BLOB NEW_BLOB STATUS": the new blob, if it is a regular file's.
std::string new_blob(std::string_view entry) {
  std::array<std::string_view, 5> words;
  for (std::string_view& word : words) {
    word = take_until(entry, ' ');
  }
  return words[1].starts_with("100") && !words[4].starts_with('D') ? std::string(words[3]) : std::string();
}

}  // namespace

std::map<std::string, std::vector<file_version>> read_git_log(const std::string& log, const std::string& prefix) {
  constexpr std::int64_t us_a_second = 1'000'000;
  std::map<std::string, std::vector<file_version>> files;
  std::int64_t time_us = 0;
  for (std::string_view rest = log; !rest.empty();) {
    std::string_view piece = take_until(rest, '\0');
    while (piece.starts_with('\n')) {
      piece.remove_prefix(1);
    }
    if (piece.starts_with('\x01')) {
      std::uint64_t seconds = 0;
      if (parse_number(piece.substr(1), seconds) && seconds < std::uint64_t{1} << 40U) {
        time_us = static_cast<std::int64_t>(seconds) * us_a_second;
      }
    } else if (piece.starts_with(':')) {
      const std::string_view path = take_until(rest, '\0');
      if (path.starts_with(prefix)) {
        auto& versions = files[std::string(path.substr(prefix.size()))];
        const std::int64_t since = versions.empty() ? time_us : std::max(time_us, versions.back().since_us + 1);
        versions.push_back({since, new_blob(piece)});
      }
    }
  }
  return files;
}

result<git_history> git_history::of(const std::string& directory) {
  auto prefix = output_of(git(directory, {"rev-parse", "--show-prefix"}));
  if (!prefix) {
    return tl::unexpected<error>(prefix.error());
  }
  if (!prefix->empty()) {
    prefix->pop_back();  // the newline
  }
  const auto log = output_of(git(directory, {"log", "--first-parent", "-m", "--reverse", "--raw", "--no-renames",
                                             "--no-abbrev", "-z", "--format=%x01%ct", "--", "."}));
  if (!log) {
    return tl::unexpected<error>(log.error());
  }
  auto objects = child_process::start(git(directory, {"cat-file", "--batch"}));
  if (!objects) {
    return tl::unexpected<error>(objects.error());
  }
  git_history made;
  made.files_ = read_git_log(*log, *prefix);
  made.objects_ = std::make_unique<asked>(std::move(*objects));
  return made;
}

result<std::string> git_history::content(const std::string& blob, std::uint64_t bytes_max) const {
  const std::lock_guard guard(objects_->lock);
  std::string& ahead = objects_->ahead;
  const auto read_more = [&] {
    std::array<char, 65536> buffer{};
    const std::size_t got = objects_->command.read(buffer.data(), buffer.size());
    ahead.append(buffer.data(), got);
    return got > 0;
  };
  if (!objects_->command.write(blob + '\n')) {
    return fail(errc::closed, "git has ended");
  }
  std::size_t end = 0;
  while ((end = ahead.find('\n')) == std::string::npos) {
    if (!read_more()) {
      return fail(errc::closed, "git has ended");
    }
  }
  std::string_view header = std::string_view(ahead).substr(0, end);  // NAME blob BYTES, or NAME missing
  take_until(header, ' ');
  const bool is_blob = take_until(header, ' ') == "blob";
  std::uint64_t bytes = 0;
  if (!is_blob || !parse_number(header, bytes)) {
    ahead.erase(0, end + 1);
    return fail(errc::not_found, "git does not have it any more");
  }
  ahead.erase(0, end + 1);
  while (ahead.size() < bytes + 1) {
    if (!read_more()) {
      return fail(errc::closed, "git has ended");
    }
  }
  std::string content = ahead.substr(0, bytes);
  ahead.erase(0, bytes + 1);
  if (bytes > bytes_max) {
    return fail(errc::refused, "longer than " + std::to_string(bytes_max) + " bytes");
  }
  return content;
}

}  // namespace karyon::tools
