#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include <karyon/core/export.hpp>
#include <karyon/sched/options.hpp>

#include "sched/crew.hpp"

namespace karyon::detail {

/// User code that has not returned for longer than it should.
struct overrun {
  const void* what = nullptr;  // as the scheduler's user has told the seat
  const void* whom = nullptr;
  unsigned worker = 0;
  std::uint64_t running_ns = 0;  // since it was first seen, so at least so long; without what it waited for a core
  int tid = 0;                   // of the thread that runs it
  std::uint64_t own_ns = 0;      // how much of that time it was seen to compute or to be blocked; no more than is known
};

/// Looks at each tick of the pulse what the workers' threads are at: finds handlers that do not return, has their workers
/// taken over, and tells of them. On the pulse's thread; what it calls must be quick.
///
/// A handler is an overrun once it has been seen for `limit`; as looks are half a millisecond apart (and one is put in
/// when a limit is about to pass), one is found at the latest half a millisecond after the limit, and one that returns
/// within that half is not. Time in which its thread was seen to wait for a core does not count: on a machine with more to
/// do than cores nothing is gained by a second thread, and the handler is not to blame.
class KARYON_API watch {
public:
  struct hooks {
    std::function<void(const overrun&)> begins;   // limit has passed
    std::function<void(const overrun&)> goes_on;  // still there after `named_after`
    std::function<void(const overrun&)> ended;    // a handler that `begins` told of has returned
    std::function<void()> no_spare;               // once: take-over is wanted, and no thread is left for it
  };

  watch(crew& threads, const watch_options& options, hooks told);

  /// Looks at all threads; returns after how many nanoseconds it wants to look again at the latest.
  [[nodiscard]] std::uint64_t look(std::uint64_t now_ns);

  /// Acquire pairs with look's release: whoever sees one counted finds it told of.
  [[nodiscard]] std::uint64_t overruns() const noexcept { return overruns_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t take_overs() const noexcept { return take_overs_.load(std::memory_order_relaxed); }

  /// A handler that never returns is told of a second time after so long.
  static constexpr std::uint64_t named_after_ns = 8'000'000;

private:
  void look_at(crew::member& m, std::uint64_t now_ns, std::uint64_t& next_ns);
  static void leave_out_waiting(crew::member& m, std::uint64_t now_ns) noexcept;
  [[nodiscard]] static overrun describe(const crew::member& m, std::uint64_t now_ns) noexcept;

  crew& threads_;
  const bool take_over_;
  const std::uint64_t limit_ns_;
  hooks hooks_;
  std::vector<crew::member*> wanted_;  // whose workers are to be taken over, in one look
  bool told_no_spare_ = false;
  std::atomic<std::uint64_t> overruns_{0};
  std::atomic<std::uint64_t> take_overs_{0};
};

}  // namespace karyon::detail
