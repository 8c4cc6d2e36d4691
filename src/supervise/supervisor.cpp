#include <karyon/supervise/supervisor.hpp>

#include <exception>
#include <new>
#include <string>
#include <utility>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "cell/lifecycle.hpp"
#include "core/programmer_error.hpp"
#include "supervise/root.hpp"
#include "supervise/supervisor_core.hpp"
#include "supervise/tree_child.hpp"
#include "supervise/waiting.hpp"

namespace karyon {

supervisor runtime::supervise(const supervisor_options& options) {
  if (const auto fine = check(options); !fine) throw runtime_error(fine.error());
  auto core = std::make_shared<detail::supervisor_core>(*core_, options);
  detail::root_holder::start(*core_, core, "/supervisor");
  return supervisor(std::move(core));
}

supervisor runtime::supervise() { return supervise(supervisor_options{}); }

namespace {

detail::supervisor_core& checked(const std::shared_ptr<detail::supervisor_core>& core) {
  if (core == nullptr) detail::programmer_error("this supervisor handle is empty: it comes from runtime::supervise");
  return *core;
}

struct factory_release {
  void operator()(detail::child_factory* f) const noexcept { f->release(1); }
};
using held_factory = std::unique_ptr<detail::child_factory, factory_release>;

/// Only what few children have needs a look.
void check_options(const detail::supervisor_core& core, const child_options& options, child_kind kind) {
  if (options.restart <= restart_type::temporary && options.mailbox <= mailbox_policy::kept_without_last &&
      !options.significant && !options.shutdown) {
    return;
  }
  const auto fine = detail::check_child(options, kind, core.options().auto_shutdown, "child_options: ");
  if (!fine) throw runtime_error(fine.error());
}

detail::address start_child(detail::supervisor_core& core, held_factory factory, detail::start_note* note) {
  check_options(core, factory->options(), child_kind::worker);
  const std::uint32_t number = core.next_number();
  detail::shard& on = core.choose(factory->options().where, number);
  return core.start(on, *factory.release(), number, true, note);
}

}  // namespace

detail::address supervisor::start_one(detail::child_factory* factory) {
  held_factory held(factory);
  return start_child(checked(core_), std::move(held), nullptr);
}

result<detail::address> supervisor::start_noted(detail::child_factory* factory, std::any& info) {
  held_factory held(factory);
  detail::start_note note;
  try {
    const detail::address role = start_child(checked(core_), std::move(held), &note);
    info = std::move(note.info);
    return role;
  } catch (const runtime_error& e) {
    return tl::unexpected<error>(e.why());
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "there is no memory for another child");
  } catch (...) {
    return fail(errc::start_failed, to_string(detail::reason_of_current_exception(exit_reason::kind::start_failed)));
  }
}

void supervisor::start_range(detail::child_factory* factory, std::size_t n, detail::address* out) {
  const held_factory held(factory);
  detail::supervisor_core& core = checked(core_);
  if (n > 0xffff'fffe) {
    throw runtime_error(error(errc::invalid_argument, "at most 2^32 - 2 children can be started together"));
  }
  check_options(core, factory->options(), child_kind::worker);
  core.check_running();
  const auto end_started = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      if (out[i].slot != nullptr) terminate_role(out[i]);
    }
  };
  const placement where = factory->options().where;
  if (!detail::may_wait()) {
    // A worker must not wait for shards, one of which may be its own.
    for (std::size_t i = 0; i < n; ++i) {
      try {
        detail::shard& on = core.choose(where, core.next_number());
        factory->acquire(1);
        out[i] = core.start(on, *factory, static_cast<std::uint32_t>(i), true, nullptr);
      } catch (...) {
        end_started(i);
        throw;
      }
    }
    return;
  }
  const std::vector<detail::shard*> shards = core.choose_all(where);
  const std::size_t parts = shards.size();
  detail::bulk_start bulk(factory, out, parts);
  for (std::size_t p = 0; p < parts; ++p) {
    shards[p]->start(bulk, static_cast<std::uint32_t>(n * p / parts), static_cast<std::uint32_t>(n * (p + 1) / parts));
  }
  bulk.room.wait([&bulk] { return bulk.done; });
  if (bulk.failed.load(std::memory_order_relaxed)) {
    end_started(n);
    std::rethrow_exception(bulk.error);
  }
}

result<ordered_supervisor> supervisor::start_tree(const supervisor_spec& spec, const child_options& options) {
  detail::supervisor_core& core = checked(core_);
  if (!detail::may_wait()) {
    return fail(errc::would_block, "a cell must not block its worker until a tree has started");
  }
  try {
    if (auto fine = check(spec); !fine) return tl::unexpected<error>(fine.error());
    if (auto fine =
            detail::check_child(options, child_kind::supervisor, core.options().auto_shutdown, "child_options: ");
        !fine) {
      return tl::unexpected<error>(fine.error());
    }
    const std::uint32_t number = core.next_number();
    detail::shard& on = core.choose(options.where, number);
    auto node = detail::make_ordered_node(core.runtime(), std::make_shared<const supervisor_spec>(spec));
    auto tree = std::make_unique<detail::tree_child>(on, node, options);
    const auto start = std::make_shared<detail::tree_start>();
    tree->starter = start;
    tree->number = std::uint64_t{number} + 1;
    core.enter(on);
    on.start(std::move(tree));
    start->room.wait([&] { return start->outcome.has_value(); });
    const result<void> outcome = start->room.read([&] { return *start->outcome; });
    return outcome.map([&] { return detail::any_child_access::of_node(std::move(node)).as_tree(); });
  } catch (const runtime_error& e) {
    return tl::unexpected<error>(e.why());
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "there is no memory for another tree");
  }
}

bool supervisor::terminate_role(const detail::address& role) {
  detail::supervisor_core& core = checked(core_);
  if (core.ended() || !detail::role_alive(role)) return false;
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
  core.stop(detail::may_wait());
}

void supervisor::exit(exit_reason why) { checked(core_).request_exit(why); }

void supervisor::exit_children(const exit_reason& why) {
  for (const auto& s : checked(core_).shards()) s->exit_children(why);
}

std::size_t supervisor::children() const noexcept { return core_ != nullptr ? core_->children() : 0; }

std::uint64_t supervisor::restarts() const noexcept {
  std::uint64_t n = 0;
  if (core_ != nullptr) {
    for (const auto& s : core_->shards()) n += s->restarts();
  }
  return n;
}

std::optional<exit_reason> supervisor::ended() const { return core_ != nullptr ? core_->ended() : std::nullopt; }

bool supervisor::wait_ended(std::chrono::nanoseconds timeout) const {
  if (!detail::may_wait()) return false;
  return checked(core_).wait_ended(timeout);
}

}  // namespace karyon
