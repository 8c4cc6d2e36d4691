// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/types.hpp"
#include "store/options.hpp"

/// What several parts of a transaction say no with.
namespace rhizome::detail {

[[nodiscard]] inline result<void> check_label(label l) {
  if (l < labels_max) return {};
  return fail(errc::invalid_argument, "the label is not below labels_max");
}

[[nodiscard]] inline result<void> check_key(property_key key) {
  if (key < property_keys_max) return {};
  return fail(errc::invalid_argument, "the property key is not below property_keys_max");
}

[[nodiscard]] inline tl::unexpected<error> finished() {
  return fail(errc::read_only, "the transaction is finished: begin another");
}
[[nodiscard]] inline tl::unexpected<error> no_vertex_there() {
  return fail(errc::not_found, "the vertex is not there");
}
[[nodiscard]] inline tl::unexpected<error> no_arc_there() { return fail(errc::not_found, "the arc is not there"); }

}  // namespace rhizome::detail
