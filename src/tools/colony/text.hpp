// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace karyon::tools {

/// 1234567 as "1,234,567".
[[nodiscard]] std::string with_commas(std::uint64_t number);

/// 1, "file" as "1 file"; 2000, "file" as "2,000 files".
[[nodiscard]] std::string counted(std::uint64_t number, std::string_view thing);

/// A byte count with three digits of precision: "512 B", "1.21 MiB".
[[nodiscard]] std::string bytes_text(double bytes);

/// Seconds as "12.3 ms" or "4.56 s".
[[nodiscard]] std::string seconds_text(double seconds);

/// A file name or identifier for a terminal: control characters, which could steer it, come out as \xHH; more than
/// 300 bytes are cut.
[[nodiscard]] std::string printable(std::string_view text);

/// A digest as 16 hexadecimal digits.
[[nodiscard]] std::string hex_text(std::uint64_t value);

}  // namespace karyon::tools
