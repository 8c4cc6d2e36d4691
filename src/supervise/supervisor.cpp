#include <karyon/supervise/supervisor.hpp>

#include <exception>
#include <string>

#include "core/programmer_error.hpp"
#include "sched/worker.hpp"
#include "supervise/supervisor_core.hpp"

namespace karyon {

supervisor runtime::supervise(const supervisor_options& options) {
  if (options.intensity.period.count() <= 0) {
    throw runtime_error(error(errc::invalid_argument, "supervisor_options::intensity.period must be longer than zero"));
  }
  auto core = std::make_shared<detail::supervisor_core>(*core_, options);
  core_->add_participant(core);
  return supervisor(std::move(core));
}

supervisor runtime::supervise() { return supervise(supervisor_options{}); }

namespace {

detail::supervisor_core& checked(const std::shared_ptr<detail::supervisor_core>& core) {
  if (core == nullptr) detail::programmer_error("this supervisor handle is empty: it comes from runtime::supervise");
  return *core;
}

}  // namespace

detail::address supervisor::start_one(detail::child_factory* factory) {
  detail::supervisor_core& core = checked(core_);
  detail::shard* on = nullptr;
  try {
    on = &core.choose(factory->options().where);
  } catch (...) {
    factory->release(1);
    throw;
  }
  return core.start(*on, *factory, 0, true);
}

void supervisor::start_range(detail::child_factory* factory, std::size_t n, detail::address* out) {
  detail::supervisor_core& core = checked(core_);
  const auto release_factory = [](detail::child_factory* f) { f->release(1); };
  const std::unique_ptr<detail::child_factory, decltype(release_factory)> held(factory, release_factory);
  if (n > 0xffff'fffe) {
    throw runtime_error(error(errc::invalid_argument, "at most 2^32 - 2 children can be started together"));
  }
  core.check_running();
  const auto end_started = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      if (out[i].slot != nullptr) terminate_role(out[i]);
    }
  };
  const placement where = factory->options().where;
  if (detail::worker::current() != nullptr) {
    // A worker must not wait for shards, one of which may be its own.
    for (std::size_t i = 0; i < n; ++i) {
      try {
        detail::shard& on = core.choose(where);
        factory->acquire(1);
        out[i] = core.start(on, *factory, static_cast<std::uint32_t>(i), true);
      } catch (...) {
        end_started(i);
        throw;
      }
    }
    return;
  }
  const std::vector<detail::shard*> shards = core.choose_all(where);
  const std::size_t parts = shards.size();
  detail::bulk_start bulk(factory, out, static_cast<std::ptrdiff_t>(parts));
  for (std::size_t p = 0; p < parts; ++p) {
    shards[p]->start(bulk, static_cast<std::uint32_t>(n * p / parts), static_cast<std::uint32_t>(n * (p + 1) / parts));
  }
  bulk.done.wait();
  if (bulk.failed.load(std::memory_order_acquire)) {
    end_started(n);
    std::rethrow_exception(bulk.error);
  }
}

bool supervisor::terminate_role(const detail::address& role) {
  detail::supervisor_core& core = checked(core_);
  if (core.has_ended() || !detail::role_alive(role)) return false;
  const detail::guardian* keeper = detail::role_keeper(*role.slot);
  for (const auto& s : core.shards()) {
    if (s.get() == keeper) {
      s->terminate(role);
      return true;
    }
  }
  return false;
}

void supervisor::stop() {
  detail::supervisor_core& core = checked(core_);
  if (core.has_ended()) return;
  core.begin_stop();
  if (detail::worker::current() == nullptr) core.wait_until_ended();
}

std::size_t supervisor::children() const noexcept {
  std::size_t n = 0;
  if (core_ != nullptr) {
    for (const auto& s : core_->shards()) n += s->size();
  }
  return n;
}

std::uint64_t supervisor::restarts() const noexcept { return core_ != nullptr ? core_->restarts() : 0; }

std::optional<exit_reason> supervisor::ended() const { return core_ != nullptr ? core_->ended() : std::nullopt; }

}  // namespace karyon
