// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/nerve/hormone_level.hpp>

#include "nerve/transport.hpp"

namespace karyon::detail {

/// A node that says where it is.
struct node_here {
  std::uint64_t node = 0;
  std::uint64_t incarnation = 0;
  std::array<char, 128> address{};  // of its transport, ends with a zero
};

/// Finds the nodes of a compartment over a bus: each announces itself now and then, and a hormone_level remembers who did, for a while.
/// What it finds are contacts to join through (overlay_driver::learn_contact), and where they listen.
class overlay_discovery {
public:
  /// Throws as hormone_level.
  overlay_discovery(endocrine& bus, std::string_view compartment, const peer_id& self, std::string_view address)
      : bus_(bus),
        subject_("karyon.nodes." + std::string(compartment)),
        field_(bus, subject_ + ".*", {.half_life = std::chrono::seconds(10), .threshold = 0.1, .subjects_max = 64}),
        me_{self.node, self.incarnation, {}} {
    std::copy_n(address.data(), std::min(address.size(), me_.address.size() - 1), me_.address.data());
  }
  /// Say it every few seconds, and at once when there are no neighbours.
  publish_result announce() { return bus_.publish(subject_ + "." + std::to_string(me_.node), me_, "discovery"); }
  /// Whom it has heard of lately, itself not included.
  [[nodiscard]] std::vector<node_here> found() const {
    std::vector<node_here> out;
    for (const auto& r : field_.sense_all()) {
      if (r.value.node != me_.node && r.value.address.back() == 0) out.push_back(r.value);
    }
    return out;
  }

private:
  endocrine& bus_;
  const std::string subject_;
  hormone_level<node_here> field_;
  node_here me_;
};

}  // namespace karyon::detail
