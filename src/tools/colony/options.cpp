// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/options.hpp"

#include <charconv>

namespace karyon::tools {

bool parse_number(std::string_view text, std::uint64_t& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return !text.empty() && error == std::errc() && stop == end;
}

bool parse_percentage(std::string_view text, double& fraction) {
  if (!text.empty() && text.back() == '%') {
    text.remove_suffix(1);
  }
  double percent = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, percent);
  // Written so that a NaN fails, too.
  if (text.empty() || error != std::errc() || stop != end || !(percent >= 0 && percent <= 100)) {
    return false;
  }
  fraction = percent / 100;
  return true;
}

}  // namespace karyon::tools
