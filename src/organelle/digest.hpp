// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace karyon::detail {

using sha256_digest = std::array<std::byte, 32>;

/// Empty if the library for it fails (out of memory).
[[nodiscard]] std::optional<sha256_digest> sha256(std::span<const std::byte> bytes) noexcept;

[[nodiscard]] std::string hex(std::span<const std::byte> bytes);
/// 64 hexadecimal digits, of either case, and nothing else.
[[nodiscard]] std::optional<sha256_digest> parse_digest(std::string_view digits) noexcept;

/// Finds a file's digest in what sha256sum writes: lines of a digest, a blank, a blank or a star, and a name. The line is the one
/// whose name's last part is `file_name`; a file of one line may also be without a name. Names with backslashes and line ends, which
/// sha256sum escapes, are not found.
[[nodiscard]] std::optional<sha256_digest> find_digest(std::string_view checksums, std::string_view file_name) noexcept;

/// Ed25519, with a raw key of 32 and a raw signature of 64 bytes.
[[nodiscard]] bool is_signed(std::string_view text, std::span<const std::byte> signature,
                             std::span<const std::byte, 32> public_key) noexcept;

}  // namespace karyon::detail
