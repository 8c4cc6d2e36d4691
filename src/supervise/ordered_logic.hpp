#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/supervise/ordered_supervisor.hpp>
#include <karyon/supervise/supervisor_report.hpp>

namespace karyon::detail {

/// Everything that an ordered supervisor decides, without doing any of it: events and the time go in, effects come out.
/// The same events give the same effects. One thread at a time; one object for one life of the supervisor, from begin to
/// has_ended.
///
/// It does one job at a time: stop some children one after the other, each end confirmed, then start some one after the
/// other. What is no part of the job (ends of other children, retries, commands) waits in `mailbox_`, first come first served,
/// which makes the outcome that of OTP's supervisor, whose jobs block it. An exit request does not wait: it replaces the job.
///
/// A child's life here, and the public state:
///
///   absent    stopped      no incarnation; restarting while a job is about to start it
///   starting  the same     begun, not yet answered (supervisors; a cell's start is answered at once)
///   alive     running
///   dead      running      it has ended, and the message with that is still in the mailbox
///   retrying  restarting   a start is to be tried (again), by a message or a timer
class ordered_logic {
public:
  using key = std::uint32_t;  // rises in start order, never reused within one life
  using ticket = std::uint64_t;
  static constexpr key no_child = 0;

  struct settings {
    restart_strategy strategy = one_for_one;
    restart_intensity intensity;
    restart_backoff backoff;
    karyon::auto_shutdown automatic = karyon::auto_shutdown::never;
    std::uint64_t seed = 0;  // of the back-off's random part
  };
  struct rules {
    std::string id;
    restart_type restart = restart_type::permanent;
    child_shutdown shutdown = child_shutdown::infinity();
    bool significant = false;
  };
  struct effect {
    enum kind : std::uint8_t {
      start,         // child: to be answered by child_started, child_ignored, child_start_failed (or child_ended)
      ask,           // child, why: to be answered by child_ended, as the next
      kill,          // child
      arm_deadline,  // delay_ns: deadline_due then
      cancel_deadline,
      arm_retry,         // child, delay_ns: retry_due then
      cancel_retry,      // child
      become,            // child, state
      forget,            // child: its spec is no longer kept
      report,            // child, context, why
      answer,            // asker, refusal, or child: what was started
      has_started,       // of the supervisor
      start_has_failed,  // why; nothing of it is left
      has_ended,         // why; the same
    };
    kind what;
    key child = no_child;
    exit_reason why;
    std::uint64_t delay_ns = 0;
    ticket asker = 0;
    std::optional<error> refusal;
    child_state state = child_state::stopped;
    supervisor_context context = supervisor_context::start_error;
  };

  explicit ordered_logic(const settings& s) : settings_(s), random_(s.seed) {}

  // -- events --------------------------------------------------------------------------------------------------------

  void begin(std::vector<std::pair<key, rules>> children);
  void child_started(key child, std::uint64_t now);
  void child_ignored(key child);
  void child_start_failed(key child, const exit_reason& why);
  void child_ended(key child, const exit_reason& why, std::uint64_t now);
  void deadline_due();
  void retry_due(key child);
  void start_child(ticket asker, key child, rules r);
  void terminate_child(ticket asker, std::string_view id) { post(command_message(message::terminate, asker, id)); }
  void restart_child(ticket asker, std::string_view id) { post(command_message(message::restart, asker, id)); }
  void delete_child(ticket asker, std::string_view id) { post(command_message(message::remove, asker, id)); }
  /// See ordered_supervisor::exit.
  void request_exit(const exit_reason& why);

  /// Goes one step on; false if there is nothing to do before the next event. The effects of a step, and of an event, are to be
  /// carried out before the next, in order.
  bool step(std::uint64_t now);
  [[nodiscard]] std::vector<effect> take_effects() { return std::exchange(effects_, {}); }

  [[nodiscard]] bool ending() const noexcept { return ending_; }
  /// Restarts that the intensity has allowed, of groups or of single children.
  [[nodiscard]] std::uint64_t restarts() const noexcept { return allowed_; }

private:
  enum class life : std::uint8_t { absent, starting, alive, dead, retrying };
  struct record {
    rules kept;
    life is = life::absent;
    exit_reason end;             // of the dead
    std::uint32_t run = 0;       // how often its life has changed: tells messages that came too late
    bool counted = false;        // retrying: the restart is counted already
    bool timed = false;          // retrying: by a timer
    std::uint32_t waits = 0;     // back-off: so many since it last ran long enough
    std::uint64_t since_ns = 0;  // alive since
  };
  struct message {
    enum kind : std::uint8_t { ended, retry, start, terminate, restart, remove } what;
    key child = no_child;
    std::uint32_t run = 0;
    ticket asker = 0;
    std::string id;
    rules fresh;
  };
  enum class aim : std::uint8_t { nothing, boot, failed_boot, group, add, again, terminate, end };
  struct job {
    aim what = aim::nothing;
    std::vector<key> stops;
    std::vector<key> starts;
    std::size_t stopped = 0;
    std::size_t started = 0;
    bool waiting = false;  // for stops[stopped], or if there are no more, starts[started]
    ticket asker = 0;
    exit_reason why;
  };

  static message command_message(message::kind what, ticket asker, std::string_view id) {
    return {what, no_child, 0, asker, std::string(id), {}};
  }
  void post(message m);
  record* find(key child);
  effect& emit(effect::kind what, key child = no_child);
  void report(key child, supervisor_context context, const exit_reason& why);
  void answer(ticket asker, key child);
  void refuse(ticket asker, errc code, std::string text);
  void change(key child, record& r, life to, child_state shown);
  void drop(key child);
  void settle(key child, record& r);

  [[nodiscard]] bool stopping(key child) const;
  [[nodiscard]] bool starting(key child) const;
  void stop_next();
  void confirm(key child, record& r, const exit_reason& why);
  void start_next();
  void finish();

  void handle(message m, std::uint64_t now);
  void handle_end(key child, record& r, std::uint64_t now);
  void handle_start(message m);
  void handle_id(const message& m);
  void left_by_itself(key child, record& r);
  [[nodiscard]] bool allow_restart(key child, std::uint64_t now);
  void restart_group(key child);
  void retry(key child, record& r, bool counted);
  [[nodiscard]] std::uint64_t next_wait_ns(record& r);
  void refuse_waiting();
  void end_all(const exit_reason& why);

  const settings settings_;
  std::map<key, record> children_;
  std::map<std::string, key, std::less<>> ids_;
  std::deque<message> mailbox_;
  std::deque<std::uint64_t> restarts_;  // the times of those within the period
  std::vector<effect> effects_;
  job job_;
  std::size_t significant_ = 0;  // significant ones that are not absent
  std::uint64_t random_;
  std::uint64_t allowed_ = 0;
  bool running_ = false;
  bool ending_ = false;
  bool killing_ = false;
  bool deadline_armed_ = false;
};

}  // namespace karyon::detail
