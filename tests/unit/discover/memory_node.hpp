// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "discover/peer_link.hpp"
#include "support/catch.hpp"
#include "unit/discover/discover_testing.hpp"

namespace karyon::tests {

/// A runtime with a way to the others, in this order: the network outlives it.
struct node {
  node(memory_colony& c, std::uint64_t number) : rt(quiet(1)) {
    REQUIRE(rt.core().install_network(c.add(number)));
    groups = *process_groups::open(rt, "scope");
  }
  [[nodiscard]] std::size_t members(std::string_view group) const { return groups.members(group).size(); }
  ref<resident> joined(std::string_view group) {
    const auto r = rt.spawn<resident>();
    REQUIRE(groups.join(group, r));
    return r;
  }
  void end(const cell_ref& who) {
    const witness w(rt, who);
    rt.exit(who, exit_reason::killed());
    REQUIRE_FALSE(w.end().empty());
  }
  runtime rt;
  process_groups groups;
};

}  // namespace karyon::tests
