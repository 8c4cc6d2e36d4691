// SPDX-License-Identifier: Apache-2.0
#include <karyon/nerve/subject.hpp>

#include "nerve/subject_tree.hpp"

namespace karyon {

namespace {

bool is_valid(std::string_view s, bool wildcards) noexcept {
  if (s.empty() || s.size() > subject_bytes_max || s.front() == '$') return false;
  std::size_t tokens = 1;
  std::size_t length = 0;  // of the token so far
  bool wild = false;       // the token so far is a wildcard
  bool last = false;       // nothing may follow
  for (const char c : s) {
    if (c == '.') {
      if (length == 0 || last || ++tokens > subject_tokens_max) return false;
      length = 0;
      wild = false;
      continue;
    }
    if (c <= ' ' || c > '~' || wild) return false;
    if (c == '*' || c == '>') {
      if (!wildcards || length != 0) return false;
      wild = true;
      last = c == '>';
    }
    ++length;
  }
  return length != 0;
}

}  // namespace

bool is_subject(std::string_view s) noexcept { return is_valid(s, false); }

bool is_subject_pattern(std::string_view s) noexcept { return is_valid(s, true); }

bool subject_covers(std::string_view wider, std::string_view pattern) noexcept {
  while (true) {
    const std::string_view w = detail::take_token(wider);
    const std::string_view p = detail::take_token(pattern);
    if (w.empty() || p.empty()) return w.empty() && p.empty();
    if (w == ">") return true;
    if (p == ">" || (w != "*" && w != p)) return false;
  }
}

bool subject_matches(std::string_view pattern, std::string_view subject) noexcept {
  return subject_covers(pattern, subject);
}

}  // namespace karyon
