#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// Words that come from outside (what(), ids) for a line of text: control characters, backslashes and bytes that are
/// not UTF-8 as in C: \n, \\, \x1b. So a report is one line, and can not be mistaken for two.
KARYON_API void append_escaped(std::string& to, std::string_view words);

/// A string of JSON with its quotes (RFC 8259). Bytes that are not UTF-8 (overlong forms and surrogates included)
/// become U+FFFD, one for each maximal part of a character that could have been one, as Unicode recommends.
KARYON_API void append_json_string(std::string& to, std::string_view words);

/// "12,345".
[[nodiscard]] KARYON_API std::string with_thousands(std::uint64_t n);

/// Writes one flat JSON object after the other, field by field, in the order given.
class KARYON_API json_object {
public:
  explicit json_object(std::string& to) : to_(to) { to_.push_back('{'); }
  json_object(const json_object&) = delete;
  json_object& operator=(const json_object&) = delete;
  ~json_object() = default;

  json_object& text(std::string_view name, std::string_view value) {
    key(name);
    append_json_string(to_, value);
    return *this;
  }
  json_object& number(std::string_view name, std::uint64_t value) {
    key(name);
    to_.append(std::to_string(value));
    return *this;
  }
  json_object& boolean(std::string_view name, bool value) {
    key(name);
    to_.append(value ? "true" : "false");
    return *this;
  }
  /// What the caller appends next to the string is the field's value.
  json_object& key(std::string_view name);
  void close() { to_.push_back('}'); }

private:
  std::string& to_;
  bool first_ = true;
};

}  // namespace karyon::detail
