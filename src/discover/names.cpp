#include "discover/names.hpp"

#include <cstddef>
#include <string>

#include <karyon/discover/member.hpp>

namespace karyon::detail {

namespace {

/// The length of the sequence at the front, by Unicode's table of well-formed sequences; 0 if there is none.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  // Longer than need be, a surrogate, or beyond the last code point.
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  return length;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t n = sequence_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

result<void> check_name(std::string_view name, std::string_view what) {
  if (name.empty()) return fail(errc::invalid_argument, std::string("the name of a ").append(what).append(" is empty"));
  if (name.size() > name_bytes_max) {
    return fail(errc::invalid_argument, std::string("the name of a ")
                                            .append(what)
                                            .append(" has ")
                                            .append(std::to_string(name.size()))
                                            .append(" bytes: at most 255 are allowed"));
  }
  if (!is_utf8(name)) {
    return fail(errc::invalid_argument, std::string("the name of a ").append(what).append(" is no valid UTF-8"));
  }
  return {};
}

}  // namespace karyon::detail
