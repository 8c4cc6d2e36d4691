// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <karyon/organelle/abi.h>

#include <span>

namespace rhizome::module {

// Costs that functions of several files have.
inline constexpr karyon_cost few_us{2'000, 0, KARYON_NO_ARGUMENT, 0, nullptr};
inline constexpr karyon_cost some_ms{2'000'000, 0, KARYON_NO_ARGUMENT, 0, nullptr};
inline constexpr karyon_cost unknown{5'000, 0, KARYON_NO_ARGUMENT, 0, nullptr};

// The functions of the table, by what they work on. docs/howto/query-the-past.md shows them from the host's side.
[[nodiscard]] std::span<const karyon_function> graph_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> change_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> read_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> algorithm_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> query_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> code_functions() noexcept;

}  // namespace rhizome::module
