// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/nerve/gateway.hpp>
#include <karyon/nerve/subject.hpp>

#include "nerve/hyparview.hpp"
#include "nerve/plumtree.hpp"
#include "nerve/token_bucket.hpp"

namespace karyon::detail {

struct overlay_options {
  hyparview_options view;
  plumtree_options tree;
};

/// A node's part in one compartment's overlay: membership by HyParView, broadcasts by Plumtree on its active view. Still without I/O:
/// whoever drives it hands it what arrives and what time it is, and does what the effects say.
class overlay {
public:
  overlay(const peer_id& self, const overlay_options& options) : view_(self, options.view), tree_(self, options.tree) {}

  void learn_contact(const peer_id& contact) { view_.learn_contact(contact); }
  void start(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
    view_.start(now_ns, random, effects);
    follow(now_ns, effects);
  }
  void receive(const peer_id& from, const overlay_message& m, std::uint64_t now_ns, overlay_random& random,
               overlay_effects& effects) {
    if (m.what >= overlay_message::kind::gossip) {
      tree_.receive(from, m, now_ns, effects);
    } else {
      view_.receive(from, m, now_ns, random, effects);
      follow(now_ns, effects);
    }
  }
  void lost(const peer_id& peer, std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
    view_.lost(peer, now_ns, random, effects);
    follow(now_ns, effects);
  }
  void tick(std::uint64_t now_ns, overlay_random& random, overlay_effects& effects) {
    if (now_ns >= view_.next_ns()) view_.tick(now_ns, random, effects);
    follow(now_ns, effects);
    tree_.tick(now_ns, effects);
  }
  broadcast_id broadcast(std::shared_ptr<const std::string> payload, std::uint64_t now_ns, overlay_effects& effects) {
    return tree_.broadcast(std::move(payload), now_ns, effects);
  }
  /// As plumtree::hand_on.
  [[nodiscard]] bool hand_on(const broadcast_id& id, std::shared_ptr<const std::string> payload, std::uint64_t now_ns,
                             overlay_effects& effects) {
    return tree_.hand_on(id, std::move(payload), now_ns, effects);
  }
  void leave(overlay_effects& effects) { view_.leave(effects); }
  [[nodiscard]] std::uint64_t next_ns() const noexcept { return std::min(view_.next_ns(), tree_.next_ns()); }
  [[nodiscard]] const hyparview& view() const noexcept { return view_; }
  [[nodiscard]] const plumtree& tree() const noexcept { return tree_; }

private:
  /// In the order in which the view has changed them: one that went and came is a neighbour.
  void follow(std::uint64_t now_ns, overlay_effects& effects) {
    for (const peer_id& p : std::exchange(effects.neighbors_down, {})) {
      if (!view_.is_neighbor(p)) tree_.neighbor_down(p);
    }
    for (const peer_id& p : std::exchange(effects.neighbors_up, {})) {
      if (view_.is_neighbor(p)) tree_.neighbor_up(p, now_ns, effects);
    }
  }
  hyparview view_;
  plumtree tree_;
};

/// What a node that is in several compartments hands on between them: what its rules allow. A broadcast keeps its id, so that two
/// gateways, or a circle of them, hand it on once into each compartment; hops bound what ids do not; and each rule has a rate. Not
/// synchronised.
class overlay_gateway {
public:
  overlay_gateway(std::vector<gateway_rule> rules, const storm_limit& limit, std::uint8_t hops_max)
      : rules_(std::move(rules)), buckets_(rules_.size()), limit_(limit), hops_max_(hops_max) {}

  struct counts {
    std::uint64_t passed = 0;
    std::uint64_t duplicate = 0;
    std::uint64_t too_far = 0;
    std::uint64_t storm = 0;
  };

  /// A broadcast was delivered in `from` after `hops` compartments: those that it is to be broadcast in as well, with one hop more.
  [[nodiscard]] std::vector<std::string> pass(std::string_view from, std::string_view subject, const broadcast_id& id,
                                              std::uint8_t hops, std::uint64_t now_ns) {
    std::vector<std::string> to;
    // It is here already: what another gateway brings back is not handed on once more.
    static_cast<void>(filter_of(from).is_new(id.origin, id.sequence));
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const gateway_rule& r = rules_[i];
      if (r.from != from || !subject_matches(r.pattern, subject)) continue;
      if (hops >= hops_max_) {
        ++counts_.too_far;
      } else if (filter_of(r.to).has_seen(id.origin, id.sequence)) {
        ++counts_.duplicate;
      } else if (buckets_[i].take(1, limit_, now_ns) != token_bucket::answer::given) {
        ++counts_.storm;
      } else {
        static_cast<void>(filter_of(r.to).is_new(id.origin, id.sequence));
        ++counts_.passed;
        to.push_back(r.to);
      }
    }
    return to;
  }
  [[nodiscard]] const counts& stats() const noexcept { return counts_; }

private:
  [[nodiscard]] duplicate_filter& filter_of(std::string_view compartment) {
    const auto found = seen_.find(compartment);
    if (found != seen_.end()) return found->second;
    return seen_.emplace(std::string(compartment), duplicate_filter(4096)).first->second;
  }
  const std::vector<gateway_rule> rules_;
  std::vector<token_bucket> buckets_;
  const storm_limit limit_;
  const std::uint8_t hops_max_;
  std::map<std::string, duplicate_filter, std::less<>> seen_;
  counts counts_;
};

}  // namespace karyon::detail
