#include "supervise/supervisor_core.hpp"

#include <new>
#include <string>
#include <utility>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "core/log.hpp"

namespace karyon::detail {

supervisor_core::supervisor_core(runtime_core& rt, const supervisor_options& options)
    : runtime_(rt),
      options_(options),
      budget_(options.intensity.restarts, static_cast<std::uint64_t>(options.intensity.period.count())),
      shards_left_(rt.workers().size()) {
  for (unsigned i = 0; i < rt.workers().size(); ++i) shards_.push_back(std::make_unique<shard>(*this, i));
}

void supervisor_core::check_running() const {
  if (stopping()) throw runtime_error(error(errc::closed, "the supervisor is stopping: no child is started any more"));
}

std::vector<shard*> supervisor_core::choose_all(placement where) {
  shard& one = choose(where);  // also checks the index
  if (where.how == placement::kind::worker) return {&one};
  std::vector<shard*> chosen;
  for (const auto& s : shards_) {
    if (where.how != placement::kind::node || runtime_.workers().at(s->worker_index()).node() == where.index) {
      chosen.push_back(s.get());
    }
  }
  return chosen;
}

shard& supervisor_core::choose(placement where) {
  check_running();  // first: a supervisor that has ended may be held beyond its runtime
  if (where.how == placement::kind::parent || where.how == placement::kind::spread) {
    return *shards_[turn_.fetch_add(1, std::memory_order_relaxed) % shards_.size()];
  }
  return *shards_[runtime_.choose(where).home];
}

address supervisor_core::start(shard& on, child_factory& factory, std::uint32_t index, bool joins) {
  const auto release_factory = [](child_factory* f) { f->release(1); };
  std::unique_ptr<child_factory, decltype(release_factory)> held(&factory, release_factory);
  check_running();
  cell_slot& s = take_slot(runtime_, factory.info(), runtime_.workers().at(on.worker_index()).node());
  s.home = static_cast<std::uint16_t>(on.worker_index());
  s.flags = 0;
  s.set(cell_slot::pinned, factory.options().where.how == placement::kind::worker);
  s.keeper_data = &factory;
  s.keeper_index = index;
  s.keeper_bits.store(0, std::memory_order_relaxed);
  const std::uint32_t role = begin_role(s, on);
  begin_incarnation(s, factory.info());
  try {
    construction_scope scope(&s);
    factory.construct(s.object(), index);
  } catch (...) {
    abandon_incarnation(s, reason_of_current_exception(exit_reason::kind::start_failed));
    end_role(s);
    if (backend_release(s)) release_slot(s);
    runtime_.count(&cell_counters::ended);
    throw;
  }
  held.release();  // the slot's, until the shard forgets it
  if (joins) {
    on.join(s);
  } else {
    on.take_in(s);
  }
  launch_cell(s);
  return {&s, role};
}

void supervisor_core::begin_stop() noexcept {
  if (stopping_.exchange(true, std::memory_order_acq_rel)) return;
  for (auto& s : shards_) s->stop();
}

void supervisor_core::give_up(const exit_reason& why) noexcept {
  if (stopping()) return;
  begin_stop();
  try {
    log(log_level::err,
        "supervisor gives up: more than " + std::to_string(options_.intensity.restarts) + " restarts within " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(options_.intensity.period).count()) +
            " ms; its children are ended; the last of them had ended with " + to_string(why));
  } catch (const std::bad_alloc&) {  // it stops all the same
  }
}

void supervisor_core::shard_is_empty() noexcept {
  if (shards_left_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const std::lock_guard lock(mutex_);
  ended_.store(true, std::memory_order_release);
  ended_changed_.notify_all();
}

void supervisor_core::wait_until_ended() {
  std::unique_lock lock(mutex_);
  ended_changed_.wait(lock, [this] { return has_ended(); });
}

std::optional<exit_reason> supervisor_core::ended() const {
  return has_ended() ? std::optional(exit_reason::shutdown()) : std::nullopt;
}

}  // namespace karyon::detail
