// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <karyon/discover/groups.hpp>
#include <karyon/discover/registry.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "cell/peer_channel.hpp"
#include "cell/runtime_core.hpp"
#include "discover/replica.hpp"
#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

/// Ends it, and waits until its end is known.
inline void end(runtime& rt, const cell_ref& who) {
  const witness w(rt, who);
  rt.exit(who, exit_reason::killed());
  REQUIRE_FALSE(w.end().empty());
}

/// Joins, watches and counts for a test. `quit` ends it normally, a number other than 0 with an exception.
class resident : public cell {
public:
  using accepts = signals<ping, number, group_event, quit, get>;
  resident() = default;
  explicit resident(diary& d, std::atomic<int>* pings = nullptr) : diary_(&d), pings_(pings) {}
  void on(ping) {
    if (pings_ != nullptr) pings_->fetch_add(1);
  }
  void on(number) { throw std::runtime_error("as told"); }
  void on(const group_event& e) {
    if (diary_ != nullptr) {
      diary_->write((e.joined ? "+" : "-") + std::to_string(e.members.size()) + " " + e.group);
    }
  }
  void on(quit) { exit(exit_reason::normal()); }
  bool on(get) { return true; }

private:
  diary* diary_ = nullptr;
  std::atomic<int>* pings_ = nullptr;
};

/// Several nodes in one process: what one sends to another waits until pump() delivers it, in the order sent, on the test's thread.
class memory_colony {
public:
  /// The way of a node to the others; connected with none at first.
  std::shared_ptr<detail::peer_network> add(std::uint64_t node) {
    return std::make_shared<network>(*this, detail::peer{node, 1});
  }
  void connect(std::uint64_t a, std::uint64_t b) {
    linked_.insert(pair_of(a, b));
    for (const auto& [key, l] : listeners_) {
      if (key.first == a) tell_up(b, key.second, l.self);
      if (key.first == b) tell_up(a, key.second, l.self);
    }
  }
  /// What was under way is lost.
  void split(std::uint64_t a, std::uint64_t b) {
    linked_.erase(pair_of(a, b));
    std::erase_if(queue_, [&](const event& e) { return pair_of(e.to, e.from.node) == pair_of(a, b); });
    for (const auto& [key, l] : listeners_) {
      if (key.first == a) tell_down(b, key.second, l.self);
      if (key.first == b) tell_down(a, key.second, l.self);
    }
  }
  void pump() {
    while (true) {
      std::unique_lock lock(mutex_);
      if (queue_.empty()) return;
      const event e = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      const auto found = listeners_.find({e.to, e.service});
      if (found == listeners_.end()) continue;
      detail::peer_listener& l = *found->second.listener;
      switch (e.what) {
        case event::comes_up: l.peer_up(e.from); break;
        case event::goes_down: l.peer_down(e.from); break;
        case event::brings: l.received(e.from, e.bytes); break;
      }
    }
  }
  void tick() {
    const auto now = listeners_;
    for (const auto& [key, l] : now) l.listener->tick(0);
    pump();
  }
  /// From now on sends are refused, so many times.
  std::atomic<int> refusals{0};

private:
  struct event {
    enum kind { comes_up, goes_down, brings } what;
    std::uint64_t to;
    std::string service;
    detail::peer from;
    std::vector<std::byte> bytes;
  };
  struct listening {
    detail::peer_listener* listener;
    detail::peer self;
  };
  class channel final : public detail::peer_channel {
  public:
    channel(memory_colony& c, std::string service, detail::peer self)
        : colony_(c), service_(std::move(service)), self_(self) {}
    ~channel() override {
      colony_.listeners_.erase({self_.node, service_});
      for (const auto& [key, l] : colony_.listeners_) {
        if (key.second == service_ && colony_.linked(key.first, self_.node)) {
          colony_.tell_down(key.first, service_, self_);
        }
      }
    }
    [[nodiscard]] detail::peer self() const noexcept override { return self_; }
    [[nodiscard]] std::size_t bytes_max() const noexcept override { return 4096; }
    [[nodiscard]] detail::peer_fate send(const detail::peer& to, std::span<const std::byte> bytes) noexcept override {
      if (colony_.refusals > 0 && colony_.refusals-- > 0) return detail::peer_fate::full;
      if (bytes.size() > bytes_max()) return detail::peer_fate::too_large;
      if (!colony_.linked(self_.node, to.node)) return detail::peer_fate::down;
      const std::lock_guard lock(colony_.mutex_);
      colony_.queue_.push_back({event::brings, to.node, service_, self_, {bytes.begin(), bytes.end()}});
      return detail::peer_fate::sent;
    }

  private:
    memory_colony& colony_;
    std::string service_;
    detail::peer self_;
  };
  class network final : public detail::peer_network {
  public:
    network(memory_colony& c, detail::peer self) : colony_(c), self_(self) {}
    std::unique_ptr<detail::peer_channel> open(std::string_view service, detail::peer_listener& l) override {
      const std::string name(service);
      if (!colony_.listeners_.emplace(std::pair(self_.node, name), listening{&l, self_}).second) return nullptr;
      const auto others = colony_.listeners_;
      for (const auto& [key, other] : others) {
        if (key.second != name || !colony_.linked(key.first, self_.node)) continue;
        colony_.tell_up(key.first, name, self_);
        colony_.tell_up(self_.node, name, other.self);
      }
      return std::make_unique<channel>(colony_, name, self_);
    }

  private:
    memory_colony& colony_;
    detail::peer self_;
  };

  static std::pair<std::uint64_t, std::uint64_t> pair_of(std::uint64_t a, std::uint64_t b) { return std::minmax(a, b); }
  [[nodiscard]] bool linked(std::uint64_t a, std::uint64_t b) const { return linked_.contains(pair_of(a, b)); }
  void tell_up(std::uint64_t to, const std::string& service, detail::peer who) {
    if (!listeners_.contains({to, service})) return;
    const std::lock_guard lock(mutex_);
    queue_.push_back({event::comes_up, to, service, who, {}});
  }
  void tell_down(std::uint64_t to, const std::string& service, detail::peer who) {
    const std::lock_guard lock(mutex_);
    queue_.push_back({event::goes_down, to, service, who, {}});
  }

  std::mutex mutex_;  // workers send when cells end; all else is the test's thread
  std::deque<event> queue_;
  std::map<std::pair<std::uint64_t, std::string>, listening> listeners_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> linked_;
};

}  // namespace karyon::tests
