#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include <karyon/sched/topology.hpp>
#include <karyon/sim/testing.hpp>

#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "core/programmer_error.hpp"
#include "sched/wait.hpp"
#include "sim/driver.hpp"

namespace karyon::testing {

namespace kd = karyon::detail;

namespace {

constexpr std::uint32_t workers_most = 1024;

/// A machine that nobody has: a core for each worker, the cores spread over the nodes.
topology machine_of(const world_options& options) {
  if (options.workers == 0 || options.workers > workers_most) {
    throw runtime_error(error(errc::invalid_argument, "a simulated world has 1 to 1,024 workers"));
  }
  if (options.nodes == 0 || options.nodes > options.workers) {
    throw runtime_error(error(errc::invalid_argument, "a simulated world has at least one worker for each node"));
  }
  std::vector<processing_unit> units(options.workers);
  for (std::uint32_t i = 0; i < options.workers; ++i) {
    const auto node = static_cast<std::uint32_t>(std::uint64_t{i} * options.nodes / options.workers);
    units[i].os_index = i;
    units[i].core = i;
    units[i].node = node;
    units[i].package = node;
    units[i].cache_group = node;
  }
  std::vector<numa_node> nodes(options.nodes);
  for (std::uint32_t i = 0; i < options.nodes; ++i) {
    nodes[i].os_index = i;
    nodes[i].memory_bytes = std::uint64_t{1} << 30u;
  }
  result<topology> machine = topology::from_units(std::move(units), std::move(nodes));
  if (!machine) throw runtime_error(machine.error());
  return *std::move(machine);
}

std::unique_ptr<karyon::runtime> runtime_of(const world_options& options) {
  const topology machine = machine_of(options);
  runtime_options made = options.runtime;
  made.machine = &machine;
  made.scheduler.binding.workers = options.workers;
  return std::make_unique<karyon::runtime>(made);
}

world_options with_seed(std::uint64_t seed) {
  world_options options;
  options.seed = seed;
  return options;
}

std::uint64_t as_ns(std::chrono::nanoseconds time) noexcept {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, time.count()));
}

}  // namespace

world::world(const world_options& options)
    : driver_(std::make_unique<detail::driver>(options)),
      runtime_(runtime_of(options)),
      random_(options.seed * 0x2545f4914f6cdd1du + 1),
      exceptions_before_(std::uncaught_exceptions()) {}

world::world(std::uint64_t seed) : world(with_seed(seed)) {}

world::~world() {
  if (driver_->has_open_expectations() && std::uncaught_exceptions() <= exceptions_before_) {
    kd::programmer_error("a simulated world ends with expectations that nobody has verified: call world::verify");
  }
  driver_->begin_end();
  runtime_->shutdown(runtime_->core().options().shutdown_deadline);
  driver_->discard_kept();
  runtime_.reset();
}

std::uint64_t world::seed() const noexcept { return driver_->seed(); }

bool world::step() {
  driver_->refuse_inside("step");
  const bool stepped = driver_->step();
  driver_->check_failed();
  return stepped;
}

void world::run() {
  driver_->refuse_inside("run");
  driver_->settle();
  driver_->check_failed();
}

void world::advance(std::chrono::nanoseconds time) {
  driver_->refuse_inside("advance");
  driver_->pass_until(kd::deadline_in(as_ns(time)));
  driver_->check_failed();
}

bool world::run_until(const std::function<bool()>& condition, std::chrono::nanoseconds limit) {
  driver_->refuse_inside("run_until");
  const bool held = driver_->run_until(condition, kd::deadline_in(as_ns(limit)));
  driver_->check_failed();
  return held;
}

bool world::kill(const detail::address& whom, bool role) {
  driver_->refuse_inside("kill");
  const detail::address now = role ? kd::incarnation_of_role(whom) : whom;
  if (now.number == 0 || !kd::incarnation_alive(now)) return false;
  kd::send_exit(now, {}, exit_reason::killed());
  return true;
}

std::chrono::nanoseconds world::now() const noexcept { return std::chrono::nanoseconds(driver_->elapsed_ns()); }

void world::add(std::shared_ptr<detail::rule_state> state) { driver_->add_rule(std::move(state)); }

void world::verify() { driver_->verify(); }

signal_accounts world::accounts() const {
  // Not runtime_metrics, which adds the refusals of all threads of the process.
  const kd::runtime_core& core = runtime_->core();
  signal_accounts a;
  a.handled = core.sum(&kd::cell_counters::handled);
  const auto by_test = [this](kd::loss cause) { return driver_->lost_by_test(cause); };
  a.refused = core.sum(&kd::cell_counters::refused_dead) + core.sum(&kd::cell_counters::refused_full) +
              core.sum(&kd::cell_counters::refused_no_handler) + by_test(kd::loss::dead) + by_test(kd::loss::full);
  a.lost = core.sum(&kd::cell_counters::dropped_dead) + by_test(kd::loss::dropped_dead);
  a.overflowed = core.sum(&kd::cell_counters::dropped_newest) + core.sum(&kd::cell_counters::dropped_oldest) +
                 core.sum(&kd::cell_counters::conflated) + by_test(kd::loss::newest) + by_test(kd::loss::oldest) +
                 by_test(kd::loss::conflated);
  a.dropped = driver_->dropped();
  a.still_delayed = driver_->delayed_now();
  return a;
}

std::uint64_t world::trace_hash() const noexcept { return driver_->happened().hash(); }
std::uint64_t world::events() const noexcept { return driver_->happened().size(); }
std::vector<std::string> world::trace() const { return driver_->happened().lines(~std::size_t{0}); }
std::string world::describe(std::string_view what) const { return detail::report_of(*driver_, what); }
std::vector<std::string> world::log() const { return driver_->log_lines(); }

}  // namespace karyon::testing
