// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "cell/inbox.hpp"

// The count of a bounded mailbox while its cell ends and is started again: reserve_place and deliver_seen of deliver.cpp,
// and who takes off what was counted. A mailbox that drops what waits has a third who does: the sender that trims it, of what
// it drops, and of what is left if the cell has ended meanwhile.
//
// mirrors src/cell/deliver.cpp
//| const std::uint32_t before = slot.queued.fetch_add(1, std::memory_order_relaxed);
//| if (before < crowded_from(info.mailbox_limit)) return send_result::accepted;
//
// mirrors src/cell/deliver.cpp
//| if (before < limit) return send_result::accepted;
//
// mirrors src/cell/deliver.cpp
//| slot.queued.fetch_sub(1, std::memory_order_relaxed);
//| // The limit that refuses may be that of a successor in the slot.
//
// mirrors src/cell/deliver.cpp
//| slot.queued.fetch_sub(r.conflated + r.dropped, std::memory_order_relaxed);
//| const bool given_back = slot.inbox.end_trim(inbox_word::tag_of(seen), r.kept);
//
// mirrors src/cell/deliver.cpp
//| if (counted) slot.queued.fetch_sub(1, std::memory_order_relaxed);
//
// mirrors src/cell/run.cpp
//| if (bounded) slot.queued.fetch_sub(1, std::memory_order_relaxed);
//
// mirrors src/cell/lifecycle.cpp
//| if (bounded) s.queued.fetch_sub(1, std::memory_order_relaxed);

namespace {

using karyon::detail::inbox_word;
using karyon::detail::signal;

struct alignas(16) letter : signal {
  letter() : signal(nullptr) {}
};

enum class restart { takes_off_what_it_discards, sets_to_zero };

enum class trimmer { takes_off_what_it_holds, forgets_the_rest };

/// A sender trims a mailbox to its newest signal while the cell ends and starts again: afterwards nothing is counted.
template <trimmer How>
struct trimming : rl::test_suite<trimming<How>, 3> {
  inbox_word word;
  std::atomic<std::uint32_t> queued;
  letter letters[3][3];

  void before() {
    queued.store(0, std::memory_order_relaxed);
    word.open(1, true);
  }
  void take_off(const signal* list) {
    for (; list != nullptr; list = list->next) queued.fetch_sub(1, std::memory_order_relaxed);
  }
  void run(letter* first) {
    if (first != nullptr) queued.fetch_sub(1, std::memory_order_relaxed);
    while (true) {
      if (signal* list = word.take_all_untrimmed()) {
        take_off(list);
        continue;
      }
      if (word.go_idle()) return;
    }
  }
  void trim(std::uint64_t seen) {
    signal* newest = word.begin_trim(inbox_word::tag_of(seen));
    if (newest == nullptr) return;
    take_off(std::exchange(newest->next, nullptr));
    if (!word.end_trim(inbox_word::tag_of(seen), newest) && How == trimmer::takes_off_what_it_holds) take_off(newest);
  }
  void send(letter& l) {
    const std::uint64_t seen = word.look();
    if (!inbox_word::accepts(seen)) return;
    if (queued.fetch_add(1, std::memory_order_relaxed) >= 2) trim(seen);
    switch (word.push(&l, seen)) {
      case inbox_word::push_result::queued: return;
      case inbox_word::push_result::owner: return run(&l);
      case inbox_word::push_result::refused: queued.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  void thread(unsigned index) {
    if (index != 0) {
      for (letter& l : letters[index]) send(l);
      return;
    }
    take_off(word.close());
    word.open(2, true);
    run(nullptr);
  }
  void after() { RL_ASSERT(queued.load(std::memory_order_relaxed) == 0); }
};

/// Two senders fill a mailbox of one place while the cell is restarted: afterwards nothing is counted that is not there.
template <restart How>
struct limiting : rl::test_suite<limiting<How>, 3> {
  inbox_word word;
  std::atomic<std::uint32_t> queued;
  letter letters[3][2];

  void before() {
    queued.store(0, std::memory_order_relaxed);
    word.open(1, true);
  }
  void take_off(const signal* list) {
    for (; list != nullptr; list = list->next) queued.fetch_sub(1, std::memory_order_relaxed);
  }
  void run(letter* first) {
    if (first != nullptr) queued.fetch_sub(1, std::memory_order_relaxed);
    while (true) {
      if (signal* list = word.take_all()) {
        take_off(list);
        continue;
      }
      if (word.go_idle()) return;
    }
  }
  void send(letter& l) {
    const std::uint64_t seen = word.look();
    if (!inbox_word::accepts(seen)) return;
    if (queued.fetch_add(1, std::memory_order_relaxed) >= 1) {
      queued.fetch_sub(1, std::memory_order_relaxed);
      return;
    }
    switch (word.push(&l, seen)) {
      case inbox_word::push_result::queued: return;
      case inbox_word::push_result::owner: return run(&l);
      case inbox_word::push_result::refused: queued.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  void thread(unsigned index) {
    if (index != 0) {
      for (letter& l : letters[index]) send(l);
      return;
    }
    const signal* discarded = word.close();
    if (How == restart::takes_off_what_it_discards) take_off(discarded);
    if (How == restart::sets_to_zero) queued.store(0, std::memory_order_relaxed);
    word.open(2, true);
    run(nullptr);
  }
  void after() { RL_ASSERT(queued.load(std::memory_order_relaxed) == 0); }
};

}  // namespace

int main() {
  return model::suite("The limit of a mailbox", {})
      .holds<limiting<restart::takes_off_what_it_discards>>("a restart leaves the count true", 60'000)
      .fails<limiting<restart::sets_to_zero>>("a restart that sets the count to zero under a sender that counted",
                                              60'000)
      .holds<trimming<trimmer::takes_off_what_it_holds>>(
          "a sender that trims leaves the count true, also over a restart", 60'000)
      .fails<trimming<trimmer::forgets_the_rest>>("a trimmer whose cell has ended forgets what it holds", 60'000)
      .check();
}
