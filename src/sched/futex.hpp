#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace karyon::detail {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "the kernel reads the word itself");

inline constexpr std::uint64_t futex_no_deadline = ~std::uint64_t{0};

/// Sleeps while `word` has the value `expected`, at the longest until the monotonic time `deadline_ns`. May return at any
/// time for no reason: the caller looks at the word again. Orders nothing.
inline void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::uint64_t deadline_ns) noexcept {
  constexpr std::uint64_t second_ns = 1'000'000'000u;
  const timespec until{static_cast<time_t>(deadline_ns / second_ns), static_cast<long>(deadline_ns % second_ns)};
  // FUTEX_WAIT_BITSET takes an absolute monotonic deadline, so an interrupted wait does not start over.
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET_PRIVATE, expected,
          deadline_ns != futex_no_deadline ? &until : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
}

/// Wakes one sleeper on `word`, if there is one.
inline void futex_wake(std::atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

/// Wakes all that sleep on `word`. The word is not read, and may be gone.
inline void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
}

}  // namespace karyon::detail
