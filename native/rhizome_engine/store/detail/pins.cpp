// SPDX-License-Identifier: Apache-2.0
#include "store/detail/pins.hpp"

#include <algorithm>
#include <memory>
#include <new>

namespace rhizome::detail {

pins::~pins() {
  page* p = first_.next.load(std::memory_order_relaxed);
  while (p != nullptr) {
    std::unique_ptr<page> gone(p);
    p = p->next.load(std::memory_order_relaxed);
  }
}

pins::slot* pins::take(const std::atomic<commit_number>& visible, commit_number& at) noexcept {
  slot* mine = nullptr;
  page* last = &first_;
  std::uint32_t from = hint_.fetch_add(1, std::memory_order_relaxed);
  // Acquires pair with the release of `next` below (the page's slots) and with that of drop (the slot: its last owner is done).
  for (page* p = &first_; p != nullptr && mine == nullptr; last = p, p = p->next.load(std::memory_order_acquire)) {
    for (std::uint32_t i = 0; i < p->slots.size() && mine == nullptr; ++i) {
      slot& s = p->slots[(from + i) % p->slots.size()];
      if (!s.taken.load(std::memory_order_relaxed) && !s.taken.exchange(true, std::memory_order_acquire)) mine = &s;
    }
  }
  if (mine == nullptr) {
    std::unique_ptr<page> fresh(new (std::nothrow) page);
    if (!fresh) return nullptr;
    adopt(*fresh);
    mine = &fresh->slots[0];
    mine->taken.store(true, std::memory_order_relaxed);
    page* expected = nullptr;
    // Release: the page's slots; partner: the acquire loads of `next`. Sequentially consistent, as a slot's epoch is: a look of the writer
    // that misses the page comes before it, and so before the second read of the epoch.
    while (!last->next.compare_exchange_strong(expected, fresh.get(), std::memory_order_seq_cst,
                                               std::memory_order_acquire)) {
      last = expected;
      expected = nullptr;
    }
    static_cast<void>(fresh.release());
  }
  // The slot holds an older commit than the reader uses: a trim that sees it keeps too much, one that misses it ran before the second
  // read of `visible`, which then gives at least what it trimmed to.
  mine->commit.store(visible.load(std::memory_order_relaxed), std::memory_order_relaxed);
  std::uint64_t epoch = epoch_.load(std::memory_order_seq_cst);
  for (;;) {
    mine->epoch.store(epoch, std::memory_order_seq_cst);
    std::uint64_t again = epoch_.load(std::memory_order_seq_cst);
    if (again == epoch) break;
    epoch = again;
  }
  at = visible.load(std::memory_order_seq_cst);
  mine->refs.store(1, std::memory_order_relaxed);
  return mine;
}

void pins::drop(slot& pinned) noexcept {
  pinned.epoch.store(idle, std::memory_order_release);   // partner: the looks of oldest_epoch: what was read is read
  pinned.taken.store(false, std::memory_order_release);  // partner: the exchange in take
}

std::uint64_t pins::oldest_epoch() const noexcept {
  std::uint64_t oldest = epoch_.load(std::memory_order_relaxed);
  // `next` as well in the one order of take and advance: see take.
  for (const page* p = &first_; p != nullptr; p = p->next.load(std::memory_order_seq_cst))
    for (const slot& s : p->slots) oldest = std::min(oldest, s.epoch.load(std::memory_order_seq_cst));
  return oldest;
}

commit_number pins::oldest_commit() const noexcept {
  commit_number oldest = newest_commit;
  for (const page* p = &first_; p != nullptr; p = p->next.load(std::memory_order_seq_cst))
    for (const slot& s : p->slots)
      if (s.epoch.load(std::memory_order_seq_cst) != idle)
        oldest = std::min(oldest, s.commit.load(std::memory_order_relaxed));
  return oldest;
}

std::size_t pins::count() const noexcept {
  std::size_t n = 0;
  // Acquire pairs with the release of `next` in take: the page's slots.
  for (const page* p = &first_; p != nullptr; p = p->next.load(std::memory_order_acquire))
    for (const slot& s : p->slots) n += s.epoch.load(std::memory_order_relaxed) != idle ? 1 : 0;
  return n;
}

}  // namespace rhizome::detail
