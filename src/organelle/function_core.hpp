// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include <karyon/organelle/function.hpp>

#include "organelle/call_context.hpp"
#include "organelle/estimator.hpp"
#include "organelle/library.hpp"

namespace karyon::detail {

/// What an overrun is: a call that held its worker for longer (the 1 ms contract).
inline constexpr std::uint64_t inline_limit_ns = 1'000'000;
/// A turn of a function that is bound to the handler and has cursors.
inline constexpr std::uint64_t step_budget_ns = 500'000;
/// On another thread: how often a function with cursors comes by, to see whether anybody waits for it.
inline constexpr std::uint64_t away_budget_ns = 10'000'000;
/// Until it is measured.
inline constexpr std::uint32_t assumed_switch_ns = 5'000;

/// A call site: one function, and what its calls took.
class function_core {
public:
  function_core(library& home, const native_function& native) noexcept : home_(home), native_(native) { home_.keep(); }
  function_core(const function_core&) = delete;
  function_core& operator=(const function_core&) = delete;
  ~function_core() { home_.release(); }

  [[nodiscard]] const native_function& native() const noexcept { return native_; }
  [[nodiscard]] std::uint32_t run() const noexcept { return native_.entry->run; }
  [[nodiscard]] bool resumable() const noexcept { return (native_.entry->flags & KARYON_RESUMABLE) != 0; }

  /// By the function's own cost model; 1 us if it has none.
  [[nodiscard]] std::uint64_t declared_ns(std::span<const karyon_value> arguments) const noexcept;

  /// Calls once, with this budget. The results are added to `out`; a cursor is made, used, or dropped when all is done. Returns
  /// KARYON_OK, KARYON_MORE or an error, of which `error` then says more.
  struct one_call {
    std::span<const karyon_value> arguments;
    std::uint64_t budget_ns = 0;
    const std::int32_t* cancelled = nullptr;
    call_context* context = nullptr;
    std::uint64_t caller = 0;
  };
  [[nodiscard]] karyon_status invoke(const one_call& with, handle& cursor, organelle_results& out,
                                     karyon_error& error) const;

  /// Whether the arguments are those that the function takes; integers change their sign where they can.
  [[nodiscard]] tl::expected<void, organelle_error> check(std::span<karyon_value> arguments) const;

  call_estimator estimator;
  // Relaxed, all of them: figures and hints.
  std::atomic<std::uint32_t> switch_ns{assumed_switch_ns};
  std::atomic<std::uint64_t> away{0};
  std::atomic<std::uint64_t> moved{0};
  std::atomic<std::uint64_t> overruns{0};

private:
  [[nodiscard]] karyon_status take_results(const karyon_call& call, organelle_results& out, karyon_error& error) const;

  library& home_;
  const native_function& native_;
};

[[nodiscard]] organelle_error to_error(const karyon_error& error);

}  // namespace karyon::detail
