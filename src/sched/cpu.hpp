#pragma once

#include <cstddef>
#include <cstdint>

namespace karyon::detail {

/// A hint to the processor inside a short spin.
inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// Fetches a line that is about to be written, so that it comes once, as our own, not first shared and then owned.
inline void prefetch_for_write(const void* p) noexcept {
#if defined(__x86_64__)
  // Compilers emit it only for newer targets, though older processors take it as no operation.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(p)));
#else
  __builtin_prefetch(p, 1);
#endif
}

/// The same for an address that is only guessed: nothing happens where nothing lies.
inline void prefetch_for_write(std::uintptr_t at) noexcept { prefetch_for_write(reinterpret_cast<const void*>(at)); }

/// Fetches a line that only this thread has used lately, or that nobody has in a cache: it comes as our own in any case, and the thread
/// goes on at once. After prefetch_for_write a processor may wait for the address's page: among a million records 17 ns each.
inline void prefetch_of_own(const void* p) noexcept { __builtin_prefetch(p); }

/// Whether the addresses that it is shown follow each other at equal distances, as things do that are taken up in the order in
/// which they were made. Then those to come are known, before the list that has them is in a cache. One thread.
class sequence_guess {
public:
  [[nodiscard]] const void* last() const noexcept { return reinterpret_cast<const void*>(last_); }
  /// The distance to the next one, in bytes, if the last two were alike; else 0.
  [[nodiscard]] std::ptrdiff_t next(const void* at) noexcept {
    const auto now = reinterpret_cast<std::intptr_t>(at);
    const std::ptrdiff_t step = now - last_;
    const bool again = step == step_;
    last_ = now;
    step_ = step;
    return again ? step : 0;
  }

private:
  std::intptr_t last_ = 0;
  std::ptrdiff_t step_ = 0;
};

}  // namespace karyon::detail
