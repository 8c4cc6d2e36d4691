// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include <karyon/matrix/detail/epoch.hpp>
#include <karyon/matrix/detail/version_lock.hpp>

// The two protocols under the tables: readers that look at a node's version before and behind, and memory that is freed once
// nobody can see it. The locks and the epochs are the real ones; slots are read and written as the tree does it:
//
// mirrors include/karyon/matrix/detail/slots.hpp
//| for (std::size_t w = 0; w < words; ++w) i[w] = at[w].load(std::memory_order_acquire);
//
// mirrors include/karyon/matrix/detail/slots.hpp
//| for (std::size_t w = 0; w < words; ++w) at[w].store(i[w], std::memory_order_release);
//
// and the fences of the epochs as the system gives them: a light one on one side and a heavy one on the other order as two
// sequentially consistent ones.

namespace {

using karyon::detail::version_lock;

/// A node with two slots that always hold the same.
struct node {
  version_lock lock;
  std::atomic<std::uint64_t> a{0};
  std::atomic<std::uint64_t> b{0};
  rl::var<int> inside{0};  // written by whoever has the lock

  bool write() {
    const std::uint64_t v = lock.look();
    if (version_lock::is_locked(v) || version_lock::is_obsolete(v) || !lock.try_lock(v)) return false;
    change();
    lock.unlock();
    return true;
  }
  void change() {
    inside($) = inside($) + 1;
    const std::uint64_t n = a.load(std::memory_order_relaxed) + 1;
    a.store(n, std::memory_order_release);
    b.store(n, std::memory_order_release);
  }
  /// What was seen, or nothing if it may be of two moments.
  std::optional<std::uint64_t> read() {
    const std::uint64_t v = lock.look();
    if (version_lock::is_locked(v) || version_lock::is_obsolete(v)) return {};
    const std::uint64_t first = a.load(std::memory_order_acquire);
    const std::uint64_t second = b.load(std::memory_order_acquire);
    if (!lock.unchanged(v)) return {};
    RL_ASSERT(first == second);
    return first;
  }
};

struct reading : rl::test_suite<reading, 3> {
  node n;
  void thread(unsigned index) {
    if (index < 2) {
      n.write();
    } else {
      n.read();
      n.read();
    }
  }
};

/// A reader that does not look again.
struct hasty_reading : rl::test_suite<hasty_reading, 2> {
  node n;
  void thread(unsigned index) {
    if (index == 0) {
      n.write();
    } else {
      const std::uint64_t first = n.a.load(std::memory_order_acquire);
      const std::uint64_t second = n.b.load(std::memory_order_acquire);
      RL_ASSERT(first == second);
    }
  }
};

/// Who locks sees what all before did, those that changed nothing in between included.
struct handing_on : rl::test_suite<handing_on, 3> {
  node n;
  void thread(unsigned index) {
    for (int attempt = 0; attempt < 3; ++attempt) {
      const std::uint64_t v = n.lock.look();
      if (version_lock::is_locked(v) || !n.lock.try_lock(v)) continue;
      if (index == 0) {
        static_cast<void>(static_cast<int>(n.inside($)));
        n.lock.unlock_unchanged();
      } else {
        n.change();
        n.lock.unlock();
      }
      return;
    }
  }
};

/// What is held is not changed, and may be read.
struct holding : rl::test_suite<holding, 3> {
  node n;
  void thread(unsigned index) {
    if (index < 2) {
      for (int attempt = 0; attempt < 2; ++attempt) n.write();
      return;
    }
    for (int attempt = 0; attempt < 3; ++attempt) {
      const std::uint64_t v = n.lock.look();
      if (version_lock::is_locked(v) || !n.lock.try_hold(v)) continue;
      const int first = n.inside($);
      RL_ASSERT(n.read().has_value());
      RL_ASSERT(first == n.inside($));
      n.lock.release_hold();
      return;
    }
  }
};

/// Who changes one node and then looks at another, while somebody does the reverse: not both find nothing changed.
struct crossing : rl::test_suite<crossing, 2> {
  std::array<node, 2> nodes;
  rl::var<int> saw[2] = {0, 0};

  void thread(unsigned index) {
    nodes[index].write();
    saw[index]($) = nodes[1 - index].lock.look() != 0 ? 1 : 0;
  }
  void after() { RL_ASSERT(saw[0]($) + saw[1]($) != 0); }
};

/// Nobody locks what is no longer part of the tree, and who reads it finds out.
struct leaving : rl::test_suite<leaving, 2> {
  node n;
  rl::var<int> moved{0};
  void thread(unsigned index) {
    if (index == 0) {
      if (!n.lock.try_lock(0)) return;
      moved($) = 1;
      n.lock.unlock_obsolete();
    } else {
      const std::uint64_t v = n.lock.look();
      if (version_lock::is_obsolete(v)) {
        RL_ASSERT(moved($) == 1);
        RL_ASSERT(!n.write());
      }
    }
  }
};

// -- epochs --

/// As the system has them: only a light and a heavy one order each other. Thread 1 is the one that reads; were the light ones of
/// the others real as well, they would stand in for the heavy one.
struct both_fences {
  static void light() {
    if (rl::thread_index() == 1) std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  static void heavy() { std::atomic_thread_fence(std::memory_order_seq_cst); }
};
struct no_light_fence : both_fences {
  static void light() {}
};
struct no_heavy_fence : both_fences {
  static void heavy() {}
};

/// A reader looks at what a writer unlinks, retires, and frees some epochs later. Freed memory is written to: Relacy tells of a
/// reader that is still there.
template <class Fences, std::uint64_t Epochs>
struct reclaiming : rl::test_suite<reclaiming<Fences, Epochs>, 2> {
  using member = karyon::detail::basic_epoch_member<Fences>;
  std::atomic<std::uint64_t> epoch{1};
  std::array<member, 2> members;
  std::atomic<int> linked{1};
  rl::var<int> content{7};

  std::uint64_t advance() {
    return karyon::detail::try_advance_epoch<Fences>(epoch, [&](const auto& look) {
      for (const member& m : members) look(m);
    });
  }
  void thread(unsigned index) {
    member& me = members[index];
    if (index == 1) {
      for (int visit = 0; visit < 2; ++visit) {
        me.pin(epoch);
        if (linked.load(std::memory_order_acquire) != 0) RL_ASSERT(content($) == 7);
        me.unpin();
      }
      return;
    }
    me.pin(epoch);
    linked.store(0, std::memory_order_release);
    const std::uint64_t retired_in = member::retire_epoch(epoch);
    me.unpin();
    std::uint64_t now = 0;
    for (int attempt = 0; attempt < 3; ++attempt) now = advance();
    if (now >= retired_in + Epochs) content($) = 0;
  }
};

/// The one who frees and advances is not the one who retired, and has advanced once while that was being done: a reader may have
/// pinned that epoch, and come by before the unlinking, which is marked with the epoch before.
template <std::uint64_t Epochs>
struct freed_by_another : rl::test_suite<freed_by_another<Epochs>, 3> {
  using member = karyon::detail::basic_epoch_member<both_fences>;
  std::atomic<std::uint64_t> epoch{1};
  std::array<member, 3> members;
  std::atomic<int> linked{1};
  rl::var<int> content{7};
  std::atomic<std::uint64_t> retired_in{0};

  std::uint64_t advance() {
    return karyon::detail::try_advance_epoch<both_fences>(epoch, [&](const auto& look) {
      for (const member& m : members) look(m);
    });
  }
  void thread(unsigned index) {
    member& me = members[index];
    if (index == 0) {
      me.pin(epoch);
      linked.store(0, std::memory_order_release);
      retired_in.store(member::retire_epoch(epoch), std::memory_order_release);
      me.unpin();
    } else if (index == 1) {
      me.pin(epoch);
      if (linked.load(std::memory_order_acquire) != 0) RL_ASSERT(content($) == 7);
      me.unpin();
    } else {
      advance();
      const std::uint64_t e = retired_in.load(std::memory_order_acquire);
      if (e == 0) return;
      std::uint64_t now = 0;
      for (std::uint64_t attempt = 0; attempt < Epochs; ++attempt) now = advance();
      if (now >= e + Epochs) content($) = 0;
    }
  }
};

}  // namespace

int main() {
  // The orders of the epochs are not weakened one by one: whoever advances looks at all members itself, so that those between
  // threads that free for each other do not show here. Their fences are planted mistakes.
  return model::suite("Tables: versions and epochs", {"version_lock.hpp"})
      .holds<reading>("what was read under one version is of one moment", 40'000)
      .holds<handing_on>("who locks sees what those before did", 60'000)
      .holds<holding>("what is held stays as it is, and can be read", 20'000)
      .holds<crossing>("of two who change a node each, one at least sees the other's", 10'000)
      .holds<leaving>("who meets an obsolete node sees that it was left", 5'000)
      .holds<reclaiming<both_fences, 3>>("nothing is freed that a reader sees", 40'000)
      .holds<freed_by_another<3>>("nor by a third thread", 40'000)
      .fails<hasty_reading>("a reader that does not look at the version", 20'000)
      .fails<reclaiming<no_light_fence, 2>>("without the fence of the one who pins", 60'000)
      .fails<reclaiming<no_heavy_fence, 2>>("without the fence of the one who frees", 60'000)
      .fails<freed_by_another<2>>("what is freed two epochs behind the one it is marked with", 200'000)
      .fails<reclaiming<both_fences, 0>>("what is freed in the epoch of its retirement", 20'000)
      .unshown("version_lock.hpp try_hold cas acquire -> relaxed",
               "the look before it has acquired the same version, and who holds writes nothing")
      .check();
}
