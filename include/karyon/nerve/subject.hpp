// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include <karyon/core/export.hpp>

namespace karyon {

// Subjects name what a broadcast is about, patterns say what one wants to hear of. The rules are those of NATS, so that a
// program that runs on the embedded bus runs on a server as well:
//
//  - a subject is one or more tokens with a dot between them: "colony.north.heat"; a token is one or more printable ASCII
//    characters other than the dot, the blank, `*` and `>`;
//  - in a pattern a token may be `*`, which stands for any one token, and the last token may be `>`, which stands for one or more;
//  - what begins with `$` belongs to the server.
//
// All functions: any thread, no allocation, O(length).

inline constexpr std::size_t subject_bytes_max = 255;
inline constexpr std::size_t subject_tokens_max = 32;

/// Whether something can be published to `s`.
[[nodiscard]] KARYON_API bool is_subject(std::string_view s) noexcept;
/// Whether `s` can be subscribed to; each subject is a pattern too.
[[nodiscard]] KARYON_API bool is_subject_pattern(std::string_view s) noexcept;
/// Whether a subject is one of those that a pattern stands for. Both must be valid.
[[nodiscard]] KARYON_API bool subject_matches(std::string_view pattern, std::string_view subject) noexcept;
/// Whether all subjects of `pattern` are among those of `wider`. Both must be valid patterns.
[[nodiscard]] KARYON_API bool subject_covers(std::string_view wider, std::string_view pattern) noexcept;

}  // namespace karyon
