#include "cell/overrun_desk.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "cell/slot.hpp"
#include "core/log.hpp"
#include "sched/parker.hpp"
#include "sched/thread_stack.hpp"

namespace karyon::detail {

const signal_ops start_hook_ops{nullptr, nullptr, "on_start"};
const signal_ops exit_hook_ops{nullptr, nullptr, "on_exit"};
const signal_ops constructor_ops{nullptr, nullptr, "constructor"};
const signal_ops overflow_ops{nullptr, nullptr, "mailbox overflow"};

namespace {

constexpr std::uint32_t reports_per_second = 10;

/// Numbers of handler types, for all runtimes of the process; 0 is nobody's.
std::uint32_t number_of(handler_site& site) noexcept {
  static std::atomic<std::uint32_t> last{0};
  std::uint32_t n = site.number.load(std::memory_order_relaxed);
  if (n != 0) return n;
  const std::uint32_t fresh = last.fetch_add(1, std::memory_order_relaxed) + 1;
  // Who comes second takes the first one's; a number is lost. It orders nothing: records are found by it alone.
  return site.number.compare_exchange_strong(n, fresh, std::memory_order_relaxed) ? fresh : n;
}

const signal_ops& ops_of(const overrun& o) noexcept { return *static_cast<const signal_ops*>(o.what); }

/// The cell may have ended since, and its slot may be another's: what is said of it is a hint, as in all reports on others.
cell_slot* slot_of(const overrun& o) noexcept { return const_cast<cell_slot*>(static_cast<const cell_slot*>(o.whom)); }

std::string_view class_of(const overrun& o) noexcept {
  if (const handler_site* site = ops_of(o).site) return site->cell_class;
  const cell_slot* slot = slot_of(o);
  const class_info* info = slot != nullptr ? slot->info.load(std::memory_order_relaxed) : nullptr;
  return info != nullptr ? info->name : std::string_view("unknown");
}

std::string in_ms(std::uint64_t ns) {
  const std::uint64_t tenths = ns / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " ms";
}

}  // namespace

void handler_record::sample(std::uint64_t ns) noexcept {
  const auto& bounds = handler_report::bounds_ns;
  const auto i = static_cast<std::size_t>(std::upper_bound(bounds.begin(), bounds.end(), ns) - bounds.begin());
  sampled[i].fetch_add(1, std::memory_order_relaxed);
}

overrun_desk::overrun_desk(const watch_options& options, mover move)
    : stacks_(options.stacks),
      limit_ns_(static_cast<std::uint64_t>(options.limit.count()) * 1000),
      move_after_(options.move ? options.move_after : 0),
      move_within_ns_(static_cast<std::uint64_t>(options.move_within.count()) * 1'000'000),
      move_(std::move(move)),
      budget_(reports_per_second, reports_per_second) {}

overrun_desk::~overrun_desk() {
  for (auto& c : chunks_) delete c.load(std::memory_order_relaxed);
}

handler_record* overrun_desk::record_of(handler_site& site) noexcept {
  const std::uint32_t n = number_of(site);
  if (n >= chunk_size * chunks_max) return nullptr;
  std::atomic<chunk*>& place = chunks_[n / chunk_size];
  // Acquire pairs with the exchange's release, here and where that fails: who finds the chunk finds its zeroes.
  chunk* c = place.load(std::memory_order_acquire);
  if (c == nullptr) {
    auto* fresh = new (std::nothrow) chunk{};
    if (fresh == nullptr) return nullptr;
    if (place.compare_exchange_strong(c, fresh, std::memory_order_release, std::memory_order_acquire)) {
      c = fresh;
    } else {
      delete fresh;
    }
  }
  handler_record& r = (*c)[n % chunk_size];
  // Each stores the same. Release pairs with the acquire in reports(), which reads the names behind it.
  if (r.site.load(std::memory_order_relaxed) == nullptr) r.site.store(&site, std::memory_order_release);
  return &r;
}

std::string overrun_desk::describe(const overrun& o) const {
  cell_slot* slot = slot_of(o);
  std::string text("handler of ");
  text.append(ops_of(o).type).append(" in ").append(class_of(o));
  if (slot != nullptr) text.append(" (cell ").append(std::to_string(identity(slot->at()))).append(")");
  text.append(" has not returned for ").append(in_ms(o.running_ns));
  text.append(" on worker ").append(std::to_string(o.worker));
  return text;
}

void overrun_desk::begins(const overrun& o) noexcept {
  if (o.what == nullptr) return;  // nobody's code: the turn is still sorting a very long mailbox
  handler_record* r = ops_of(o).site != nullptr ? record_of(*ops_of(o).site) : nullptr;
  if (r != nullptr) r->overruns.fetch_add(1, std::memory_order_relaxed);
  try {
    const cell_slot* slot = slot_of(o);
    const std::lock_guard lock(mutex_);
    running_.push_back({o, monotonic_ns() - o.running_ns, slot != nullptr ? slot->number() : 0});
  } catch (...) {  // no memory: it is counted all the same
  }
  tell(o, r);
  // Only what is known to be the handler's own doing: on a machine that has no core for the watch either, the first look at a
  // turn may be long ago, and says nothing.
  if (r != nullptr && move_after_ != 0 && o.own_ns >= limit_ns_ / 4) count_repeat(*r, *ops_of(o).site);
}

void overrun_desk::tell(const overrun& o, handler_record* r) noexcept {
  if (r != nullptr && r->reported.load(std::memory_order_relaxed)) return;
  // What is not said for want of budget or memory is said at the type's next overrun.
  if (!log_enabled(log_level::warn) || !budget_.allow(monotonic_ns())) return;
  try {
    std::string text = describe(o) + "; handlers should return within " + in_ms(limit_ns_) +
                       ": declare it heavy (dirty_cpu, dirty_io), or offload the long part";
    if (stacks_) {
      const std::string stack = stack_of_thread(o.tid);
      if (!stack.empty()) text.append("\n").append(stack);
    }
    log(log_level::warn, text);
    if (r != nullptr) r->reported.store(true, std::memory_order_relaxed);  // the pulse's thread alone writes it
  } catch (...) {                                                          // no memory for its words
  }
}

void overrun_desk::count_repeat(handler_record& r, handler_site& site) noexcept {
  const std::uint64_t now_ns = monotonic_ns();
  if (r.repeats == 0 || now_ns - r.repeats_since_ns > move_within_ns_) {
    r.repeats = 0;
    r.repeats_since_ns = now_ns;
  }
  if (++r.repeats < move_after_) return;
  const std::uint32_t repeats = std::exchange(r.repeats, 0);
  if (r.stays.load(std::memory_order_relaxed) || !move_(site)) return;
  moved_.fetch_add(1, std::memory_order_relaxed);
  // Not under the budget of reports: it happens once a type.
  if (!log_enabled(log_level::warn)) return;
  try {
    std::string text("handlers of ");
    text.append(site.signal).append(" in ").append(site.cell_class).append(" have overrun ");
    text.append(std::to_string(repeats)).append(" times within ").append(in_ms(now_ns - r.repeats_since_ns));
    text.append(": from now on they run on the dirty CPU pool (runtime::move_back undoes it; watch.move = false)");
    log(log_level::warn, text);
  } catch (...) {  // no memory for its words
  }
}

void overrun_desk::keep_on_workers(handler_site& site) noexcept {
  if (handler_record* r = record_of(site)) r->stays.store(true, std::memory_order_relaxed);
}

void overrun_desk::goes_on(const overrun& o) noexcept {
  if (o.what == nullptr || !log_enabled(log_level::warn) || !budget_.allow(monotonic_ns())) return;
  try {
    log(log_level::warn, describe(o) + " and is still running");
  } catch (...) {  // no memory for its words
  }
}

void overrun_desk::ended(const overrun& o) noexcept {
  if (o.what == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(running_.begin(), running_.end(), [&](const entry& e) { return e.what.tid == o.tid; });
    if (found != running_.end()) {
      *found = running_.back();
      running_.pop_back();
    }
  }
  if (ops_of(o).site == nullptr) return;
  if (handler_record* r = record_of(*ops_of(o).site)) {
    if (r->longest_ns.load(std::memory_order_relaxed) < o.running_ns) {
      r->longest_ns.store(o.running_ns, std::memory_order_relaxed);  // the pulse's thread alone writes it
    }
  }
}

std::vector<handler_report> overrun_desk::reports(
    const std::function<execution(const handler_site&)>& place_of_handlers) const {
  std::vector<handler_report> all;
  for (const auto& place : chunks_) {
    // Both acquires pair with the releases in record_of: the chunk's zeroes, and the names of the site.
    const chunk* c = place.load(std::memory_order_acquire);
    if (c == nullptr) continue;
    for (const handler_record& r : *c) {
      const handler_site* site = r.site.load(std::memory_order_acquire);
      if (site == nullptr) continue;
      handler_report& report = all.emplace_back();
      report.cell_class = site->cell_class;
      report.signal = site->signal;
      for (std::size_t i = 0; i < report.sampled.size(); ++i) {
        report.sampled[i] = r.sampled[i].load(std::memory_order_relaxed);
      }
      report.overruns = r.overruns.load(std::memory_order_relaxed);
      report.longest_overrun = std::chrono::nanoseconds(r.longest_ns.load(std::memory_order_relaxed));
      report.runs_on = place_of_handlers(*site);
    }
  }
  return all;
}

std::vector<running_handler> overrun_desk::running(std::uint64_t now_ns) const {
  std::vector<running_handler> all;
  const std::lock_guard lock(mutex_);
  for (const entry& e : running_) {
    running_handler& h = all.emplace_back();
    h.cell_class = class_of(e.what);
    h.signal = ops_of(e.what).type;
    if (cell_slot* slot = slot_of(e.what)) h.cell = identity({slot, e.incarnation});
    h.worker = e.what.worker;
    h.since = std::chrono::nanoseconds(now_ns - e.since_ns);
  }
  return all;
}

}  // namespace karyon::detail
