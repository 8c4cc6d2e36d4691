// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include "cell/inbox.hpp"

// The mailbox word and what goes through it. The word is the real one; around it stands the protocol of deliver.cpp,
// run.cpp and lifecycle.cpp, held to these lines:
//
// mirrors src/cell/deliver.cpp
//| const std::uint64_t seen = slot->inbox.look();
//| if (slot->role.load(std::memory_order_acquire) != role) return refuse(s, send_result::dead);
//| if (!inbox_word::accepts(seen)) return deliver_elsewhere(slot, role, s, send_result::restarting);
//
// mirrors src/cell/lifecycle.cpp
//| s.incarnation.store(n, std::memory_order_relaxed);
//| s.inbox.open(n, info.mailbox_limit != 0);
//
// mirrors src/cell/lifecycle.cpp
//| if (const std::uint8_t noted = s.noted.load(std::memory_order_seq_cst); noted != 0) [[unlikely]]
//| core_of(&s).tell_end(noted, s.at());
//
// mirrors src/cell/runtime_service.hpp
//| which.slot->noted.fetch_or(bit_, std::memory_order_seq_cst);
//| const std::uint64_t seen = which.slot->inbox.look_in_order();
//
// mirrors src/cell/runtime_core.cpp
//| const std::uint64_t seen = s.inbox.look();
//| if (!inbox_word::accepts(seen)) return;
//
// mirrors src/cell/runtime_core.cpp
//| if (s.role.load(std::memory_order_relaxed) != 0) return;
//
// mirrors src/cell/runtime_core.cpp
//| const std::uint32_t n = s.number();
//| if (inbox_word::tag_of_incarnation(n) != inbox_word::tag_of(seen)) return;
//| send_exit({&s, n}, {}, why);
//
// mirrors src/cell/runtime_core.cpp
//| if (process_fences::prepare()) process_fences::heavy();
//
// mirrors src/cell/lifecycle.cpp
//| process_fences::light();
//| if (core.closing()) send_exit(r.at, {}, exit_reason::shutdown());
//
// mirrors src/cell/run.cpp
//| if (slot.inbox.go_idle()) return true;

namespace {

using karyon::detail::inbox_word;
using karyon::detail::signal;

struct alignas(16) letter : signal {
  letter() : signal(nullptr) {}
  rl::var<int> sender{0};
  rl::var<int> number{0};
};

/// A cell whose runs happen on whatever thread has become its owner.
struct mailbox {
  inbox_word word;
  rl::var<int> handled{0};           // the cell's state: races if two ever own the cell
  rl::var<int> last[3] = {0, 0, 0};  // by sender, to see the order

  void handle(letter& l) {
    handled($) = handled($) + 1;
    const int sender = l.sender($);
    RL_ASSERT(l.number($) == last[sender]($) + 1);  // none lost, none twice, in the order sent
    last[sender]($) = l.number($);
  }
  void handle_all(signal* newest) {
    signal* oldest = nullptr;
    while (newest != nullptr) {
      signal* following = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = following;
    }
    for (; oldest != nullptr; oldest = oldest->next) handle(*static_cast<letter*>(oldest));
  }
  void run(letter* first) {
    if (first != nullptr) handle(*first);
    while (true) {
      if (signal* list = word.take_all()) {
        handle_all(list);
        continue;
      }
      if (word.go_idle()) return;
    }
  }
  void send(letter& l) {
    const std::uint64_t seen = word.look();
    RL_ASSERT(inbox_word::accepts(seen));
    switch (word.push(&l, seen)) {
      case inbox_word::push_result::queued: return;
      case inbox_word::push_result::owner: return run(&l);
      case inbox_word::push_result::refused: RL_ASSERT(false);
    }
  }
};

/// Two threads send to a cell that a third has just launched.
struct conversation : rl::test_suite<conversation, 3> {
  mailbox cell;
  letter letters[3][2];

  void before() { cell.word.open(1, false); }
  void thread(unsigned index) {
    if (index == 0) {
      cell.run(nullptr);  // launch: whatever has come already is handled first
      return;
    }
    for (int i = 0; i < 2; ++i) {
      letter& l = letters[index][i];
      l.sender($) = static_cast<int>(index);
      l.number($) = i + 1;
      cell.send(l);
    }
  }
  void after() {
    RL_ASSERT(cell.handled($) == 4);
    RL_ASSERT(!cell.word.has_signals());
    RL_ASSERT((cell.word.look() & 3u) == 1);  // idle: nobody owns it, and nothing waits
  }
};

/// A slot with a tenant of one role, which ends; the next tenant has another role and class.
template <bool RoleFirst>
struct succession : rl::test_suite<succession<RoleFirst>, 3> {
  mailbox cell;
  std::atomic<std::uint32_t> role;
  std::atomic<int> info;   // the class, as find_tell reads it
  rl::var<int> object{0};  // the tenant itself
  static constexpr int ends = 9;
  letter letters[3];

  void begin(std::uint32_t n, int with_class) {
    info.store(with_class, std::memory_order_relaxed);
    object($) = static_cast<int>(n);
    cell.word.open(n, false);
  }
  /// True if the letter ends the tenant.
  bool handle(letter& l) {
    if (l.number($) == ends) return true;
    const int tenant = object($);
    RL_ASSERT(l.number($) == tenant);  // meant for this one
    return false;
  }
  void run(letter* first) {
    bool ended = first != nullptr && handle(*first);
    while (!ended) {
      if (signal* list = cell.word.take_all()) {
        for (; list != nullptr; list = list->next) ended |= handle(*static_cast<letter*>(list));
        continue;
      }
      if (cell.word.go_idle()) return;
    }
    for (signal* s = cell.word.close(); s != nullptr; s = s->next) {
      RL_ASSERT(static_cast<letter*>(s)->number($) == 1);  // discarded, with its content
    }
    role.store(0, std::memory_order_release);
    role.store(2, std::memory_order_release);
    begin(2, 8);
    run(nullptr);
  }
  void before() {
    role.store(1, std::memory_order_relaxed);
    begin(1, 7);
  }
  void thread(unsigned index) {
    letter& l = letters[index];
    l.number($) = index == 0 ? ends : 1;
    if (index == 0) run(nullptr);
    if (index == 1) {
      send_to_role(l, 1);
    } else {
      send_to_incarnation(l, 1);
    }
  }
  void send_to_role(letter& l, std::uint32_t meant) {
    if (RoleFirst && role.load(std::memory_order_acquire) != meant) return;
    const std::uint64_t seen = cell.word.look();
    if (!RoleFirst && role.load(std::memory_order_acquire) != meant) return;
    if (inbox_word::accepts(seen)) push(l, seen);
  }
  void send_to_incarnation(letter& l, std::uint32_t meant) {
    const std::uint64_t seen = cell.word.look();
    if (inbox_word::tag_of(seen) != meant || !inbox_word::accepts(seen)) return;
    push(l, seen);
  }
  void push(letter& l, std::uint64_t seen) {
    if (cell.word.push(&l, seen) == inbox_word::push_result::owner) run(&l);
  }
};

/// A shutdown tells the spawned cells to end, and leaves children to their guardians (runtime_core::exit_all), while a cell ends and its
/// slot becomes a child's.
enum class number { compared, as_it_is_read };
template <number Number>
struct telling_all : rl::test_suite<telling_all<Number>, 2> {
  inbox_word word;
  std::atomic<std::uint32_t> role;
  std::atomic<std::uint32_t> incarnation;
  letter exit;
  rl::var<int> ended{0};

  void begin(std::uint32_t n) {
    incarnation.store(n, std::memory_order_relaxed);
    word.open(n, false);
  }
  void before() {
    role.store(0, std::memory_order_relaxed);
    begin(1);
  }
  void finish() {
    for (signal* s = word.close(); s != nullptr; s = s->next) RL_ASSERT(s == &exit);
    ended($) = 1;
    role.store(2, std::memory_order_relaxed);  // no stronger than it need be: begin_role's release is for others
    begin(2);
    RL_ASSERT(word.go_idle());  // nothing has come for the child
  }
  void thread(unsigned index) {
    if (index == 0) {
      if (!word.go_idle()) return finish();
      if (word.claim(1)) finish();  // as an owner that a signal has woken
      return;
    }
    const std::uint64_t seen = word.look();
    if (!inbox_word::accepts(seen)) return;
    if (role.load(std::memory_order_relaxed) != 0) return;
    const std::uint32_t n = incarnation.load(std::memory_order_relaxed);
    if (Number == number::compared && inbox_word::tag_of_incarnation(n) != inbox_word::tag_of(seen)) return;
    send_exit(n);
  }
  void send_exit(std::uint32_t n) {
    const std::uint64_t seen = word.look();
    if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(n) || !inbox_word::accepts(seen)) return;
    if (word.push(&exit, seen) != inbox_word::push_result::owner) return;
    RL_ASSERT(ended($) == 0);
    finish();
  }
};

/// A cell that is spawned while the runtime shuts down is refused, or told to end: by its own thread, or by the one that looks for cells.
/// The fences are a light one and a heavy one, which order as these two do (seat_model.cpp).
enum class fences { both, none };
template <fences Fences>
struct spawning_late : rl::test_suite<spawning_late<Fences>, 2> {
  inbox_word word;
  std::atomic<int> closing;
  rl::var<int> refused{0};
  rl::var<int> told[2] = {0, 0};

  void before() { closing.store(0, std::memory_order_relaxed); }
  void thread(unsigned index) {
    if (index == 0) {
      if (closing.load(std::memory_order_relaxed) != 0) {
        refused($) = 1;
        return;
      }
      word.open(1, false);
      if (Fences == fences::both) std::atomic_thread_fence(std::memory_order_seq_cst);
      if (closing.load(std::memory_order_relaxed) != 0) told[0]($) = 1;
    } else {
      closing.store(1, std::memory_order_relaxed);
      if (Fences == fences::both) std::atomic_thread_fence(std::memory_order_seq_cst);
      if (inbox_word::accepts(word.look())) told[1]($) = 1;
    }
  }
  void after() { RL_ASSERT(refused($) + told[0]($) + told[1]($) != 0); }
};

/// Whoever sees a word that accepts sees the class and the state that belong to it.
struct announcement : rl::test_suite<announcement, 2> {
  inbox_word word;
  std::atomic<std::uint32_t> role;
  std::atomic<int> info;

  void before() { role.store(0, std::memory_order_relaxed); }
  void thread(unsigned index) {
    if (index == 0) {
      role.store(1, std::memory_order_relaxed);
      info.store(7, std::memory_order_relaxed);
      word.open(1, false);
    } else if (inbox_word::accepts(word.look())) {
      RL_ASSERT(info.load(std::memory_order_relaxed) == 7);
      RL_ASSERT(role.load(std::memory_order_relaxed) == 1);
    }
  }
};

/// Who notes a slot and then finds the cell alive is told of its end.
struct noting : rl::test_suite<noting, 2> {
  inbox_word word;
  std::atomic<std::uint32_t> noted;
  rl::var<int> found_alive{0};
  rl::var<int> told{0};

  void before() {
    noted.store(0, std::memory_order_relaxed);
    word.open(1, false);
  }
  void thread(unsigned index) {
    if (index == 0) {
      (void)word.close();
      if (noted.load(std::memory_order_seq_cst) != 0) told($) = 1;
    } else {
      noted.fetch_or(1, std::memory_order_seq_cst);
      if (inbox_word::accepts(word.look_in_order())) found_alive($) = 1;
    }
  }
  void after() { RL_ASSERT(found_alive($) == 0 || told($) == 1); }
};

/// A refused sender may free what the cell touched last: so the end of a cell releases, and every way to a refusal acquires
/// (a timer's record is freed by the wheel's worker once its cell is gone, src/cell/timers.cpp).
struct farewell : rl::test_suite<farewell, 3> {
  inbox_word word;
  rl::var<int> record{0};
  letter letters[3];

  void before() { word.open(1, false); }
  void run(letter* first) {
    bool ended = first != nullptr && first->number($) == 0;
    while (!ended) {
      if (signal* list = word.take_all()) {
        for (; list != nullptr; list = list->next) ended |= static_cast<letter*>(list)->number($) == 0;
        continue;
      }
      if (word.go_idle()) return;
    }
    record($) = 1;
    for (signal* s = word.close(); s != nullptr; s = s->next) RL_ASSERT(static_cast<letter*>(s)->number($) == 2);
  }
  void thread(unsigned index) {
    if (index == 0) run(nullptr);
    letter& l = letters[index];
    l.number($) = static_cast<int>(index);  // 0 ends the cell
    if (index == 1) return;
    const std::uint64_t seen = word.look();
    const auto result = inbox_word::accepts(seen) ? word.push(&l, seen) : inbox_word::push_result::refused;
    if (result == inbox_word::push_result::owner) run(&l);
    if (result == inbox_word::push_result::refused) record($) = 2;
  }
};

/// A guardian that ends an idle cell in place, as exit_in_place does, while others send to it: the cell has one owner at a time, and each
/// letter is handled, discarded or refused, once.
struct ending_in_place : rl::test_suite<ending_in_place, 3> {
  mailbox cell;
  letter letters[3];
  rl::var<int> object{0};
  rl::var<int> handled[3] = {0, 0, 0};

  void before() {
    cell.word.open(1, false);
    RL_ASSERT(cell.word.go_idle());
  }
  void handle(letter& l) {
    object($) = object($) + 1;
    handled[l.sender($)]($) = handled[l.sender($)]($) + 1;
  }
  void run(letter* first) {
    handle(*first);
    while (true) {
      if (signal* list = cell.word.take_all()) {
        for (; list != nullptr; list = list->next) handle(*static_cast<letter*>(list));
        continue;
      }
      if (cell.word.go_idle()) return;
    }
  }
  void thread(unsigned index) {
    if (index == 0) {
      if (!cell.word.claim(1)) return;
      object($) = -10;  // destroyed
      for (signal* s = cell.word.close(); s != nullptr; s = s->next) {
        const int from = static_cast<letter*>(s)->sender($);
        handled[from]($) = handled[from]($) + 1;  // discarded
      }
      RL_ASSERT(!cell.word.claim(1));
      return;
    }
    letter& l = letters[index];
    l.sender($) = static_cast<int>(index);
    const std::uint64_t seen = cell.word.look();
    const auto result = inbox_word::accepts(seen) ? cell.word.push(&l, seen) : inbox_word::push_result::refused;
    if (result == inbox_word::push_result::owner) run(&l);
    if (result == inbox_word::push_result::refused) handled[index]($) = handled[index]($) + 1;
  }
  void after() {
    RL_ASSERT(handled[1]($) == 1 && handled[2]($) == 1);
    RL_ASSERT(!cell.word.has_signals());
  }
};

enum class taking { when_nobody_trims, at_any_time };

/// A sender shortens the list of a busy cell, as make_room does, while another sends, the owner takes, and perhaps ends: each letter
/// is handled, discarded or refused, once, and what is handled comes in its sender's order.
template <taking How, bool Ends>
struct trimming : rl::test_suite<trimming<How, Ends>, 3> {
  inbox_word word;
  letter letters[3][3];
  rl::var<int> object{0};  // races if two ever own the cell
  rl::var<int> last[3] = {0, 0, 0};
  rl::var<int> done[3][3];

  void before() {
    for (auto& by_sender : done) {
      for (auto& each : by_sender) each($) = 0;
    }
    word.open(1, true);
  }
  void finish(letter& l) {
    auto& times = done[l.sender($)][l.number($) - 1];
    times($) = times($) + 1;
  }
  void finish_all(signal* list) {
    for (; list != nullptr; list = list->next) finish(*static_cast<letter*>(list));
  }
  /// True if the letter ends the cell.
  bool handle(letter& l) {
    object($) = object($) + 1;
    RL_ASSERT(l.number($) > last[l.sender($)]($));
    last[l.sender($)]($) = l.number($);
    finish(l);
    return Ends && l.sender($) == 2 && l.number($) == 1;
  }
  bool handle_all(signal* newest) {
    signal* oldest = nullptr;
    while (newest != nullptr) oldest = std::exchange(newest, std::exchange(newest->next, oldest));
    bool ended = false;
    for (; oldest != nullptr; oldest = oldest->next) ended |= handle(*static_cast<letter*>(oldest));
    return ended;
  }
  void run(letter* first) {
    bool ended = first != nullptr && handle(*first);
    while (!ended) {
      if (signal* list = How == taking::when_nobody_trims ? word.take_all_untrimmed() : word.take_all()) {
        ended = handle_all(list);
        continue;
      }
      if (word.go_idle()) return;
    }
    finish_all(word.close());
  }
  void send(unsigned sender, int number) {
    letter& l = letters[sender][number - 1];
    l.sender($) = static_cast<int>(sender);
    l.number($) = number;
    const std::uint64_t seen = word.look();
    const auto result = inbox_word::accepts(seen) ? word.push(&l, seen) : inbox_word::push_result::refused;
    if (result == inbox_word::push_result::owner) run(&l);
    if (result == inbox_word::push_result::refused) finish(l);
  }
  void trim() {
    signal* newest = word.begin_trim(1);
    if (newest == nullptr) return;
    finish_all(std::exchange(newest->next, nullptr));
    auto& kept = *static_cast<letter*>(newest);
    kept.number($) = kept.number($);  // as one that takes over the value of a newer one
    if (!word.end_trim(1, newest)) finish_all(newest);
  }
  void thread(unsigned index) {
    if (index == 0) return run(nullptr);
    send(index, 1);
    send(index, 2);
    if (index != 1) return;
    trim();
    send(index, 3);
  }
  void after() {
    for (int sender = 1; sender < 3; ++sender) {
      for (int n = 0; n < 3 - (sender - 1); ++n) RL_ASSERT(done[sender][n]($) == 1);
    }
    RL_ASSERT(Ends || (word.look() & 3u) == 1u);
  }
};

}  // namespace

int main() {
  constexpr const char* role = "the word's open and look, around it, order the role as well";
  return model::suite("The mailbox word", {"inbox.hpp", "inbox_model.cpp"})
      .holds<conversation>("each signal is handled once, in its sender's order, by one owner at a time", 60'000)
      .holds<succession<false>>("no signal reaches the tenant after the one it was meant for", 60'000)
      .holds<telling_all<number::compared>>("a shutdown tells no child to end, whose slot was a spawned cell's", 20'000)
      .holds<spawning_late<fences::both>>("a cell that is spawned during a shutdown is refused or told", 5'000)
      .holds<announcement>("who sees an incarnation accept sees its class and role", 5'000)
      .holds<noting>("who notes a slot and finds its cell alive is told of its end", 5'000)
      .holds<farewell>("who is refused may free what the cell touched last", 60'000)
      .holds<ending_in_place>("an idle cell is ended by its guardian or woken by a sender, never both", 60'000)
      .holds<trimming<taking::when_nobody_trims, false>>(
          "a sender shortens the list, and the owner sees what is left in order", 60'000)
      .holds<trimming<taking::when_nobody_trims, true>>("the cell ends while a sender shortens its list", 60'000)
      .fails<trimming<taking::at_any_time, false>>("an owner that takes what comes in while a sender trims", 60'000)
      .fails<succession<true>>("looking at the role before the word", 60'000)
      .fails<telling_all<number::as_it_is_read>>("telling whoever has the slot when its number is read", 20'000)
      .fails<spawning_late<fences::none>>("a spawn and a shutdown without their fences", 5'000)
      .unshown("inbox.hpp push cas acq_rel -> acquire",
               "who becomes owner publishes nothing before its go_idle or close")
      .unshown("inbox_model.cpp send_to_role load acquire -> relaxed", role)
      .unshown("inbox_model.cpp run store release -> relaxed", role)
      .check();
}
