// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "cell/inbox.hpp"

// A thread asks for a CAF handle of a cell while the cell ends and its slot is given back: expose_to_caf, exposed,
// backend_release and destroy_block of src/cell/backend_caf.cpp around the real inbox word, and CAF's counting.
//
// mirrors src/cell/backend_caf.cpp
//| std::atomic_thread_fence(std::memory_order_seq_cst);
//| if (!incarnation_alive(a)) return nullptr;
//| return handle;
//
// mirrors src/cell/backend_caf.cpp
//| std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: expose_to_caf
//
// mirrors src/cell/backend_caf.cpp
//| if (!exposed(s)) return true;
//| intrusive_ptr_release(caf_cell::of(s).block());
//| return false;

namespace {

using karyon::detail::inbox_word;

enum class counting { upgrade, plain_increment, no_second_look };

template <counting How>
struct exposing : rl::test_suite<exposing<How>, 3> {
  inbox_word word;
  std::atomic<std::uint32_t> strong;  // CAF's count: one is the slot's own
  rl::var<int> slot{0};               // what a handle refers to; written when the slot is given back
  rl::var<int> given_back{0};

  void before() {
    strong.store(1, std::memory_order_relaxed);
    word.open(1, false);
  }
  [[nodiscard]] bool alive() const {
    const std::uint64_t seen = word.look();
    return inbox_word::tag_of(seen) == 1 && inbox_word::accepts(seen);
  }
  void give_back() {
    slot($) = 1;
    given_back($) = given_back($) + 1;
  }
  void release() {
    if (strong.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    strong.store(1, std::memory_order_relaxed);  // the block is built anew
    give_back();
  }
  [[nodiscard]] bool acquire() {
    if (How == counting::plain_increment) {
      strong.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    std::uint32_t n = strong.load(std::memory_order_relaxed);
    while (n != 0) {
      if (strong.compare_exchange_weak(n, n + 1, std::memory_order_relaxed, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void thread(unsigned index) {
    if (index == 0) {
      RL_ASSERT(word.close() == nullptr);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (strong.load(std::memory_order_acquire) == 1) {
        give_back();
      } else {
        release();
      }
      return;
    }
    if (!alive() || !acquire()) return;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (How == counting::no_second_look || alive()) RL_ASSERT(slot($) == 0);  // held: still the cell's
    release();
  }
  void after() {
    RL_ASSERT(given_back($) == 1);
    RL_ASSERT(strong.load(std::memory_order_relaxed) == 1);
  }
};

}  // namespace

int main() {
  return model::suite("Handles of CAF to a cell that ends", {"expose_model.cpp"})
      .holds<exposing<counting::upgrade>>("a handle keeps the slot, and the slot is given back once", 100'000)
      .fails<exposing<counting::plain_increment>>("counting up a block whose last handle has gone", 100'000)
      .fails<exposing<counting::no_second_look>>("no second look at the word", 100'000)
      .check();
}
