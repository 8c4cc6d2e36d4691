#include "core/report_text.hpp"

#include <algorithm>
#include <cstddef>

namespace karyon::detail {

namespace {

struct sequence {
  std::size_t bytes;  // how many belong together
  bool valid;         // a character; otherwise the longest beginning of one, at least one byte
};

/// The UTF-8 sequence that begins at `at` (Unicode 15, table 3-7).
sequence next_sequence(std::string_view s, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned first = byte(at);
  if (first < 0x80) return {1, true};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return {1, false};
  // The second byte's range keeps out overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= s.size() || byte(at + i) < low || byte(at + i) > high) return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true};
}

constexpr std::string_view hex_digits = "0123456789abcdef";

/// The letter of a two-character escape that C and JSON share, or 0.
char short_escape(char c) noexcept {
  switch (c) {
    case '\n': return 'n';
    case '\t': return 't';
    case '\r': return 'r';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\\': return '\\';
    default: return 0;
  }
}

bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

void append_hex(std::string& to, char c) {
  const auto value = static_cast<unsigned char>(c);
  to.push_back(hex_digits[value >> 4U]);
  to.push_back(hex_digits[value & 0xfU]);
}

/// Calls plain(view) for runs that need nothing, special(char) for ASCII that `is_special`, broken(view) for what is
/// not UTF-8.
template <class Special, class Plain, class OnSpecial, class Broken>
void walk(std::string_view words, Special is_special, Plain plain, OnSpecial special, Broken broken) {
  std::size_t start = 0;
  std::size_t at = 0;
  const auto end_run = [&] {
    if (at > start) plain(words.substr(start, at - start));
  };
  while (at < words.size()) {
    const sequence s = next_sequence(words, at);
    if (s.valid && !(s.bytes == 1 && is_special(words[at]))) {
      at += s.bytes;
      continue;
    }
    end_run();
    if (s.valid) {
      special(words[at]);
    } else {
      broken(words.substr(at, s.bytes));
    }
    at += s.bytes;
    start = at;
  }
  end_run();
}

}  // namespace

void append_escaped(std::string& to, std::string_view words) {
  const auto as_hex = [&](char c) {
    to.append("\\x");
    append_hex(to, c);
  };
  walk(
      words, [](char c) { return is_control(c) || c == '\\'; }, [&](std::string_view run) { to.append(run); },
      [&](char c) {
        if (const char letter = short_escape(c)) {
          to.push_back('\\');
          to.push_back(letter);
        } else {
          as_hex(c);
        }
      },
      [&](std::string_view bytes) { std::for_each(bytes.begin(), bytes.end(), as_hex); });
}

void append_json_string(std::string& to, std::string_view words) {
  to.push_back('"');
  walk(
      words, [](char c) { return is_control(c) || c == '\\' || c == '"'; },
      [&](std::string_view run) { to.append(run); },
      [&](char c) {
        to.push_back('\\');
        if (c == '"') {
          to.push_back('"');
        } else if (const char letter = short_escape(c)) {
          to.push_back(letter);
        } else {
          to.append("u00");
          append_hex(to, c);
        }
      },
      [&](std::string_view) { to.append("\xef\xbf\xbd"); });
  to.push_back('"');
}

std::string with_thousands(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

json_object& json_object::key(std::string_view name) {
  if (!first_) to_.push_back(',');
  first_ = false;
  append_json_string(to_, name);
  to_.push_back(':');
  return *this;
}

}  // namespace karyon::detail
