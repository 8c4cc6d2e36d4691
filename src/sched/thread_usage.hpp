#pragma once

#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// What a thread has had of the machine's cores, as another thread sees it: so that time in which it only waited for a core,
/// because the machine has more to do than cores, is not held against the code that it runs.
struct KARYON_API thread_usage {
  /// Time on a core since its start; 0 where the system does not say, as of a thread that has ended. A system call.
  [[nodiscard]] static std::uint64_t cpu_ns(int tid) noexcept;
  /// Whether it runs or waits for a core, as opposed to a lock, a device or a clock; false where the system does not say.
  /// Some 10 us. `tid` is the system's number of a thread of this process.
  [[nodiscard]] static bool is_runnable(int tid) noexcept;
};

}  // namespace karyon::detail
