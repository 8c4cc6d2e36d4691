#include <karyon/supervise/ordered_supervisor.hpp>

#include <memory>
#include <utility>

#include "core/programmer_error.hpp"
#include "supervise/ordered_core.hpp"
#include "supervise/root.hpp"
#include "supervise/waiting.hpp"

namespace karyon {

result<ordered_supervisor> runtime::start(const supervisor_spec& spec) {
  if (on_worker()) {
    return fail(errc::would_block, "a cell must not block its worker until a tree has started: start it from a thread");
  }
  if (auto good = check(spec); !good) return tl::unexpected<error>(good.error());
  try {
    auto core = std::make_shared<detail::ordered_core>(*core_, std::make_shared<const supervisor_spec>(spec));
    const auto root = detail::root_holder::start(*core_, core, "/app");
    return root->wait_started().map([&] { return ordered_supervisor(std::move(core)); });
  } catch (const runtime_error& e) {
    return tl::unexpected<error>(e.why());
  }
}

namespace {

detail::ordered_core& checked(const std::shared_ptr<detail::ordered_core>& core) {
  if (core == nullptr) detail::programmer_error("this supervisor handle is empty: it comes from runtime::start");
  return *core;
}

/// Makes a call with a place for the answer, and waits for that.
template <class R, class Call>
result<R> answer_of(Call&& call) {
  if (!detail::may_wait()) {
    return fail(errc::would_block, "a cell, its constructor included, must not wait: use the form with a continuation");
  }
  detail::reply_address to;
  future<R> answer(to);
  call(to);
  return answer.get(std::chrono::nanoseconds::max());
}

}  // namespace

result<started_child> ordered_supervisor::start_child(child_spec spec) {
  return answer_of<started_child>([&](const detail::reply_address& to) { begin_start_child(std::move(spec), to); });
}

result<void> ordered_supervisor::terminate_child(std::string_view id) {
  return answer_of<void>([&](const detail::reply_address& to) { begin_terminate_child(id, to); });
}

result<started_child> ordered_supervisor::restart_child(std::string_view id) {
  return answer_of<started_child>([&](const detail::reply_address& to) { begin_restart_child(id, to); });
}

result<void> ordered_supervisor::delete_child(std::string_view id) {
  return answer_of<void>([&](const detail::reply_address& to) { begin_delete_child(id, to); });
}

void ordered_supervisor::begin_start_child(child_spec spec, const detail::reply_address& to) {
  checked(core_).start_child(std::move(spec), to);
}
void ordered_supervisor::begin_terminate_child(std::string_view id, const detail::reply_address& to) {
  checked(core_).terminate_child(id, to);
}
void ordered_supervisor::begin_restart_child(std::string_view id, const detail::reply_address& to) {
  checked(core_).restart_child(id, to);
}
void ordered_supervisor::begin_delete_child(std::string_view id, const detail::reply_address& to) {
  checked(core_).delete_child(id, to);
}

std::vector<child_info> ordered_supervisor::children() const { return checked(core_).list(); }
child_counts ordered_supervisor::count() const { return checked(core_).count(); }
result<child_spec> ordered_supervisor::spec_of(std::string_view id) const { return checked(core_).spec_of(id); }
any_child ordered_supervisor::find_any(std::string_view id) const { return checked(core_).find(id); }

void ordered_supervisor::stop() {
  detail::ordered_core& core = checked(core_);
  if (!detail::may_wait()) return core.request_exit(exit_reason::shutdown());
  core.stop();
}

void ordered_supervisor::exit(exit_reason why) { checked(core_).request_exit(why); }

std::uint64_t ordered_supervisor::restarts() const noexcept { return core_ != nullptr ? core_->restarts() : 0; }

std::optional<exit_reason> ordered_supervisor::ended() const {
  return core_ != nullptr ? core_->ended() : std::nullopt;
}

bool ordered_supervisor::wait_ended(std::chrono::nanoseconds timeout) const {
  return core_ != nullptr && detail::may_wait() && core_->wait_ended(timeout);
}

}  // namespace karyon
