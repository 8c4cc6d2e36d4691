// SPDX-License-Identifier: Apache-2.0
//
// Where calls run: in the handler, in turns of the cell, or on another thread.
#include <karyon/cell/detail/offload.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "cell/runtime_core.hpp"
#include "cell/slot.hpp"
#include "organelle/function_core.hpp"
#include "sched/dirty_pool.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint64_t switch_least_ns = 1'000;

/// A call longer than this is cheaper elsewhere.
std::uint64_t threshold_ns(const function_core& f) noexcept {
  return std::clamp<std::uint64_t>(f.switch_ns.load(std::memory_order_relaxed), switch_least_ns, inline_limit_ns);
}

bool is_simulated(cell_slot* self) noexcept { return core_of(self).workers().simulated(); }

/// Calls that are expected to be far below the threshold are measured now and then only: reading the clock twice would cost
/// as much as they do.
bool is_measured(std::uint64_t expected_ns, std::uint64_t limit_ns) noexcept {
  constexpr std::uint32_t one_in = 16;
  static thread_local std::uint32_t calls = 0;  // of the host's own code: nothing depends on which thread counts
  return expected_ns > limit_ns / 8 || calls++ % one_in == 0;
}

void set_error(organelle_result& result, const karyon_error& error) {
  result = tl::unexpected<organelle_error>(to_error(error));
}

/// A call that has left the handler it began in: what the cell's request and the other thread share.
class away_call {
public:
  away_call(std::shared_ptr<function_core> function, cell_slot* self, call_in_progress& call)
      : function_(std::move(function)), caller_(caller_number(self)), watch_(caller_) {
    arguments_.reserve(call.arguments.size());
    kept_.reserve(call.arguments.size());
    for (const karyon_value& value : call.arguments) keep(value);
    declared_ns_ = call.declared_ns;
    took_ns_ = call.took_ns;
    result = std::move(call.result);
    cursor_ = std::move(call.cursor);
  }
  away_call(const away_call&) = delete;
  away_call& operator=(const away_call&) = delete;
  ~away_call() = default;

  organelle_result result;

  /// On a thread of a pool.
  void run(bool is_timed) {
    const std::uint64_t begin = is_timed ? monotonic_ns() : 0;
    call_context context(watch_);
    while (step(function_->resumable() ? away_budget_ns : 0, context) == KARYON_MORE) {
      if (__atomic_load_n(&cancelled_, __ATOMIC_RELAXED) != 0) return;
    }
    if (is_timed) function_->estimator.observe(declared_ns_, took_ns_ + (monotonic_ns() - begin));
  }

  karyon_status step(std::uint64_t budget_ns, call_context& context) {
    karyon_error error;
    const function_core::one_call with{arguments_, budget_ns, &cancelled_, &context, caller_};
    const karyon_status status = function_->invoke(with, cursor_, *result, error);
    if (status < 0) set_error(result, error);
    return status;
  }

  /// The cell has ended. Any thread.
  void abandon() noexcept {
    __atomic_store_n(&cancelled_, 1, __ATOMIC_RELAXED);
    watch_.fire();
  }
  /// The cell has the result: what was monitored meanwhile, it monitors from now on. In its turn.
  void hand_over_monitors(cell_slot* self) {
    if (!watch_.empty()) adopt_monitors(self, watch_);
  }

  [[nodiscard]] function_core& function() const noexcept { return *function_; }

private:
  void keep(const karyon_value& value) {
    karyon_value mine = value;
    void* owner = nullptr;
    if (value.kind == KARYON_RESOURCE) owner = value.as.resource;
    if (value.kind == KARYON_COLUMNS) owner = value.as.columns.owner;
    if (value.kind == KARYON_VIEW) {
      owner = value.as.view.owner;
      if (owner == nullptr && value.as.view.length > 0) {
        const auto* const from = static_cast<const std::byte*>(value.as.view.data);
        const view copy = view::of(std::vector<std::byte>(from, from + value.as.view.length));
        mine = lend(copy);
        owner = copy.owner().object();
        kept_.push_back(handle::share(owner));
        arguments_.push_back(mine);
        return;
      }
    }
    if (owner != nullptr) kept_.push_back(handle::share(owner));
    arguments_.push_back(mine);
  }

  const std::shared_ptr<function_core> function_;  // the last to go: it keeps the library
  const std::uint64_t caller_;
  std::vector<handle> kept_;
  std::vector<karyon_value> arguments_;
  handle cursor_;
  std::uint64_t declared_ns_ = 0;
  std::uint64_t took_ns_ = 0;
  std::int32_t cancelled_ = 0;
  caller_watch watch_;
};

/// What its cell keeps of a call on another thread. When it is destroyed unanswered the cell has ended.
class away_request final : public request_handler {
public:
  away_request(cell_slot* self, std::shared_ptr<away_call> call, std::unique_ptr<call_continuation> then) noexcept
      : self_(self), call_(std::move(call)), then_(std::move(then)) {}
  ~away_request() override {
    if (then_ != nullptr) call_->abandon();
  }
  void answer(void* value) override {
    const auto then = std::move(then_);
    const auto& offloaded = *static_cast<result<void>*>(value);
    try {
      call_->hand_over_monitors(self_);
    } catch (...) {  // std::bad_alloc: it ends the cell, of which they are to hear
      call_->abandon();
      throw;
    }
    learn_switch();
    if (offloaded) return then->go_on(std::move(call_->result));
    then->go_on(tl::unexpected<organelle_error>(organelle_error(offloaded.error())));
  }
  void fail(error why) override {
    const auto then = std::move(then_);
    then->go_on(tl::unexpected<organelle_error>(organelle_error(why)));
  }

private:
  /// What it costs to go elsewhere, as the runtime has measured it: asked for at first and now and then, since it takes a lock.
  void learn_switch() noexcept {
    constexpr std::uint64_t one_in = 64;
    function_core& f = call_->function();
    if (f.away.load(std::memory_order_relaxed) % one_in != 1) return;
    scheduler& workers = core_of(self_).workers();
    if (workers.simulated()) return;
    const auto figures = workers.dirty().at(dirty_kind::cpu, workers.at(self_->home).node()).look();
    if (figures.switch_ns == 0) return;
    f.switch_ns.store(static_cast<std::uint32_t>(std::min<std::uint64_t>(figures.switch_ns, inline_limit_ns)),
                      std::memory_order_relaxed);
  }

  cell_slot* const self_;
  const std::shared_ptr<away_call> call_;
  std::unique_ptr<call_continuation> then_;
};

/// The next turn of a call that stays in its cell: a request that the cell answers itself, behind the signals that wait.
class next_step final : public request_handler {
public:
  next_step(cell_slot* self, std::shared_ptr<away_call> call, std::unique_ptr<call_continuation> then) noexcept
      : self_(self), call_(std::move(call)), then_(std::move(then)) {}

  static void post(cell_slot* self, std::shared_ptr<away_call> call, std::unique_ptr<call_continuation> then) {
    auto request = std::make_unique<next_step>(self, std::move(call), std::move(then));
    const std::uint64_t token = add_request(self, std::move(request), std::chrono::nanoseconds::max());
    reply_address to = request_address(self, token);
    karyon::detail::answer<void>(to, result<void>());
  }

  void answer(void*) override {
    call_context context(self_);
    if (call_->step(step_budget_ns, context) == KARYON_MORE) return post(self_, call_, std::move(then_));
    then_->go_on(std::move(call_->result));
  }
  void fail(error why) override { then_->go_on(tl::unexpected<organelle_error>(organelle_error(why))); }

private:
  cell_slot* const self_;
  const std::shared_ptr<away_call> call_;
  std::unique_ptr<call_continuation> then_;
};

execution away_pool(std::uint32_t run) noexcept {
  return run == KARYON_RUN_DIRTY_IO ? execution::dirty_io : execution::dirty_cpu;
}

/// Once, in the handler. True if that was all of it.
bool run_here(function_core& f, cell_slot* self, call_in_progress& call, std::uint64_t budget_ns) {
  call_context context(self);
  karyon_error error;
  const function_core::one_call with{call.arguments, f.resumable() ? budget_ns : 0, nullptr, &context,
                                     caller_number(self)};
  const karyon_status status = f.invoke(with, call.cursor, *call.result, error);
  if (status < 0) set_error(call.result, error);
  return status != KARYON_MORE;
}

bool run_auto(function_core& f, cell_slot* self, call_in_progress& call) {
  call.declared_ns = f.declared_ns(call.arguments);
  const bool simulated = is_simulated(self);
  const std::uint64_t limit = simulated ? assumed_switch_ns : threshold_ns(f);
  const std::uint64_t expected = simulated ? call.declared_ns : f.estimator.estimate_ns(call.declared_ns);
  if (expected > limit) return false;
  if (simulated || !(is_measured(expected, limit) || f.estimator.suspects(call.declared_ns))) {
    if (run_here(f, self, call, limit)) return true;
  } else {
    const std::uint64_t begin = monotonic_ns();
    const bool is_done = run_here(f, self, call, limit);
    call.took_ns = monotonic_ns() - begin;
    if (call.took_ns > inline_limit_ns) f.overruns.fetch_add(1, std::memory_order_relaxed);
    if (is_done) {
      f.estimator.observe(call.declared_ns, call.took_ns);
      return true;
    }
  }
  f.moved.fetch_add(1, std::memory_order_relaxed);
  return false;
}

}  // namespace

bool call_here(function_core& f, cell_slot* self, call_in_progress& call) {
  if (auto fits = f.check(call.arguments); !fits) {
    call.result = tl::unexpected<organelle_error>(std::move(fits.error()));
    return true;
  }
  switch (f.run()) {
    case KARYON_RUN_INLINE: call.in_steps = true; return run_here(f, self, call, step_budget_ns);
    case KARYON_RUN_AUTO: return run_auto(f, self, call);
    default: call.pool = away_pool(f.run()); return false;
  }
}

void continue_call(const std::shared_ptr<function_core>& function, cell_slot* self, call_in_progress& call,
                   std::unique_ptr<call_continuation> then) {
  auto away = std::make_shared<away_call>(function, self, call);
  if (call.in_steps) return next_step::post(self, std::move(away), std::move(then));
  const bool is_timed = function->run() == KARYON_RUN_AUTO && !is_simulated(self);
  auto work = [away, is_timed] { away->run(is_timed); };
  auto job = std::make_unique<typed_offload<decltype(work)>>(std::move(work));
  auto request = std::make_unique<away_request>(self, std::move(away), std::move(then));
  begin_offload(self, call.pool, std::move(request), std::move(job));
  function->away.fetch_add(1, std::memory_order_relaxed);
}

organelle_result call_now(function_core& f, std::span<karyon_value> arguments) {
  organelle_result result;
  if (auto fits = f.check(arguments); !fits) return tl::unexpected<organelle_error>(std::move(fits.error()));
  handle cursor;
  karyon_error error;
  karyon_status status = KARYON_MORE;
  while (status == KARYON_MORE) status = f.invoke({arguments, 0, nullptr, nullptr, 0}, cursor, *result, error);
  if (status < 0) set_error(result, error);
  return result;
}

call_estimate estimate_call(function_core& f, std::span<karyon_value> arguments) {
  call_estimate estimate;
  estimate.declared_ns = f.declared_ns(arguments);
  estimate.expected_ns = f.estimator.estimate_ns(estimate.declared_ns);
  estimate.switch_ns = threshold_ns(f);
  switch (f.run()) {
    case KARYON_RUN_INLINE: break;
    case KARYON_RUN_AUTO:
      if (estimate.expected_ns > estimate.switch_ns) estimate.where = execution::dirty_cpu;
      break;
    default: estimate.where = away_pool(f.run());
  }
  return estimate;
}

}  // namespace karyon::detail

namespace karyon {

std::string_view organelle_function::name() const noexcept { return core_->native().name; }

call_site_stats organelle_function::stats() const noexcept {
  return {core_->away.load(std::memory_order_relaxed), core_->moved.load(std::memory_order_relaxed),
          core_->overruns.load(std::memory_order_relaxed)};
}

}  // namespace karyon
