// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <karyon/organelle/abi.h>

#include <span>

namespace rhizome::module {

// The functions of the table, by what they work on. docs/howto/query-the-past.md shows them from the host's side.
[[nodiscard]] std::span<const karyon_function> graph_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> change_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> read_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> algorithm_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> query_functions() noexcept;
[[nodiscard]] std::span<const karyon_function> code_functions() noexcept;

}  // namespace rhizome::module
