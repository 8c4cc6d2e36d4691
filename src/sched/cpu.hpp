#pragma once

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

}  // namespace karyon::detail
