#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <karyon/cell/exit_reason.hpp>
#include <karyon/supervise/ordered_supervisor.hpp>

namespace karyon::detail {

class runtime_core;
class supervisor_node;

/// Whoever looks after a supervisor: its own supervisor, or the runtime for one without.
///
/// One report follows each begin_start: start_failed; or started and later ended; or ended alone, if it was asked to exit before
/// it had started. Called on any thread, holding no lock of the node; must not block, and may not call back.
class node_parent {
public:
  enum class report : std::uint8_t { started, start_failed, ended };
  virtual void child_reports(supervisor_node& child, report what, const exit_reason& why) noexcept = 0;

protected:
  ~node_parent() = default;
};

/// A supervisor as its parent sees it. Restarted in place: handles name the node, so they survive.
///
///   idle -> starting -> running -> stopping -> idle          (begin_start -> started -> request_exit or by itself -> ended)
///              |                      ^
///              +--- a start failed ---+
///
/// Kept by its parent, and by the handles that users hold. begin_start and request_exit are for the parent (any thread, do not
/// wait), request_exit also for users; after `ended` or `start_failed` was reported nothing of it runs any more (none of its
/// tasks is in a queue, no thread is inside a call that it has not to thank to a handle) and no child of it is alive, so that a
/// new start strictly follows the old cleanup, and the last handle may free it. wake_list.hpp makes that easy.
class supervisor_node : public std::enable_shared_from_this<supervisor_node> {
public:
  supervisor_node() = default;
  supervisor_node(const supervisor_node&) = delete;
  supervisor_node& operator=(const supervisor_node&) = delete;
  virtual ~supervisor_node() = default;

  /// `path` names it in reports: the ids from the root on, "/app/sessions". Without memory for a life it reports start_failed.
  virtual void begin_start(node_parent& parent, const std::string& path) noexcept = 0;
  /// shutdown: ends in order. killed: kills all children at once. normal: ignored. Others: in order, with that reason.
  virtual void request_exit(const exit_reason& why) noexcept = 0;
  /// It is idle and is never started again: gives back what it kept for another start (its children's roles). Any thread; the
  /// parent's last call, before its runtime ends.
  virtual void retire() noexcept {}
};

/// A supervisor of either kind, not started; of the runtime whose worker or thread will start it. Throws std::bad_alloc, and
/// runtime_error for a placement that the runtime does not have.
[[nodiscard]] std::shared_ptr<supervisor_node> make_ordered_node(runtime_core& rt,
                                                                 std::shared_ptr<const supervisor_spec> spec);
[[nodiscard]] std::shared_ptr<supervisor_node> make_dynamic_node(runtime_core& rt, const supervisor_options& options);

/// Whether a child may be kept so by a supervisor with this auto_shutdown: errc::invalid_argument with `who` and the field.
[[nodiscard]] result<void> check_child(const child_options& options, child_kind kind, auto_shutdown automatic,
                                       std::string_view who);

/// Whether the spec can be started by an ordered supervisor with this auto_shutdown; the same errors.
[[nodiscard]] result<void> check_start(const child_spec& spec, auto_shutdown automatic);

/// The library's way into child_spec.
struct child_spec_access {
  /// Leaves the spec as it is kept of a temporary child: it can not be started. Neither the id nor the options are touched:
  /// the worker on which the child crashes may be reading the id for its report.
  static void drop_making(child_spec& spec) noexcept {
    std::visit([](auto& m) { m.reset(); }, spec.making_);
  }
};

/// The library's way into any_child.
struct any_child_access {
  static any_child of_cell(const class_info& info, const address& role) noexcept {
    any_child c;
    c.class_ = &info;
    c.role_ = role;
    return c;
  }
  static any_child of_node(std::shared_ptr<supervisor_node> node) noexcept {
    any_child c;
    c.node_ = std::move(node);
    return c;
  }
  [[nodiscard]] KARYON_API static any_child of_tree(const ordered_supervisor& tree);
  static const std::shared_ptr<supervisor_node>& node(const any_child& c) noexcept { return c.node_; }
};

/// While one lives on a thread, start_info() of the constructor of that slot's object, and of no other that it starts from
/// within, writes into the note.
class KARYON_API start_note_scope {
public:
  start_note_scope(start_note& note, const cell_slot& of) noexcept;
  ~start_note_scope();
  start_note_scope(const start_note_scope&) = delete;
  start_note_scope& operator=(const start_note_scope&) = delete;

private:
  start_note* previous_note_;
  const cell_slot* previous_of_;
};

}  // namespace karyon::detail
