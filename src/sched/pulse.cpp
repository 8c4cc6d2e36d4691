#include "sched/pulse.hpp"

#include <pthread.h>
#include <time.h>

#include "sched/thread_slice.hpp"

namespace karyon::detail {

void pulse::start(look_function look, void* context) {
  look_ = look;
  context_ = context;
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "karyon.pulse");
    thread_slice::make_short();
    loop();
  });
}

void pulse::stop() noexcept {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_seq_cst);
  parker_.wake();
  thread_.join();
}

namespace {

void sleep_for(std::uint64_t ns) noexcept {
  const timespec ts{0, static_cast<long>(ns)};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, nullptr);
}

}  // namespace

void pulse::pass_tick() noexcept {
  if (look_ == nullptr) return sleep_for(tick_ns);
  const std::uint64_t now_ns = monotonic_ns();
  const std::uint64_t wanted_ns = look_(context_, now_ns);
  if (wanted_ns >= tick_ns) return sleep_for(tick_ns);
  // Some handler's time is up before the tick is.
  sleep_for(wanted_ns);
  static_cast<void>(look_(context_, monotonic_ns()));
  sleep_for(tick_ns - wanted_ns);
}

void pulse::loop() noexcept {
  // Ticking on for a while after the last worker sleeps spares a futex call to workers that sleep and wake often.
  constexpr unsigned linger_ticks = 20;
  unsigned idle = 0;
  while (!stop_.load(std::memory_order_seq_cst)) {
    if (busy_.load(std::memory_order_relaxed) == 0 && ++idle > linger_ticks) {
      parker_.prepare();
      if (busy_.load(std::memory_order_seq_cst) != 0 || stop_.load(std::memory_order_seq_cst)) {
        parker_.cancel();
      } else {
        parker_.sleep(0);
      }
      idle = 0;
      continue;
    }
    pass_tick();
    ticks_.fetch_add(1, std::memory_order_relaxed);
    if (busy_.load(std::memory_order_relaxed) != 0) idle = 0;
  }
}

}  // namespace karyon::detail
