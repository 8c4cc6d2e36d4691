#include "sched/pulse.hpp"

#include <pthread.h>
#include <time.h>

namespace karyon::detail {

void pulse::start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "karyon.pulse");
    loop();
  });
}

void pulse::stop() noexcept {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_seq_cst);
  parker_.wake();
  thread_.join();
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
    timespec ts{0, static_cast<long>(tick_ns)};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, nullptr);
    ticks_.fetch_add(1, std::memory_order_relaxed);
    if (busy_.load(std::memory_order_relaxed) != 0) idle = 0;
  }
}

}  // namespace karyon::detail
