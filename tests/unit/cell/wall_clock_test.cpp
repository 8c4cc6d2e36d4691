// SPDX-License-Identifier: Apache-2.0
// Timers while the wall clock jumps by years at every look. A binary of its own, since it replaces the functions by which
// this program and its libraries tell the wall clock or wait for it.
#include <dlfcn.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdarg>
#include <stdexcept>

#include "support/mute.hpp"
#include "unit/cell/cell_testing.hpp"

namespace {

std::atomic<std::uint64_t> looks{0};
std::atomic<std::uint64_t> waits_for_it{0};

/// Another year each time, forth and back.
std::int64_t wild_second() noexcept {
  const std::uint64_t n = looks.fetch_add(1, std::memory_order_relaxed);
  constexpr std::int64_t year = 365 * 86'400;
  return 1'800'000'000 + (n % 2 == 0 ? 1 : -1) * static_cast<std::int64_t>(n % 50 + 1) * year;
}

constexpr bool is_wall(clockid_t clock) noexcept {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

using system_call = long (*)(long, long, long, long, long, long, long);

system_call kernel() noexcept {
  static const auto real = reinterpret_cast<system_call>(dlsym(RTLD_NEXT, "syscall"));
  return real;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

long syscall(long number, ...) noexcept {
  std::va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& one : a) one = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) != 0) waits_for_it.fetch_add(1);
  return kernel()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  if (!is_wall(clock)) {
    return static_cast<int>(kernel()(SYS_clock_gettime, clock, reinterpret_cast<long>(out), 0, 0, 0, 0));
  }
  *out = {wild_second(), 0};
  return 0;
}

int gettimeofday(timeval* out, void*) noexcept {
  *out = {wild_second(), 0};
  return 0;
}

time_t time(time_t* out) noexcept {
  const time_t now = wild_second();
  if (out != nullptr) *out = now;
  return now;
}

}  // extern "C"
#pragma GCC visibility pop

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct due {
  std::int64_t delay_ms = 0;
};
struct beat {};

/// Writes what its timers do, and whether they come early.
class sundial : public cell {
public:
  using accepts = signals<due, beat>;
  sundial(diary& d, diary& b, diary& t) : diary_(&d), beats_(&b), timeouts_(&t) {}
  void on_start() {
    began_ = std::chrono::steady_clock::now();
    for (const int ms : {40, 10, 30, 20}) send_after(self(this), due{ms}, 1ms * ms);
    send_every(self(this), beat{}, 1ms);
    ask(spawn<mute>(), question{}, 50ms, [this](const result<int>& r) {
      const bool early = std::chrono::steady_clock::now() < began_ + 50ms;
      timeouts_->write(early ? "early" : to_string(r.error().code()));
    });
  }
  void on(due d) {
    const bool early = std::chrono::steady_clock::now() < began_ + 1ms * d.delay_ms;
    diary_->write((early ? "early " : "due ") + std::to_string(d.delay_ms));
  }
  void on(beat) {
    ++count_;
    const bool early = std::chrono::steady_clock::now() < began_ + 1ms * count_;
    beats_->write(early ? "early" : "beat");
  }

private:
  diary* diary_;
  diary* beats_;
  diary* timeouts_;
  std::chrono::steady_clock::time_point began_;
  int count_ = 0;
};

}  // namespace

TEST_CASE("a wall clock that jumps by years at every look changes nothing for timers") {
  // It does jump, for whatever asks it.
  const auto first = std::chrono::system_clock::now();
  const auto second = std::chrono::system_clock::now();
  REQUIRE((first > second ? first - second : second - first) > 24h * 300);

  diary d;
  diary beats;
  diary timeouts;
  runtime rt(quiet());
  rt.spawn<sundial>(d, beats, timeouts);
  REQUIRE(d.has(4));
  REQUIRE(beats.has(100));
  REQUIRE(timeouts.has(1));
  CHECK(d.lines() == lines{"due 10", "due 20", "due 30", "due 40"});
  CHECK(timeouts.lines() == lines{"timeout"});
  for (const auto& line : beats.lines()) REQUIRE(line == "beat");
  CHECK(waits_for_it.load() == 0);
}
