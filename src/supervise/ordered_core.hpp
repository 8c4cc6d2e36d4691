#pragma once

#include <any>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cell/runtime_core.hpp"
#include "cell/slot.hpp"
#include "sched/task.hpp"
#include "sched/timer_wheel.hpp"
#include "supervise/node.hpp"
#include "supervise/ordered_logic.hpp"
#include "supervise/waiting.hpp"
#include "supervise/wake_list.hpp"

namespace karyon::detail {

/// An ordered supervisor behind its handles: carries out what ordered_logic decides.
///
/// A task pinned to one worker, which alone runs the logic, constructs the children and starts timers, a bounded number of
/// steps a turn. Others reach it through `wakes_` (slots of children that have ended) and `inbox_` (commands, reports of
/// supervisors below); what is asked about it is answered from `children_`, under a lock that is never held for long.
///
/// A child's slot and role are kept as long as its spec is, also without a cell and while the supervisor itself is between two
/// lives, so that handles survive; forget() and retire() give them back.
class ordered_core final : public supervisor_node, public node_parent, public guardian, public task {
public:
  /// Throws runtime_error for a placement that the runtime does not have. `spec` has been checked.
  ordered_core(runtime_core& rt, std::shared_ptr<const supervisor_spec> spec);
  ~ordered_core() override;

  void begin_start(node_parent& parent, const std::string& path) noexcept override;
  void request_exit(const exit_reason& why) noexcept override;
  void retire() noexcept override;
  void child_reports(supervisor_node& child, report what, const exit_reason& why) noexcept override;

  // -- for handles, any thread -----------------------------------------------------------------------------------------

  /// The answer to `to` is a result<started_child> for the first and the third, result<void> for the others.
  void start_child(child_spec spec, reply_address to);
  void terminate_child(std::string_view id, reply_address to);
  void restart_child(std::string_view id, reply_address to);
  void delete_child(std::string_view id, reply_address to);

  [[nodiscard]] std::vector<child_info> list() const;
  [[nodiscard]] child_counts count() const;
  [[nodiscard]] result<child_spec> spec_of(std::string_view id) const;
  [[nodiscard]] any_child find(std::string_view id) const;
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::optional<exit_reason> ended() const;
  [[nodiscard]] bool wait_ended(std::chrono::nanoseconds timeout) const;
  /// As request_exit(shutdown), and waits for the end of the life that it is in. Not on a worker's thread.
  void stop();

private:
  using key = ordered_logic::key;

  struct retry_timer : timer {
    ordered_core* owner = nullptr;
    key child = ordered_logic::no_child;
  };
  struct deadline_timer : timer {
    ordered_core* owner = nullptr;
  };
  /// One child. The worker's; what others read of it (all but the timer) is written under table_mutex_.
  struct kept_child {
    explicit kept_child(child_spec s) : spec(std::move(s)) {}
    child_spec spec;
    key number = ordered_logic::no_child;
    child_state state = child_state::stopped;
    bool declared = false;  // by the supervisor's own spec: started again with it
    bool listed = false;
    bool ignored = false;
    child_factory* factory = nullptr;  // cells: one reference
    const class_info* info_of_class = nullptr;
    cell_slot* slot = nullptr;
    std::uint32_t role = 0;
    exit_reason last_end;                   // the worker's
    std::shared_ptr<supervisor_node> node;  // supervisors
    std::any info;                          // what the last start has noted
    retry_timer retry;
  };
  using table = std::map<key, std::unique_ptr<kept_child>>;
  struct command {
    enum kind : std::uint8_t { begin, exit, report, start, terminate, restart, remove } what;
    reply_address to;
    std::string id;
    std::optional<child_spec> spec;
    exit_reason why;
    supervisor_node* node = nullptr;
    node_parent::report reported = node_parent::report::started;
  };
  struct asker {
    command::kind what;
    reply_address to;
  };

  static void child_has_ended(guardian& self, cell_slot& s) noexcept;
  static void write_path(const guardian& self, const cell_slot* child, std::string& path);
  static void run_turn(task* t, worker& w);
  void schedule() noexcept { runtime_.workers().schedule(this, worker_, true); }
  void post(command c) noexcept;
  [[nodiscard]] bool keep(command& c) noexcept;
  static void refuse(command& c) noexcept;
  static void reply(asker& a, result<started_child> outcome) noexcept;

  // On the worker, in a turn.
  void turn() noexcept;
  void take_ends() noexcept;
  void take_timers();
  void take_commands();
  void take(command& c);
  void begin_life();
  void carry_out();
  void carry_out(ordered_logic::effect& e);
  void start(kept_child& c);
  void start_cell(kept_child& c);
  void prepare_slot(kept_child& c);
  void start_node(kept_child& c);
  void end_child(kept_child& c, const exit_reason& why) noexcept;
  void show(kept_child& c, child_state state);
  void send_answer(ordered_logic::effect& e);
  void send_report(const ordered_logic::effect& e);
  void forget(key child);
  void release(kept_child& c) noexcept;
  void arm(timer& t, std::uint64_t delay_ns) noexcept;
  static void disarm(timer& t) noexcept;
  void finish() noexcept;

  [[nodiscard]] kept_child* at(key child) noexcept;
  [[nodiscard]] const kept_child* at(std::string_view id) const;  // table_mutex_ held
  [[nodiscard]] static any_child handle_of(const kept_child& c) noexcept;

  runtime_core& runtime_;
  const std::shared_ptr<const supervisor_spec> spec_;
  const unsigned worker_;
  wake_list wakes_;

  std::mutex mutex_;
  // mutex_:
  std::vector<command> inbox_;
  std::optional<exit_reason> late_exit_;  // that inbox_ had no memory for
  bool active_ = false;                   // from begin_start to the report of the end
  // Set after inbox_ has got something, reset before it is taken: a start may take long, and what came meanwhile goes first.
  std::atomic<bool> news_{false};
  // Written by begin_start, before the turn that it causes; constant until the end.
  node_parent* parent_ = nullptr;
  std::string path_;

  mutable std::mutex table_mutex_;
  table children_;                               // written by the worker under table_mutex_
  std::map<std::string, key, std::less<>> ids_;  // of the listed ones; the same

  // The worker's.
  std::optional<ordered_logic> logic_;
  std::unordered_map<const supervisor_node*, key> node_keys_;
  std::map<ordered_logic::ticket, asker> askers_;
  std::vector<command> working_;
  std::vector<key> due_retries_;
  deadline_timer deadline_;
  ordered_logic::ticket last_ticket_ = 0;
  key last_key_ = ordered_logic::no_child;
  std::optional<node_parent::report> over_;
  exit_reason over_why_;
  bool deadline_due_ = false;
  std::uint64_t restarts_before_ = 0;  // of earlier lives

  std::atomic<std::uint64_t> restarts_{0};
  waiting_room room_;
  std::uint64_t lives_begun_ = 0;  // room_
  std::uint64_t lives_over_ = 0;   // room_
  exit_reason ended_;              // room_, once a life is over
};

}  // namespace karyon::detail
