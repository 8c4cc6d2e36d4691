// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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

/// Events in the order of their time, first come first served within a slot of 1.05 ms: a calendar queue (Brown, CACM 1988) of one year
/// of 4.3 s, further than anything here is ahead. Nothing is allocated once there were as many events before.
class calendar {
public:
  static constexpr unsigned slot_bits = 20;  // of nanoseconds
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  struct event {
    std::uint32_t to = 0;
    std::uint32_t incarnation = 0;  // meant; 0: whichever
    std::uint32_t from = 0;
    std::uint32_t from_incarnation = 0;
    std::uint32_t message = none;  // none: a tick
  };

  void push(std::uint64_t at_ns, const event& e) {
    // Who is further ahead than the year would come before its time.
    if (at_ns >> slot_bits >= now_ + slots_.size() - 1) std::abort();
    // Never too early; and never in a slot that has been passed.
    const std::uint64_t slot = std::max((at_ns + (std::uint64_t{1} << slot_bits) - 1) >> slot_bits, now_);
    slots_[slot % slots_.size()].push_back(e);
  }
  /// The next one until a time, and its time; false if there is none. `soon(event, how far ahead)` is told of those that follow.
  template <class Soon>
  bool pop(std::uint64_t until_ns, event& e, std::uint64_t& now_ns, Soon&& soon) {
    while (now_ <= until_ns >> slot_bits) {
      std::vector<event>& today = slots_[now_ % slots_.size()];
      if (done_ == today.size()) {
        today.clear();
        done_ = 0;
        ++now_;
        continue;
      }
      e = today[done_++];
      for (const std::size_t ahead : {std::size_t{4}, std::size_t{8}}) {
        if (done_ + ahead < today.size()) soon(today[done_ + ahead], ahead);
      }
      now_ns = now_ << slot_bits;
      return true;
    }
    now_ = std::max(now_, (until_ns >> slot_bits) + 1);
    return false;
  }

private:
  std::vector<std::vector<event>> slots_ = std::vector<std::vector<event>>(4096);
  std::uint64_t now_ = 0;
  std::size_t done_ = 0;  // of those of now
};

/// Nodes of an overlay, and the network between them, in a time of its own. Everything follows from the seed.
class overlay_network {
public:
  static constexpr std::uint64_t second = 1'000'000'000;

  overlay_network(std::size_t nodes, std::uint64_t seed, detail::overlay_options options = {})
      : random_(seed), options_(options), nodes_(nodes), messages_in_flight_(1) {}

  weather sky;

  [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
  [[nodiscard]] overlay_random& random() noexcept { return random_; }
  [[nodiscard]] std::uint64_t now() const noexcept { return now_ns_; }
  [[nodiscard]] bool alive(std::size_t n) const noexcept { return nodes_[n].life.has_value(); }
  [[nodiscard]] const overlay& at(std::size_t n) const noexcept { return *nodes_[n].life; }
  [[nodiscard]] peer_id id_of(std::size_t n) const noexcept { return {n + 1, nodes_[n].incarnation}; }
  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }

  /// Starts a node, or starts it anew, with these as contacts.
  void start(std::size_t n, const std::vector<std::size_t>& contacts) {
    node& it = nodes_[n];
    it.incarnation += 1;
    it.life.emplace(id_of(n), options_);
    for (auto& [id, received] : received_) received[n] = 0;
    it.tick_at_ns = ~std::uint64_t{0};
    for (const std::size_t c : contacts) it.life->learn_contact({c + 1, 0});  // which life it lives is not known
    it.life->start(now_ns_, random_, effects_);
    carry_out(n);
  }
  void kill(std::size_t n) { nodes_[n].life.reset(); }
  /// What a node says that follows rules of its own.
  void say(std::size_t from, const peer_id& to, detail::overlay_message what) {
    effects_.send(to, std::move(what));
    carry_out(from);
  }
  /// Runs for so long.
  void run(std::uint64_t for_ns) {
    const std::uint64_t end_ns = now_ns_ + for_ns;
    calendar::event e;
    const auto soon = [this](const calendar::event& next, std::size_t ahead) {
      const node& to = nodes_[next.to];
      if (ahead > 4) {
        for (std::size_t line = 0; line < 4; ++line) {
          __builtin_prefetch(reinterpret_cast<const char*>(&to) + 64 * line);
        }
      } else if (to.life) {
        to.life->view().fetch();
      }
    };
    while (queue_.pop(end_ns, e, now_ns_, soon)) {
      node& to = nodes_[e.to];
      if (e.message == calendar::none) {
        if (!to.life || to.tick_at_ns > now_ns_) continue;
        to.tick_at_ns = ~std::uint64_t{0};
        to.life->tick(now_ns_, random_, effects_);
      } else {
        if (!to.life || (e.incarnation != 0 && e.incarnation != to.incarnation)) {
          drop(e.message);
          continue;
        }
        ++messages_;
        to.life->receive({std::uint64_t{e.from} + 1, e.from_incarnation}, messages_in_flight_[e.message].what, now_ns_,
                         random_, effects_);
        drop(e.message);
      }
      carry_out(e.to);
    }
    now_ns_ = end_ns;
  }
  detail::broadcast_id broadcast(std::size_t n) {
    static const auto payload = std::make_shared<const std::string>("payload");
    const auto id = nodes_[n].life->broadcast(payload, now_ns_, effects_);
    received_[id].assign(nodes_.size(), 0);
    received_[id][n] = 1;
    note_heard(n, id);
    carry_out(n);
    return id;
  }
  /// A broadcast that another network may hand on into this one is counted as this one's own are.
  void expect(const detail::broadcast_id& id) { received_[id].assign(nodes_.size(), 0); }
  /// A node that is in both hands it on; false if it has been here.
  bool hand_on(std::size_t n, const detail::broadcast_id& id) {
    static const auto payload = std::make_shared<const std::string>("payload");
    const bool fresh = nodes_[n].life->hand_on(id, payload, now_ns_, effects_);
    carry_out(n);
    return fresh;
  }
  /// Nodes up to this one are in another network as well; what they have heard of since they were asked last.
  void watch(std::size_t gateways) { gateways_ = gateways; }
  [[nodiscard]] std::vector<std::pair<std::size_t, detail::broadcast_id>> take_heard() {
    return std::exchange(heard_, {});
  }
  /// How many of the living have it; `most` is set to how often somebody has got it.
  [[nodiscard]] std::size_t reached(const detail::broadcast_id& id, int& most) const {
    std::size_t n = 0;
    most = 0;
    const std::vector<std::uint8_t>& received = received_.at(id);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!alive(i) || received[i] == 0) continue;
      ++n;
      most = std::max<int>(most, received[i]);
    }
    return n;
  }
  [[nodiscard]] std::size_t living() const {
    return static_cast<std::size_t>(
        std::count_if(nodes_.begin(), nodes_.end(), [](const node& n) { return n.life.has_value(); }));
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
      if (it.life.has_value()) n = std::max(n, it.life->view().neighbors().size());
    }
    return n;
  }
  [[nodiscard]] std::uint64_t duplicates() const {
    std::uint64_t n = 0;
    for (const node& it : nodes_) n += it.life.has_value() ? it.life->tree().duplicates() : 0;
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
    std::optional<overlay> life;
    std::uint32_t incarnation = 0;
    std::uint64_t tick_at_ns = ~std::uint64_t{0};
  };
  /// Used again and again; the first is every heartbeat, which says nothing but that.
  struct message_in_flight {
    overlay_message what;
    std::uint32_t copies = 0;
    std::uint32_t next_free = calendar::none;
  };
  static constexpr std::uint32_t a_heartbeat = 0;

  std::uint32_t keep(overlay_message&& what, std::uint32_t copies) {
    if (what.what == overlay_message::kind::heartbeat) return a_heartbeat;
    std::uint32_t place = free_message_;
    if (place != calendar::none) {
      free_message_ = messages_in_flight_[place].next_free;
    } else {
      place = static_cast<std::uint32_t>(messages_in_flight_.size());
      messages_in_flight_.emplace_back();
    }
    messages_in_flight_[place].what = std::move(what);
    messages_in_flight_[place].copies = copies;
    return place;
  }
  void drop(std::uint32_t place) {
    if (place == a_heartbeat || --messages_in_flight_[place].copies != 0) return;
    messages_in_flight_[place].what.payload.reset();
    messages_in_flight_[place].next_free = std::exchange(free_message_, place);
  }
  void note_heard(std::size_t n, const detail::broadcast_id& id) {
    if (n < gateways_) heard_.emplace_back(n, id);
  }
  void carry_out(std::size_t n) {
    node& it = nodes_[n];
    for (auto& d : effects_.deliveries) {
      note_heard(n, d.id);
      if (const auto found = received_.find(d.id); found != received_.end()) ++found->second[n];
    }
    for (auto& s : effects_.sends) {
      const std::size_t to = s.to.node - 1;
      if (to >= nodes_.size()) continue;  // somebody has made it up
      if (sky.one_way && (*sky.one_way >> (n % 64) & 1u) != 0 && (*sky.one_way >> (to % 64) & 1u) == 0) continue;
      if (sky.loss != 0 && random_.chance(sky.loss)) continue;
      const std::uint32_t copies = sky.duplicates != 0 && random_.chance(sky.duplicates) ? 2 : 1;
      const std::uint32_t what = keep(std::move(s.what), copies);
      for (std::uint32_t i = 0; i < copies; ++i) {
        std::uint64_t at_ns = now_ns_ + 1'000'000 + random_.below(20'000'000);
        if (sky.late != 0 && random_.chance(sky.late)) at_ns += random_.below(second);
        queue_.push(at_ns, {static_cast<std::uint32_t>(to), static_cast<std::uint32_t>(s.to.incarnation),
                            static_cast<std::uint32_t>(n), it.incarnation, what});
      }
    }
    effects_.clear();
    if (!it.life) return;
    const std::uint64_t next_ns = std::max(it.life->next_ns(), now_ns_);
    if (next_ns < it.tick_at_ns) {
      it.tick_at_ns = next_ns;
      queue_.push(next_ns, {static_cast<std::uint32_t>(n), 0, 0, 0, calendar::none});
    }
  }
  overlay_random random_;
  const detail::overlay_options options_;
  std::vector<node> nodes_;
  std::vector<message_in_flight> messages_in_flight_;
  std::uint32_t free_message_ = calendar::none;
  std::map<detail::broadcast_id, std::vector<std::uint8_t>> received_;  // by node: how often
  std::size_t gateways_ = 0;
  std::vector<std::pair<std::size_t, detail::broadcast_id>> heard_;
  calendar queue_;
  overlay_effects effects_;
  std::uint64_t now_ns_ = second;
  std::uint64_t messages_ = 0;
};

}  // namespace karyon::tests
