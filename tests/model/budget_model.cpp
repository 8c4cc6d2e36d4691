// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

// The restart budget: restart_budget::add on a ring of two places, in chunks of one.
//
// mirrors src/supervise/restart_budget.cpp
//| chunk* c = slot.load(std::memory_order_acquire);
//| if (c == nullptr) {
//| auto fresh = std::make_unique<chunk>();
//
// mirrors src/supervise/restart_budget.cpp
//| if (slot.compare_exchange_strong(c, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire))
//| c = fresh.release();
//
// mirrors src/supervise/restart_budget.cpp
//| const std::uint64_t k = count_.fetch_add(1, std::memory_order_relaxed);
//
// mirrors src/supervise/restart_budget.cpp
//| place(static_cast<std::uint32_t>(k % restarts_)).exchange(now_ns + 1, std::memory_order_acq_rel);
//| if (k < restarts_) return true;
//
// mirrors src/supervise/restart_budget.cpp
//| return before != 0 && now_ns > before - 1 && now_ns - (before - 1) > period_ns_;

namespace {

enum class mistake { none, unwritten_counts_as_long_ago, look_then_write };

template <mistake Made>
class budget {
public:
  ~budget() {
    for (auto& c : chunks_) delete c.load(std::memory_order_relaxed);
  }
  bool add(std::uint64_t now) {
    const std::uint64_t k = count_.fetch_add(1, std::memory_order_relaxed);
    auto& at = place(static_cast<std::uint32_t>(k % restarts));
    std::uint64_t before = 0;
    if (Made == mistake::look_then_write) {
      before = at.load(std::memory_order_relaxed);
      at.store(now + 1, std::memory_order_relaxed);
    } else {
      before = at.exchange(now + 1, std::memory_order_acq_rel);
    }
    if (k < restarts) return true;
    if (Made == mistake::unwritten_counts_as_long_ago && before == 0) return true;
    return before != 0 && now > before - 1 && now - (before - 1) > period;
  }

private:
  static constexpr std::uint32_t restarts = 2;
  static constexpr std::uint64_t period = 10;
  struct chunk {
    std::atomic<std::uint64_t> at;
    rl::var<bool> ready{true};  // stands for the zeroes of the whole chunk
  };
  std::atomic<std::uint64_t>& place(std::uint32_t i) {
    chunk* c = chunks_[i].load(std::memory_order_acquire);
    if (c == nullptr) {
      auto fresh = std::make_unique<chunk>();
      if (chunks_[i].compare_exchange_strong(c, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
        c = fresh.release();
      }
    }
    RL_ASSERT(c->ready($));
    return c->at;
  }
  std::atomic<std::uint64_t> count_{0};
  std::array<std::atomic<chunk*>, restarts> chunks_;
};

/// Of three restarts at one moment two are allowed: the first three of all, or three long after the last ones.
template <mistake Made, bool Later>
struct deciding : rl::test_suite<deciding<Made, Later>, 3> {
  budget<Made> shared;
  rl::var<int> allowed[3] = {0, 0, 0};

  void before() {
    if (!Later) return;
    RL_ASSERT(shared.add(0));
    RL_ASSERT(shared.add(1));
  }
  void thread(unsigned index) { allowed[index]($) = shared.add(Later ? 100 : 1) ? 1 : 0; }
  void after() { RL_ASSERT(allowed[0]($) + allowed[1]($) + allowed[2]($) == 2); }
};

}  // namespace

int main() {
  constexpr const char* times = "the times are the only content: what a place holds is decided by the exchange alone";
  return model::suite("The restart budget", {"budget_model.cpp"})
      .holds<deciding<mistake::none, false>>("of three first restarts at one moment two are allowed", 40'000)
      .holds<deciding<mistake::none, true>>("of three restarts at one moment, long after others, two are allowed",
                                            40'000)
      .fails<deciding<mistake::unwritten_counts_as_long_ago, false>>(
          "taking a place not written yet for an old restart", 40'000)
      .fails<deciding<mistake::look_then_write, true>>("reading and writing a place in two steps", 40'000)
      .unshown("budget_model.cpp add exchange acq_rel -> acquire", times)
      .unshown("budget_model.cpp add exchange acq_rel -> release", times)
      .unshown("budget_model.cpp place cas acq_rel -> release",
               "who has put its own chunk there reads nothing of another's")
      .check();
}
