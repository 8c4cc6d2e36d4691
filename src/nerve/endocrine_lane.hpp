// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "nerve/endocrine_topic.hpp"
#include "sched/task.hpp"

namespace karyon::detail {

class endocrine_core;
struct endocrine_message;

/// Something for a lane to do.
struct lane_item {
  enum kind : std::uint8_t { message, add, remove, sweep };
  lane_item* next = nullptr;
  kind what = message;
};

/// A published signal on its way to the lanes that have subscribers for it: one allocation, with an item for each.
struct endocrine_message {
  struct item : lane_item {
    endocrine_message* of = nullptr;
  };
  endocrine_core* core;
  const hormone_type* type;
  std::shared_ptr<const void> value;
  std::shared_ptr<const endocrine_route> route;
  std::uint32_t hops;
  std::atomic<std::uint32_t> lanes_left;

  /// Throws std::bad_alloc.
  [[nodiscard]] static endocrine_message* make(std::size_t lanes);
  [[nodiscard]] item* items() noexcept { return reinterpret_cast<item*>(this + 1); }
  static void destroy(endocrine_message* m) noexcept;
};
static_assert(sizeof(endocrine_message) % alignof(endocrine_message::item) == 0);

/// A subscription that begins, or ends, or a look for those that have.
struct lane_command : lane_item {
  std::shared_ptr<endocrine_topic> topic;
  endocrine_group* group = nullptr;
  std::uint32_t index = 0;  // of a sweep: where it goes on
  endocrine_group::entry entry;
};

/// A bus's part on one worker: gives the cells at home there what is published.
///
///   head_      meaning                                        left by
///   resting    nothing to do, in no run queue                 any thread: push -> an item, and puts the lane into its worker's queue
///   null       it runs, or will; nothing new                  any thread: push; its turn: -> resting
///   an item    the newest of a list                           any thread: push; its turn: takes all -> null
///
/// Push releases, taking acquires. Whoever makes it leave `resting` has to schedule it. What one thread pushes is worked off in that
/// order. A turn is bounded (work_a_turn); after it the lane goes to the end of its worker's run queue, behind the cells that it has
/// just woken: so those have handled a part of a broadcast before the next part is handed out, other cells get their turns in between,
/// and signals do not pile up in half a million mailboxes. An idle worker may be given the lane like any task; then it goes on
/// there, and comes home with its next work.
class endocrine_lane : public task {
public:
  static constexpr std::size_t work_a_turn = 256;

  endocrine_lane(endocrine_core& owner, unsigned index) noexcept : task(&run_lane), owner_(owner), index_(index) {}
  endocrine_lane(const endocrine_lane&) = delete;
  endocrine_lane& operator=(const endocrine_lane&) = delete;

  /// Any thread; the item is the lane's.
  void push(lane_item* item) noexcept;
  /// Acquire pairs with rest's release: who sees it resting sees all that its turns did.
  [[nodiscard]] bool is_resting() const noexcept { return head_.load(std::memory_order_acquire) == resting(); }

  /// Written by its turns alone, read by anyone (relaxed).
  struct counters {
    std::atomic<std::uint64_t> reached{0};
    std::atomic<std::uint64_t> delivered{0};
    std::atomic<std::uint64_t> ended{0};
    std::atomic<std::uint64_t> restarting{0};
    std::atomic<std::uint64_t> full{0};
    std::atomic<std::uint64_t> type{0};
    std::atomic<std::uint64_t> memory{0};
  };
  [[nodiscard]] const counters& stats() const noexcept { return counters_; }

private:
  static void run_lane(task* t, worker& w);
  [[nodiscard]] static lane_item* resting() noexcept;
  void take() noexcept;
  [[nodiscard]] bool rest() noexcept;
  /// Works on the first item, up to `budget`; returns what it cost, and sets `done`.
  [[nodiscard]] std::size_t work(lane_item* item, std::size_t budget, bool& done) noexcept;
  [[nodiscard]] std::size_t fan_out(endocrine_message& m, std::size_t budget, bool& done) noexcept;
  void deliver(endocrine_group& g, std::size_t from, std::size_t to, const endocrine_message& m) noexcept;
  void add(lane_command& c) noexcept;
  void remove(const lane_command& c) noexcept;
  [[nodiscard]] std::size_t sweep(lane_command& c, std::size_t budget, bool& done) noexcept;
  void forget(endocrine_group& g, std::size_t index) noexcept;
  static void add_to(std::atomic<std::uint64_t>& counter, std::uint64_t n) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  endocrine_core& owner_;
  const unsigned index_;
  alignas(64) std::atomic<lane_item*> head_{resting()};
  // Its turns alone.
  alignas(64) lane_item* first_ = nullptr;  // taken, oldest first
  std::size_t topic_ = 0;                   // where the first item, a message, goes on
  std::size_t group_ = 0;
  std::size_t entry_ = 0;
  std::shared_ptr<const void> value_;  // the message's, counted for this lane alone
  counters counters_;
};

}  // namespace karyon::detail
