#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/cell/broadcast.hpp>
#include <karyon/cell/runtime.hpp>
#include <karyon/core/type_name.hpp>
#include <karyon/sim/random.hpp>

/// For tests of one's own cells: a world in which unchanged cells and supervisors run on one thread, in an order that follows
/// from a seed, in a time that passes when the test says so. What goes wrong once goes wrong again with the same seed.
namespace karyon::testing {

/// What was expected of a simulated world did not come about. Its text says what, when, and with which seed.
class KARYON_API failure : public std::exception {
public:
  explicit failure(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

private:
  std::string text_;
};

/// How a simulated world is made. The defaults suit most tests.
struct world_options {
  /// Decides everything that is left to chance. The same program, compiled the same way, does the same in every run.
  std::uint64_t seed = 1;
  /// How many simulated workers, 1 to 1,024, and over how many NUMA nodes they are spread, 1 to `workers`.
  std::uint32_t workers = 2;
  std::uint32_t nodes = 1;
  /// How much time each turn of a cell takes. Nothing by default: time passes only when a test lets it, or when all cells wait.
  std::chrono::nanoseconds turn_time{0};
  /// Cells that are still busy after so many turns within one call are taken for cells that never come to rest. The world's end
  /// may take more.
  std::uint64_t turns_max = 10'000'000;
  /// Keeps the whole trace, not only its end.
  bool record = false;
  /// Everything else about the runtime. Its machine and the binding of workers are replaced; signals_per_turn is the most.
  runtime_options runtime{};
};

/// How often something is expected.
struct times {
  std::uint64_t least = 1;
  std::uint64_t most = ~std::uint64_t{0};
};
[[nodiscard]] constexpr times exactly(std::uint64_t n) noexcept { return {n, n}; }
[[nodiscard]] constexpr times at_least(std::uint64_t n) noexcept { return {n, ~std::uint64_t{0}}; }
[[nodiscard]] constexpr times at_most(std::uint64_t n) noexcept { return {0, n}; }

namespace detail {

using karyon::detail::address;
using karyon::detail::handle_access;
using karyon::detail::signal;

class driver;

/// A rule on signals of one type: what both sides of the interface know of it.
struct rule_state {
  enum class kind : std::uint8_t { expect, drop, delay };
  kind what = kind::expect;
  bool active = true;
  bool one_receiver = false;
  bool role = false;
  address receiver;
  std::string_view type;
  times expected;
  double chance = 1;
  std::uint64_t acts_most = ~std::uint64_t{0};
  std::chrono::nanoseconds delay{0};
  std::function<bool(const signal&)> when;
  std::uint64_t count = 0;
};

template <class Handle>
inline constexpr bool names_role = karyon::detail::names_role<Handle>;

/// Signals that the runtime sends are not made as a cell's are: no rule would apply to them.
template <class T>
inline constexpr bool runtimes_own = std::is_same_v<T, down> || std::is_same_v<T, exit_signal>;

/// The payload of a signal of type T, however it was sent.
template <class T>
[[nodiscard]] const T& payload_of(const signal& s) noexcept {
  if (s.ops->discard == &karyon::detail::discard_shared<T>) {
    return *static_cast<const karyon::detail::shared_signal<T>&>(s).payload;
  }
  return static_cast<const karyon::detail::payload_signal<T>&>(s).payload;
}

}  // namespace detail

/// A rule that a world holds signals of type T to: made by world::expect, disallow, drop and delay, narrowed by the functions
/// here. A value that names the rule; copies name the same one, and the rule outlives them.
///
/// A signal that a cell stashes was handled then, and is looked at again when unstash() has put it back: it counts twice for an
/// expectation, and can be dropped or delayed the second time. While it lies in the stash no rule reaches it.
///
/// No rule is on `down` and `exit_signal`, which the runtime sends itself.
template <class T>
class rule {
public:
  explicit rule(std::shared_ptr<detail::rule_state> state) noexcept : state_(std::move(state)) {}

  /// Only signals to this receiver: to one incarnation (ref, cell_ref), or to whoever fills a role (child).
  template <class Handle>
  rule to(const Handle& receiver) const {
    state_->one_receiver = true;
    state_->role = detail::names_role<Handle>;
    state_->receiver = detail::handle_access::of(receiver);
    return *this;
  }
  /// Only signals of which this is true. `predicate` takes a const T&. What it throws is a failure of the world, thrown as
  /// `failure` by the call that runs it or by verify().
  template <class Predicate>
  rule when(Predicate predicate) const {
    state_->when = [p = std::move(predicate)](const detail::signal& s) { return p(detail::payload_of<T>(s)); };
    return *this;
  }
  /// Only by chance, with this probability, 0 to 1; drawn from the seed. For drop and delay.
  rule with_chance(double probability) const {
    state_->chance = probability;
    return *this;
  }
  /// Only the first n that it applies to. For drop and delay.
  rule first(std::uint64_t n) const {
    state_->acts_most = n;
    return *this;
  }

  /// How many signals it was applied to so far: seen (expect), dropped or delayed.
  [[nodiscard]] std::uint64_t count() const noexcept { return state_->count; }
  /// It applies no more; an expectation is not verified either.
  void end() const noexcept { state_->active = false; }

private:
  std::shared_ptr<detail::rule_state> state_;
};

/// Where the signals of a world's own runtime and of the test went, and what the rules did with them. A signal sent ends up
/// in exactly one of the first five, once the world has come to rest.
struct signal_accounts {
  std::uint64_t handled = 0;
  std::uint64_t refused = 0;        ///< at the send: dead, restarting, full or without a handler
  std::uint64_t lost = 0;           ///< accepted, but the receiver ended first
  std::uint64_t overflowed = 0;     ///< dropped or conflated by a bounded mailbox (karyon::overflow)
  std::uint64_t dropped = 0;        ///< by a drop rule
  std::uint64_t still_delayed = 0;  ///< held by a delay rule right now
};

class world;
struct seeds;
KARYON_API void for_each_seed(const seeds& which, const world_options& options,
                              const std::function<void(world&)>& body);

/// A runtime whose workers, clock and chance are the test's.
///
/// Everything happens on the thread that made the world, inside the calls below and inside calls that would block on a real
/// runtime (runtime::ask, future::get, supervisor::start_many, stop, ...), which run the world until they have what they wait
/// for. No thread is created. Each turn of a cell, a supervisor or a timer goes to one that is chosen by the seed, on a worker
/// chosen by the seed, for a number of signals chosen by the seed; signals between two cells keep their order, as always.
///
/// Time stands still while cells run, unless `turn_time` says otherwise; when all of them wait, it goes on to the next timer's
/// deadline, in calls that wait. Timers are as exact as on a real runtime: to about half a millisecond, never early.
///
/// One world at a time on a thread; several threads may have one each. Runtimes that are made on the thread while it exists
/// become part of it, and must be gone before it is. Not movable.
class KARYON_API world {
public:
  /// Throws runtime_error for options that can not be.
  explicit world(const world_options& options);
  explicit world(std::uint64_t seed);
  /// Shuts the runtime down, in simulated time. Expectations that were made must have been verified by then: otherwise this
  /// aborts with a sentence, unless an exception is on its way.
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  [[nodiscard]] karyon::runtime& runtime() noexcept { return *runtime_; }
  [[nodiscard]] std::uint64_t seed() const noexcept;
  /// For the test's own choices: follows from the seed, and does not disturb the scheduler's.
  [[nodiscard]] testing::random& random() noexcept { return random_; }

  /// Makes an object that lives a little longer than the world's cells: for what cells report to. What is local to a function
  /// that for_each_seed calls is gone when the world ends its cells.
  template <class T, class... Args>
  T& keep(Args&&... args) {
    auto made = std::make_shared<T>(std::forward<Args>(args)...);
    kept_.push_back(made);
    return *made;
  }

  /// Lets one turn happen. False if there is nothing to run at this moment. As all of the following, it throws `failure` if a
  /// disallowed signal was handled. They and kill() are for the test: called by a cell, they abort with a sentence.
  bool step();
  /// Runs until all cells wait. Throws `failure` if they do not within turns_max turns.
  void run();
  /// Runs, and lets time pass: everything that is due until then happens, in order. Throws as run(). Where turns take time
  /// (world_options::turn_time) it ends with the turn that reaches the time, and cells that are still busy go on in the next call.
  void advance(std::chrono::nanoseconds time);
  /// Runs, and lets time pass, until `condition` holds, which is looked at after each turn; false if it did not within `limit`,
  /// or if nothing is left that could happen.
  [[nodiscard]] bool run_until(const std::function<bool()>& condition,
                               std::chrono::nanoseconds limit = std::chrono::hours(1));

  /// Ends a cell with `killed`, which it can not trap, when it has its next turn; of a child, the incarnation that there is.
  /// False if it has ended already.
  template <class Handle>
  bool kill(const Handle& whom) {
    return kill(detail::handle_access::of(whom), detail::names_role<Handle>);
  }

  /// Since the world was made.
  [[nodiscard]] std::chrono::nanoseconds now() const noexcept;

  /// Signals of type T are to be handled so often; verify() throws if they are not. More of them than expected fail at once.
  template <class T>
  rule<T> expect(times how_often = {}) {
    return add<T>(detail::rule_state::kind::expect, how_often, {});
  }
  /// No signal of type T may be handled.
  template <class T>
  rule<T> disallow() {
    return expect<T>(exactly(0));
  }
  /// Signals of type T are lost when they are about to be handled: nobody is told, a question is not answered. Its payload is
  /// destroyed when the world ends.
  template <class T>
  rule<T> drop() {
    return add<T>(detail::rule_state::kind::drop, {}, {});
  }
  /// Signals of type T are held back for this time when they are about to be handled, each once, while others overtake them.
  /// That is more than a real runtime does, which keeps the order between two cells.
  template <class T>
  rule<T> delay(std::chrono::nanoseconds time) {
    return add<T>(detail::rule_state::kind::delay, {}, time);
  }
  /// Throws `failure` if something that was expected did not happen, or something disallowed did. Ends all expectations.
  void verify();

  [[nodiscard]] signal_accounts accounts() const;
  /// A number for all that has happened so far, in order: equal for equal seeds, in any process of the same program.
  [[nodiscard]] std::uint64_t trace_hash() const noexcept;
  /// How many events it stands for.
  [[nodiscard]] std::uint64_t events() const noexcept;
  /// What happened, a line an event; only the last ones, unless `record` was set. Cells are numbered in the order in which they
  /// first ran, or ended if they never did.
  [[nodiscard]] std::vector<std::string> trace() const;
  /// A report of this moment: `what`, the seed, the time, the last events and log lines.
  [[nodiscard]] std::string describe(std::string_view what) const;
  /// What the runtime logged in this world (and not elsewhere); the last lines.
  [[nodiscard]] std::vector<std::string> log() const;

private:
  friend void for_each_seed(const seeds&, const world_options&, const std::function<void(world&)>&);
  /// After a failure: the world is left as it is, since what its cells refer to may be gone.
  static void abandon(std::unique_ptr<world> failed) noexcept;
  static void run_one(const world_options& options, const std::function<void(world&)>& body);
  template <class T>
  rule<T> add(detail::rule_state::kind what, times how_often, std::chrono::nanoseconds time);
  void add(std::shared_ptr<detail::rule_state> state);
  bool kill(const detail::address& whom, bool role);

  std::unique_ptr<detail::driver> driver_;
  std::vector<std::shared_ptr<void>> kept_;
  std::unique_ptr<karyon::runtime> runtime_;
  testing::random random_;
  int exceptions_before_;
};

/// Which seeds to run: `count` of them from `first` on.
struct seeds {
  std::uint64_t first = 1;
  std::uint64_t count = 100;
};

/// Runs `body` in a world of its own for each seed, then verifies the world's expectations. At the first seed for which the
/// body or the verification throws it stops, and says which seed it was, what happened last, and which command replays it.
///
/// A world in which something failed is left as it is: its cells are not ended, for what they refer to may be gone already
/// (see world::keep).
///
/// What derives from std::exception is thrown on as a `failure` with all of that in its text. Anything else (a failed REQUIRE
/// of Catch2 is such) is thrown on as it is, after the text was written to the standard error stream.
///
/// The environment may choose other seeds: KARYON_SIM_SEED=n only n, KARYON_SIM_SEEDS=n so many from the first on. Throws
/// `failure` if it holds anything else, or if it, or the code, asks for no seed at all.
KARYON_API void for_each_seed(const seeds& which, const world_options& options,
                              const std::function<void(world&)>& body);
KARYON_API void for_each_seed(const seeds& which, const std::function<void(world&)>& body);

template <class T>
rule<T> world::add(detail::rule_state::kind what, times how_often, std::chrono::nanoseconds time) {
  static_assert(!detail::runtimes_own<T>,
                "karyon: rules are on signals that cells and tests send, not on the runtime's own");
  auto state = std::make_shared<detail::rule_state>();
  state->what = what;
  state->type = type_name<T>();
  state->expected = how_often;
  state->delay = time;
  add(state);
  return rule<T>(std::move(state));
}

}  // namespace karyon::testing
