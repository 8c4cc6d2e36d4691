#include "sched/watch.hpp"

#include <algorithm>
#include <utility>

#include "sched/thread_usage.hpp"
#include "sched/worker.hpp"

namespace karyon::detail {

namespace {
enum stage : std::uint8_t { within, over, long_over };
}  // namespace

watch::watch(crew& threads, const watch_options& options, hooks told)
    : threads_(threads),
      take_over_(options.take_over),
      limit_ns_(static_cast<std::uint64_t>(options.limit.count()) * 1000),
      hooks_(std::move(told)) {}

overrun watch::describe(const crew::member& m, std::uint64_t now_ns) noexcept {
  return {m.seen_what, m.seen_whom, m.seen_worker, now_ns - m.first_seen_ns, m.tid, m.own_ns};
}

std::uint64_t watch::look(std::uint64_t now_ns) {
  std::uint64_t next_ns = ~std::uint64_t{0};
  wanted_.clear();
  threads_.for_each([&](crew::member& m) { look_at(m, now_ns, next_ns); });
  // First the workers, which others wait for; then the words.
  for (crew::member* m : wanted_) {
    switch (threads_.take_over(*m, m->seen_number)) {
      case crew::outcome::taken: take_overs_.fetch_add(1, std::memory_order_relaxed); break;
      case crew::outcome::busy: break;  // at the next look
      case crew::outcome::no_spare:
        if (!std::exchange(told_no_spare_, true) && hooks_.no_spare) hooks_.no_spare();
        break;
    }
  }
  threads_.for_each([&](crew::member& m) {
    const std::uint64_t running_ns = now_ns - m.first_seen_ns;
    if (m.seen_number == 0) return;
    if (m.stage == within && running_ns >= limit_ns_ && m.seen_what != nullptr) {
      m.stage = over;
      if (hooks_.begins) hooks_.begins(describe(m, now_ns));
      overruns_.fetch_add(1, std::memory_order_release);  // partner: overruns(), which sees it told of
    } else if (m.stage == over && running_ns >= std::max(named_after_ns, limit_ns_)) {
      m.stage = long_over;
      if (hooks_.goes_on) hooks_.goes_on(describe(m, now_ns));
    }
  });
  return next_ns;
}

void watch::leave_out_waiting(crew::member& m, std::uint64_t now_ns) noexcept {
  // From the second look at a turn on: most turns are over by then, and cost no question.
  if (m.first_seen_ns == now_ns) return;
  const std::uint64_t used = thread_usage::cpu_ns(m.tid);
  if (used < m.used_cpu_ns) return;  // the system does not say
  if (m.used_cpu_ns != 0) {
    const std::uint64_t passed = now_ns - m.last_seen_ns;
    const std::uint64_t ran = used - m.used_cpu_ns;
    // One that sleeps or waits for a lock has not used its core either, but it is what keeps the worker.
    const bool waited = ran < passed / 2 && thread_usage::is_runnable(m.tid);
    if (waited) m.first_seen_ns += passed - ran;
    m.own_ns += waited || ran > passed / 2 ? ran : passed;
  }
  m.used_cpu_ns = used;
}

void watch::look_at(crew::member& m, std::uint64_t now_ns, std::uint64_t& next_ns) {
  const seat::look seen = m.place.seen();
  if (seen.number == 0 || seen.number != m.seen_number) {
    if (m.seen_number != 0 && m.stage != within && hooks_.ended) hooks_.ended(describe(m, m.last_seen_ns));
    m.seen_number = seen.number;
    m.first_seen_ns = now_ns;
    m.used_cpu_ns = 0;
    m.own_ns = 0;
    m.stage = within;
    m.seen_whom = seen.whom;
    if (m.serves != nullptr) m.seen_worker = m.serves->index();
  }
  if (m.seen_number != 0 && m.stage == within) leave_out_waiting(m, now_ns);
  m.last_seen_ns = now_ns;
  // At the first look at a turn it may still be what ran in the turn before.
  if (m.stage == within) m.seen_what = seen.what;
  if (m.seen_number == 0) return;
  const std::uint64_t running_ns = now_ns - m.first_seen_ns;
  if (running_ns < limit_ns_) {
    next_ns = std::min(next_ns, limit_ns_ - running_ns);
  } else if (take_over_ && m.serves != nullptr) {
    wanted_.push_back(&m);
  }
}

}  // namespace karyon::detail
