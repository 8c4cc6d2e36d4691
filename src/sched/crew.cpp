#include "sched/crew.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "sched/pulse.hpp"
#include "sched/thread_slice.hpp"
#include "sched/worker.hpp"

namespace karyon::detail {

crew::member& crew::add() {
  members_.reserve(members_.size() + 1);
  spares_.reserve(members_.size() + 1);
  auto fresh = std::make_unique<member>();
  member& m = *fresh;
  m.thread = std::thread([this, &m] { serve(m); });
  members_.push_back(std::move(fresh));
  return m;
}

crew::member& crew::take_spare(unsigned node) noexcept {
  // The last to come back has the warmest caches. But a thread's stack and heap lie where it has run: one that was on this
  // node is better, and one that has run nothing yet has neither.
  const auto rank = [node](const member* m) { return m->node == node ? 2 : m->node == no_node ? 1 : 0; };
  const auto best = std::max_element(spares_.rbegin(), spares_.rend(),
                                     [&](const member* a, const member* b) { return rank(a) < rank(b); });
  member& chosen = **best;
  spares_.erase(std::next(best).base());
  return chosen;
}

void crew::give(member& m, worker& w) noexcept {
  m.serves = &w;
  m.node = w.node();
  m.assigned.store(&w, std::memory_order_seq_cst);
  m.bed.wake();
}

void crew::start(worker& w, bool watched) {
  const std::lock_guard lock(mutex_);
  watched_ = watched;
  member& m = add();
  ++made_for_workers_;
  pulse_.worker_wakes();
  give(m, w);
}

void crew::stop() noexcept {
  {
    // From here on nobody takes over, so no thread comes to the list.
    const std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_seq_cst);
  }
  for (const auto& m : members_) m->bed.wake();
  for (const auto& m : members_) {
    if (m->thread.joinable()) m->thread.join();
  }
}

void crew::serve(member& m) noexcept {
  m.tid = gettid();
  thread_slice::make_short();
  while (true) {
    worker* const w = m.assigned.exchange(nullptr, std::memory_order_seq_cst);
    if (w != nullptr) {
      m.place.take_place();
      if (w->serve(watched_ ? &m.place : nullptr)) return;
      come_back(m);
      continue;
    }
    if (stopping_.load(std::memory_order_seq_cst)) return;
    m.bed.prepare();
    if (m.assigned.load(std::memory_order_seq_cst) != nullptr || stopping_.load(std::memory_order_seq_cst)) {
      m.bed.cancel();
    } else {
      m.bed.sleep(0);
    }
  }
}

void crew::come_back(member& m) noexcept {
  pthread_setname_np(pthread_self(), "karyon.spare");
  thread_slice::make_short();
  const std::lock_guard lock(mutex_);
  m.away = false;
  pulse_.worker_sleeps();
  spares_.push_back(&m);
  away_.fetch_sub(1, std::memory_order_relaxed);  // last: whoever sees it finds a spare
}

crew::outcome crew::take_over(member& from, std::uint64_t number) noexcept {
  const std::lock_guard lock(mutex_);
  if (stopping_.load(std::memory_order_relaxed) || from.serves == nullptr) return outcome::busy;
  if (spares_.empty()) {
    if (members_.size() >= made_for_workers_ + spares_max_) return outcome::no_spare;
    try {
      spares_.push_back(&add());
    } catch (...) {  // no thread, or no memory for one
      return outcome::no_spare;
    }
  }
  if (!from.place.take(number)) return outcome::busy;
  worker& w = *std::exchange(from.serves, nullptr);
  member& to = take_spare(w.node());
  from.away = true;
  away_.fetch_add(1, std::memory_order_relaxed);
  // The thread that is away keeps the clock running as one that works: how long it stays is to be seen.
  pulse_.worker_wakes();
  give(to, w);
  return outcome::taken;
}

}  // namespace karyon::detail
