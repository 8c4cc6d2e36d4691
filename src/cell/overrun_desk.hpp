#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include <karyon/cell/detail/signal.hpp>
#include <karyon/cell/handler_report.hpp>

#include "core/rate_limit.hpp"
#include "sched/watch.hpp"

namespace karyon::detail {

/// What one runtime knows of one handler type. Any thread; the counts order nothing.
struct handler_record {
  std::atomic<handler_site*> site{nullptr};
  std::array<std::atomic<std::uint64_t>, handler_report::bounds_ns.size() + 1> sampled{};
  std::atomic<std::uint64_t> overruns{0};
  std::atomic<std::uint64_t> longest_ns{0};
  std::atomic<bool> reported{false};
  std::atomic<bool> stays{false};  // it was moved back: not to be moved again
  // The pulse's thread only: overruns that count for a move, since when.
  std::uint32_t repeats = 0;
  std::uint64_t repeats_since_ns = 0;

  void sample(std::uint64_t ns) noexcept;
};

/// What `seat::now` is told for user code that is no signal's handler.
extern const signal_ops start_hook_ops;
extern const signal_ops exit_hook_ops;
extern const signal_ops constructor_ops;
extern const signal_ops overflow_ops;

/// A runtime's book of handlers: how long they take, and which do not return. What the watch finds is told on the pulse's
/// thread; everything else may be called by any thread.
class KARYON_API overrun_desk {
public:
  /// Has a handler type's handlers run on the dirty CPU pool from now on; false if they do so already, or can not.
  using mover = std::function<bool(handler_site&)>;
  overrun_desk(const watch_options& options, mover move);
  overrun_desk(const overrun_desk&) = delete;
  overrun_desk& operator=(const overrun_desk&) = delete;
  ~overrun_desk();

  /// The record of a handler type; null where there is no memory for it, or there are more than 16,384 types.
  [[nodiscard]] handler_record* record_of(handler_site& site) noexcept;

  void begins(const overrun& o) noexcept;
  void goes_on(const overrun& o) noexcept;
  void ended(const overrun& o) noexcept;

  /// The user has moved it back.
  void keep_on_workers(handler_site& site) noexcept;
  [[nodiscard]] std::uint64_t moved() const noexcept { return moved_.load(std::memory_order_relaxed); }

  /// Where a type's handlers run is asked of `place_of_handlers`.
  [[nodiscard]] std::vector<handler_report> reports(
      const std::function<execution(const handler_site&)>& place_of_handlers) const;
  [[nodiscard]] std::vector<running_handler> running(std::uint64_t now_ns) const;

private:
  static constexpr std::size_t chunk_size = 64;
  static constexpr std::size_t chunks_max = 256;
  using chunk = std::array<handler_record, chunk_size>;
  struct entry {
    overrun what;
    std::uint64_t since_ns = 0;
    std::uint32_t incarnation = 0;
  };

  [[nodiscard]] std::string describe(const overrun& o) const;
  void tell(const overrun& o, handler_record* r) noexcept;
  void count_repeat(handler_record& r, handler_site& site) noexcept;

  const bool stacks_;
  const std::uint64_t limit_ns_;
  const std::uint32_t move_after_;  // 0: never
  const std::uint64_t move_within_ns_;
  const mover move_;
  std::atomic<std::uint64_t> moved_{0};
  std::array<std::atomic<chunk*>, chunks_max> chunks_{};
  report_budget budget_;
  mutable std::mutex mutex_;
  std::vector<entry> running_;  // mutex_
};

}  // namespace karyon::detail
