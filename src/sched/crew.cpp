#include "sched/crew.hpp"

#include <pthread.h>
#include <unistd.h>

#include "sched/pulse.hpp"
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

void crew::assign(member& m, worker& w) noexcept {
  m.assigned.store(&w, std::memory_order_seq_cst);
  m.bed.wake();
}

void crew::start(worker& w, bool watched) {
  const std::lock_guard lock(mutex_);
  watched_ = watched;
  member& m = add();
  ++made_for_workers_;
  m.serves = &w;
  pulse_.worker_wakes();
  assign(m, w);
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
  away_.fetch_sub(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  m.away = false;
  pulse_.worker_sleeps();
  spares_.push_back(&m);
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
  member& to = *spares_.back();
  spares_.pop_back();
  to.serves = std::exchange(from.serves, nullptr);
  from.away = true;
  away_.fetch_add(1, std::memory_order_relaxed);
  // The thread that is away keeps the clock running as one that works: how long it stays is to be seen.
  pulse_.worker_wakes();
  assign(to, *to.serves);
  return outcome::taken;
}

}  // namespace karyon::detail
