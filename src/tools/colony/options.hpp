// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace karyon::tools {

/// What `karyon colony` was asked for on its command line.
struct colony_options {
  std::vector<std::string> directories;  // none: this machine's header directories
  std::vector<std::string> who_uses;
  double kill_fraction = 0.10;  // 0 to 1
  std::uint64_t seed = 1;
  std::uint32_t workers = 0;  // 0: one a core
  std::uint64_t file_bytes_max = 16U << 20U;
  bool json = false;
  bool prompt = true;  // if there is a terminal to type at
};

/// Reads a number without sign, point or space; false if it is none or does not fit.
[[nodiscard]] bool parse_number(std::string_view text, std::uint64_t& number);

/// Reads "10%", "10" or "0.5%" as a fraction of 1; false unless it is a number from 0 to 100.
[[nodiscard]] bool parse_percentage(std::string_view text, double& fraction);

}  // namespace karyon::tools
