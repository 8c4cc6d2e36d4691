// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/nerve/detail/hormone.hpp>

namespace karyon::detail {

class endocrine_topic;

/// The subscribers of one pattern that are at home at one worker and get one type in one class's way: a dense array, so that a
/// broadcast walks memory and not a list.
///
/// Places are given out by whoever subscribes (under `mutex_`), and written by the worker's lane alone, which is told so by commands
/// in its queue. An empty place is used again.
class endocrine_group {
public:
  struct entry {
    cell_slot* slot = nullptr;  // null: empty
    std::uint32_t number = 0;
    std::uint32_t serial = 0;
    [[nodiscard]] address at() const noexcept { return {slot, number}; }
  };
  struct place {
    std::uint32_t index = 0;
    std::uint32_t serial = 0;
    bool sweep = false;  // the number of places has doubled: look for those that can be had again
  };

  endocrine_group(endocrine_topic& t, const hormone_receiver* h, bool r, unsigned l) noexcept
      : topic(t), how(h), role(r), lane(l) {}

  endocrine_topic& topic;
  const hormone_receiver* const how;
  const bool role;  // entries are children, not incarnations
  const unsigned lane;

  // Any thread.
  [[nodiscard]] place take_place() {
    const std::lock_guard lock(mutex_);
    place p{0, ++serial_, false};
    if (!free_.empty()) {
      p.index = free_.back();
      free_.pop_back();
      return p;
    }
    // So that giving one back needs no memory.
    if (free_.capacity() <= used_) free_.reserve(std::size_t{used_} * 2 + 16);
    p.index = used_++;
    p.sweep = used_ == sweep_at_;
    if (p.sweep) sweep_at_ *= 2;
    return p;
  }
  void give_back(std::uint32_t index) noexcept {
    const std::lock_guard lock(mutex_);
    free_.push_back(index);
  }

  // The lane.
  std::vector<entry> entries;
  bool listed = false;  // in the topic's list for the lane

private:
  std::mutex mutex_;
  std::vector<std::uint32_t> free_;  // mutex_
  std::uint32_t used_ = 0;           // mutex_
  std::uint32_t serial_ = 0;         // mutex_
  std::uint32_t sweep_at_ = 1024;    // mutex_
};

/// One pattern, and who has subscribed to it. Alive while subscribed to, and while a signal is on its way to it.
class endocrine_topic : public std::enable_shared_from_this<endocrine_topic> {
public:
  struct part {
    std::atomic<std::uint32_t> members{0};  // changed by who subscribes, and by the lane
    std::vector<endocrine_group*> groups;   // the lane's
  };
  endocrine_topic(std::uint64_t b, std::string_view p, unsigned lanes) : bus(b), pattern(p), parts(lanes) {}

  const std::uint64_t bus;  // whose it is: endocrine_core::origin_
  const std::string pattern;
  std::vector<part> parts;
  std::atomic<std::uint64_t> members{0};

  /// Any thread. Throws std::bad_alloc.
  [[nodiscard]] endocrine_group& group(const hormone_receiver* how, bool role, unsigned lane) {
    const std::lock_guard lock(mutex_);
    for (const auto& g : groups_) {
      if (g->how == how && g->role == role && g->lane == lane) return *g;
    }
    groups_.push_back(std::make_unique<endocrine_group>(*this, how, role, lane));
    return *groups_.back();
  }
  template <class F>
  void for_each_group(F&& f) {
    const std::lock_guard lock(mutex_);
    for (const auto& g : groups_) f(*g);
  }

private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<endocrine_group>> groups_;  // mutex_; only grows
};

/// Takes what is published to a pattern, besides cells. Called on the thread that publishes or receives; must not block.
class endocrine_sink {
public:
  virtual ~endocrine_sink() = default;
  virtual void take(std::string_view subject, const hormone_type& type, const std::shared_ptr<const void>& value) = 0;
  [[nodiscard]] virtual const hormone_type& type() const noexcept = 0;
};

/// Whom a subject reaches; immutable.
struct endocrine_route {
  std::vector<std::shared_ptr<endocrine_topic>> topics;
  std::vector<std::shared_ptr<endocrine_sink>> sinks;
  [[nodiscard]] std::uint64_t receivers() const noexcept {
    std::uint64_t n = 0;
    for (const auto& t : topics) n += t->members.load(std::memory_order_relaxed);
    return n;
  }
};

}  // namespace karyon::detail
