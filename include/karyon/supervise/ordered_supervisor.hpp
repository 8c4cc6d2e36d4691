#pragma once

#include <any>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/supervise/supervisor.hpp>
#include <karyon/supervise/supervisor_spec.hpp>

namespace karyon {

class ordered_supervisor;

/// A child of an ordered supervisor whose class is not known here: a cell's role, a supervisor, or nothing (ignored).
class KARYON_API any_child {
public:
  any_child() = default;

  /// The typed handle; empty if the child is not a cell of class C.
  template <class C>
  [[nodiscard]] child<C> as() const noexcept {
    return class_ == &detail::class_info_of<C>::value ? detail::handle_access::make<child<C>>(role_) : child<C>();
  }
  /// The incarnation that fills the role now; empty between two incarnations, after the end, and for supervisors.
  [[nodiscard]] cell_ref get() const noexcept;
  /// Empty handles if it is not one.
  [[nodiscard]] ordered_supervisor as_tree() const noexcept;
  [[nodiscard]] supervisor as_dynamic() const noexcept;
  /// False for a child that was ignored.
  explicit operator bool() const noexcept { return class_ != nullptr || node_ != nullptr; }

private:
  friend struct detail::any_child_access;
  const detail::class_info* class_ = nullptr;
  detail::address role_;
  std::shared_ptr<detail::supervisor_node> node_;
};

/// What start_child and restart_child give.
struct started_child {
  any_child child;  ///< Empty if the start was ignored.
  std::any info;    ///< What the constructor gave to start_info.
};

/// Whether a child of an ordered supervisor has its cell.
enum class child_state : std::uint8_t {
  running,
  restarting,  ///< Its last restart has failed; it is tried again.
  stopped,     ///< Kept without a cell: ignored, ended as expected, or terminated.
};

/// One line of ordered_supervisor::children.
struct child_info {
  std::string id;
  any_child child;
  child_state state = child_state::stopped;
  child_kind kind = child_kind::worker;
  restart_type restart = restart_type::permanent;
};

/// OTP's count_children.
struct child_counts {
  std::size_t specs = 0;
  std::size_t active = 0;  ///< running now
  std::size_t supervisors = 0;
  std::size_t workers = 0;
};

/// Keeps a few different children in order: OTP's supervisor, exactly (docs/concepts/supervision.md has the table).
///
/// A value that names the supervisor; copies name the same one, also after restarts by its own supervisor. It runs on one
/// worker, one step after the other; it answers questions about itself at any time, also while it waits for a child to end or
/// tries to restart one; changes queue behind the one in progress, but stop() and exit() do not.
///
/// Threads: any. Calls that wait (start_child, terminate_child, restart_child, delete_child) give `would_block` within a cell, its
/// constructor on whatever thread included; cells use the forms with a continuation, which is called as that of cell::ask is.
class KARYON_API ordered_supervisor {
public:
  ordered_supervisor() = default;

  /// Adds a child behind the others and starts it. already_started: a child of this id runs. already_present: its spec is kept
  /// without a cell (delete_child or restart_child it). start_failed: the message has the reason; the spec is not kept.
  /// invalid_argument: a faulty spec. closed: the supervisor is ending or has ended.
  result<started_child> start_child(child_spec spec);
  /// Ends a child by its shutdown policy and returns when its death is confirmed; its spec is kept (but a temporary one's).
  /// Also stops the attempts at restarting it. Fine if it does not run. not_found, closed.
  result<void> terminate_child(std::string_view id);
  /// Starts a child that is kept without a cell. running, restarting, not_found, start_failed (the spec is still kept), closed.
  result<started_child> restart_child(std::string_view id);
  /// Forgets a child that is kept without a cell. running, restarting, not_found, closed.
  result<void> delete_child(std::string_view id);

  /// The same for cells: `self` is the cell that calls, `then` takes the result<...> on its thread of execution.
  template <class Then>
  void start_child(cell& self, child_spec spec, Then&& then);
  template <class Then>
  void terminate_child(cell& self, std::string_view id, Then&& then);
  template <class Then>
  void restart_child(cell& self, std::string_view id, Then&& then);
  template <class Then>
  void delete_child(cell& self, std::string_view id, Then&& then);

  /// In start order. Any thread, never waits for the supervisor's worker.
  [[nodiscard]] std::vector<child_info> children() const;
  [[nodiscard]] child_counts count() const;
  /// What the child was started from, with its options. not_found.
  [[nodiscard]] result<child_spec> spec_of(std::string_view id) const;
  /// Handles by id; empty if there is no such child of that class. They survive restarts, so look them up once.
  template <class C>
  [[nodiscard]] child<C> find(std::string_view id) const {
    return find_any(id).template as<C>();
  }
  [[nodiscard]] any_child find_any(std::string_view id) const;

  /// Ends all children in reverse order and the supervisor with `shutdown`; returns when done. From a cell, its constructor
  /// included, it only begins.
  /// A supervisor that has one of its own is restarted or not by that, as its restart type says. Idempotent.
  void stop();
  /// An exit signal to the supervisor: `shutdown` as stop() but without waiting; `killed` kills the children, all at once, and ends
  /// it with `killed`; any other reason ends it in order, with that reason. `normal` is ignored.
  void exit(exit_reason why);

  /// The restarts since it was made that the intensity allowed, those of them that failed included: one for each child that called
  /// for one, however many are restarted with it; over all its lives where a supervisor restarts it. Any thread.
  [[nodiscard]] std::uint64_t restarts() const noexcept;
  /// Why it has ended; nothing while it runs or is started.
  [[nodiscard]] std::optional<exit_reason> ended() const;
  /// Waits until it has ended; false after the timeout. Not within a cell (false at once).
  bool wait_ended(std::chrono::nanoseconds timeout) const;
  explicit operator bool() const noexcept { return core_ != nullptr; }
  friend bool operator==(const ordered_supervisor&, const ordered_supervisor&) = default;

private:
  friend class runtime;
  friend class supervisor;
  friend class any_child;
  friend struct detail::any_child_access;
  explicit ordered_supervisor(std::shared_ptr<detail::ordered_core> core) noexcept : core_(std::move(core)) {}

  void begin_start_child(child_spec spec, const detail::reply_address& to);
  void begin_terminate_child(std::string_view id, const detail::reply_address& to);
  void begin_restart_child(std::string_view id, const detail::reply_address& to);
  void begin_delete_child(std::string_view id, const detail::reply_address& to);
  /// Registers the continuation with the cell, without a timeout: the supervisor answers in every case.
  template <class R, class Then>
  static detail::reply_address continued(cell& self, Then&& then) {
    static_assert(std::is_invocable_v<std::decay_t<Then>&, result<R>>,
                  "karyon: the continuation takes a karyon::result of what the call gives");
    detail::cell_slot* slot = detail::cell_access::slot_of(self);
    const std::uint64_t request = detail::add_request(
        slot, std::make_unique<detail::typed_request<R, std::decay_t<Then>>>(std::forward<Then>(then)),
        std::chrono::nanoseconds::max());
    return detail::request_address(slot, request);
  }

  std::shared_ptr<detail::ordered_core> core_;
};

template <class Then>
void ordered_supervisor::start_child(cell& self, child_spec spec, Then&& then) {
  begin_start_child(std::move(spec), continued<started_child>(self, std::forward<Then>(then)));
}
template <class Then>
void ordered_supervisor::terminate_child(cell& self, std::string_view id, Then&& then) {
  begin_terminate_child(id, continued<void>(self, std::forward<Then>(then)));
}
template <class Then>
void ordered_supervisor::restart_child(cell& self, std::string_view id, Then&& then) {
  begin_restart_child(id, continued<started_child>(self, std::forward<Then>(then)));
}
template <class Then>
void ordered_supervisor::delete_child(cell& self, std::string_view id, Then&& then) {
  begin_delete_child(id, continued<void>(self, std::forward<Then>(then)));
}

}  // namespace karyon
