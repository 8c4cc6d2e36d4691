// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nerve/overlay.hpp"

namespace karyon::tests {

using detail::overlay;
using detail::overlay_effects;
using detail::overlay_message;
using detail::overlay_random;
using detail::peer_id;

/// What the network does to messages.
struct weather {
  double loss = 0;
  double duplicates = 0;
  double late = 0;                         // comes up to a second later, behind others
  std::optional<std::uint64_t> one_way{};  // nodes n with bit n % 64 set are not heard by the others
};

/// Nodes of an overlay, and the network between them, in a time of its own. Everything follows from the seed.
class overlay_network {
public:
  static constexpr std::uint64_t second = 1'000'000'000;

  overlay_network(std::size_t nodes, std::uint64_t seed, detail::overlay_options options = {})
      : random_(seed), options_(options), nodes_(nodes) {}

  weather sky;

  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  [[nodiscard]] overlay_random& random() noexcept { return random_; }
  [[nodiscard]] std::uint64_t now() const noexcept { return now_ns_; }
  [[nodiscard]] bool alive(std::size_t n) const noexcept { return nodes_[n].life != nullptr; }
  [[nodiscard]] const overlay& at(std::size_t n) const noexcept { return *nodes_[n].life; }
  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }

  /// Starts a node, or starts it anew, with these as contacts.
  void start(std::size_t n, const std::vector<std::size_t>& contacts) {
    node& it = nodes_[n];
    it.incarnation += 1;
    it.life = std::make_unique<overlay>(id_of(n), options_);
    it.received.clear();
    it.tick_at_ns = ~std::uint64_t{0};
    for (const std::size_t c : contacts) it.life->learn_contact({c + 1, 0});  // which life it lives is not known
    it.life->start(now_ns_, random_, effects_);
    carry_out(n);
  }
  void kill(std::size_t n) { nodes_[n].life.reset(); }
  /// Runs for so long.
  void run(std::uint64_t for_ns) {
    const std::uint64_t end_ns = now_ns_ + for_ns;
    while (!queue_.empty() && queue_.front().at_ns <= end_ns) {
      std::pop_heap(queue_.begin(), queue_.end(), later);
      event e = std::move(queue_.back());
      queue_.pop_back();
      now_ns_ = e.at_ns;
      node& to = nodes_[e.to];
      if (e.message == nullptr) {
        if (to.life == nullptr || to.tick_at_ns != e.at_ns) continue;
        to.tick_at_ns = ~std::uint64_t{0};
        to.life->tick(now_ns_, random_, effects_);
      } else {
        if (to.life == nullptr || (e.incarnation != 0 && e.incarnation != to.incarnation)) continue;
        ++messages_;
        to.life->receive(e.from, *e.message, now_ns_, random_, effects_);
      }
      carry_out(e.to);
    }
    now_ns_ = end_ns;
  }
  detail::broadcast_id broadcast(std::size_t n) {
    const auto id = nodes_[n].life->broadcast(std::make_shared<const std::string>("payload"), now_ns_, effects_);
    nodes_[n].received[id] = 1;
    carry_out(n);
    return id;
  }
  /// How many of the living have it; `most` is set to how often somebody has got it.
  [[nodiscard]] std::size_t reached(const detail::broadcast_id& id, int& most) const {
    std::size_t n = 0;
    most = 0;
    for (const node& it : nodes_) {
      if (it.life == nullptr) continue;
      const auto found = it.received.find(id);
      if (found == it.received.end()) continue;
      ++n;
      most = std::max(most, found->second);
    }
    return n;
  }
  [[nodiscard]] std::size_t living() const {
    return static_cast<std::size_t>(
        std::count_if(nodes_.begin(), nodes_.end(), [](const node& n) { return n.life != nullptr; }));
  }
  /// The number of parts that the living fall into, connected by links that both ends know of.
  [[nodiscard]] std::size_t components() const {
    std::vector<std::size_t> root(nodes_.size());
    for (std::size_t i = 0; i < root.size(); ++i) root[i] = i;
    const auto find = [&root](std::size_t i) {
      while (root[i] != i) i = root[i] = root[root[i]];
      return i;
    };
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!alive(i)) continue;
      for (const peer_id& p : nodes_[i].life->view().neighbors()) {
        const std::size_t j = p.node - 1;
        if (alive(j) && p == id_of(j) && nodes_[j].life->view().is_neighbor(id_of(i))) root[find(i)] = find(j);
      }
    }
    std::size_t n = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) n += alive(i) && find(i) == i ? 1 : 0;
    return n;
  }
  [[nodiscard]] std::size_t most_neighbors() const {
    std::size_t n = 0;
    for (const node& it : nodes_) {
      if (it.life != nullptr) n = std::max(n, it.life->view().neighbors().size());
    }
    return n;
  }
  [[nodiscard]] std::uint64_t duplicates() const {
    std::uint64_t n = 0;
    for (const node& it : nodes_) n += it.life != nullptr ? it.life->tree().duplicates() : 0;
    return n;
  }
  /// Chance for the test's own decisions.
  [[nodiscard]] std::size_t random_living() {
    std::size_t n = random_.below(nodes_.size());
    while (!alive(n)) n = (n + 1) % nodes_.size();
    return n;
  }

private:
  struct node {
    std::unique_ptr<overlay> life;
    std::uint64_t incarnation = 0;
    std::uint64_t tick_at_ns = ~std::uint64_t{0};
    std::map<detail::broadcast_id, int> received;
  };
  struct event {
    std::uint64_t at_ns = 0;
    std::uint64_t order = 0;
    std::size_t to = 0;
    std::uint64_t incarnation = 0;  // meant; 0: whichever
    peer_id from;
    std::shared_ptr<const overlay_message> message;  // null: a tick
  };
  static bool later(const event& a, const event& b) noexcept {
    return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.order > b.order;
  }
  [[nodiscard]] peer_id id_of(std::size_t n) const noexcept { return {n + 1, nodes_[n].incarnation}; }
  void push(event e) {
    e.order = ++order_;
    queue_.push_back(std::move(e));
    std::push_heap(queue_.begin(), queue_.end(), later);
  }
  void carry_out(std::size_t n) {
    node& it = nodes_[n];
    for (auto& d : effects_.deliveries) ++it.received[d.id];
    for (auto& s : effects_.sends) {
      const std::size_t to = s.to.node - 1;
      if (sky.one_way && (*sky.one_way >> (n % 64) & 1u) != 0 && (*sky.one_way >> (to % 64) & 1u) == 0) continue;
      if (random_.chance(sky.loss)) continue;
      const auto what = std::make_shared<const overlay_message>(std::move(s.what));
      const int copies = random_.chance(sky.duplicates) ? 2 : 1;
      for (int i = 0; i < copies; ++i) {
        std::uint64_t at_ns = now_ns_ + 1'000'000 + random_.below(20'000'000);
        if (random_.chance(sky.late)) at_ns += random_.below(second);
        push({at_ns, 0, to, s.to.incarnation, id_of(n), what});
      }
    }
    effects_.clear();
    const std::uint64_t next_ns = std::max(it.life->next_ns(), now_ns_);
    if (next_ns < it.tick_at_ns) {
      it.tick_at_ns = next_ns;
      push({next_ns, 0, n, 0, {}, nullptr});
    }
  }
  overlay_random random_;
  const detail::overlay_options options_;
  std::vector<node> nodes_;
  std::vector<event> queue_;
  overlay_effects effects_;
  std::uint64_t now_ns_ = second;
  std::uint64_t order_ = 0;
  std::uint64_t messages_ = 0;
};

}  // namespace karyon::tests
