// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/text.hpp"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace karyon::tools {

namespace {

constexpr std::size_t printable_bytes_max = 300;

[[gnu::format(printf, 1, 2)]] std::string formatted(const char* format, ...) {
  std::array<char, 64> buffer{};
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  va_end(arguments);
  return buffer.data();
}

}  // namespace

std::string with_commas(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string counted(std::uint64_t number, std::string_view thing) {
  const bool ends_in_y = thing.ends_with('y');
  std::string text = with_commas(number) + ' ' + std::string(thing);
  if (number != 1) {
    if (ends_in_y) {
      text.pop_back();
    }
    text += ends_in_y ? "ies" : "s";
  }
  return text;
}

std::string bytes_text(double bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  const int decimals = unit == 0 || bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2;
  return formatted("%.*f %s", decimals, bytes, units[unit]);
}

std::string seconds_text(double seconds) {
  return seconds < 1 ? formatted("%.1f ms", seconds * 1000) : formatted("%.2f s", seconds);
}

std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, printable_bytes_max)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      result += formatted("\\x%02X", static_cast<unsigned>(byte));
    } else {
      result += c;
    }
  }
  if (text.size() > printable_bytes_max) {
    result += "...";
  }
  return result;
}

std::string hex_text(std::uint64_t value) { return formatted("%016llx", static_cast<unsigned long long>(value)); }

}  // namespace karyon::tools
