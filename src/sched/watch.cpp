#include "sched/watch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "sched/thread_usage.hpp"
#include "sched/worker.hpp"

namespace karyon::detail {

namespace {
enum stage : std::uint8_t { within, over, long_over };

/// What the thread has used of a processor so far; 0 where nobody knows.
std::uint64_t processor_ns(const crew::member& m) noexcept {
  timespec used{};
  if (clock_gettime(m.processor_time, &used) != 0) return 0;
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(used.tv_nsec);
}

/// Whether the thread is ready to run, or runs: not asleep in the system. False where the system does not tell.
bool is_runnable(int tid) noexcept {
  char text[512];
  std::snprintf(text, sizeof text, "/proc/self/task/%d/stat", tid);
  const int file = ::open(text, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t n = ::read(file, text, sizeof text - 1);
  ::close(file);
  text[n > 0 ? n : 0] = '\0';
  const char* const name_end = std::strrchr(text, ')');  // "1234 (name) R ..."
  return name_end != nullptr && name_end[1] == ' ' && name_end[2] == 'R';
}

/// Whether a handler that has not returned did not get on for want of a processor: in the time since its thread's clock was
/// noted it was not asleep, and has had less than a quarter of that time.
bool was_kept_waiting(const crew::member& m, std::uint64_t now_ns) noexcept {
  if (m.processor_noted_ns == 0 || now_ns <= m.processor_noted_ns) return false;
  const std::uint64_t used_ns = processor_ns(m) - m.processor_ns;
  return used_ns < (now_ns - m.processor_noted_ns) / 4 && is_runnable(m.tid);
}
}  // namespace

watch::watch(crew& threads, const watch_options& options, hooks told)
    : threads_(threads),
      take_over_(options.take_over),
      limit_ns_(static_cast<std::uint64_t>(options.limit.count()) * 1000),
      hooks_(std::move(told)) {}

overrun watch::describe(const crew::member& m, std::uint64_t now_ns) noexcept {
  return {m.seen_what, m.seen_whom, m.seen_worker, now_ns - m.first_seen_ns, m.tid, false};
}

void watch::note_processor_time(crew::member& m, std::uint64_t now_ns) const noexcept {
  // A system call: only for what lasts from one look to the next. With a limit as short as that, from the first one.
  const bool lasts = m.first_seen_ns != now_ns;
  if (m.processor_noted_ns != 0 || (!lasts && limit_ns_ > pulse::tick_ns)) return;
  m.processor_ns = processor_ns(m);
  m.processor_noted_ns = now_ns;
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
      if (hooks_.begins) {
        overrun o = describe(m, now_ns);
        o.kept_waiting = was_kept_waiting(m, now_ns);
        hooks_.begins(o);
      }
      overruns_.fetch_add(1, std::memory_order_release);  // with overruns(): whoever sees it counted finds it told of
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
  const std::uint64_t used = thread_usage::cpu_ns(m.thread.native_handle());
  if (m.used_cpu_ns != 0) {
    const std::uint64_t passed = now_ns - m.last_seen_ns;
    const std::uint64_t ran = used - m.used_cpu_ns;
    // One that sleeps or waits for a lock has not used its core either, but it is what keeps the worker.
    if (ran < passed / 2 && thread_usage::is_runnable(m.tid)) m.first_seen_ns += passed - ran;
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
    m.stage = within;
    m.processor_noted_ns = 0;
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
    note_processor_time(m, now_ns);
    next_ns = std::min(next_ns, limit_ns_ - running_ns);
  } else if (take_over_ && m.serves != nullptr) {
    wanted_.push_back(&m);
  }
}

}  // namespace karyon::detail
