#pragma once

#include <any>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <karyon/supervise/child_spec.hpp>
#include <karyon/supervise/supervisor_spec.hpp>

namespace karyon {

class ordered_supervisor;

namespace detail {
class supervisor_node;
class supervisor_core;
class ordered_core;
struct any_child_access;
}  // namespace detail

/// What supervisor::try_start gives.
template <class C>
struct started {
  karyon::child<C> child;  ///< Empty if the start was ignored.
  std::any info;           ///< What the constructor gave to start_info.
};

/// Keeps children alive: starts them, restarts them when they fail, gives up when they fail too often, stops them all.
///
/// A value that names the supervisor; copies name the same one. The supervisor lives until stop(), or until its runtime
/// shuts down, whether or not a handle is left. Its children are spread over shards, one a worker, each of which notices
/// and mends its own children's ends, so that mass failures are mended in parallel; the restart budget is one for all.
///
/// Threads: any, also cells, except where said.
class KARYON_API supervisor {
public:
  supervisor() = default;

  /// Starts one child with these constructor arguments, which are copied for each restart, and returns when it accepts
  /// signals. Throws what the first constructor call throws, and runtime_error: `closed` after the supervisor has ended,
  /// `refused` at max_children, `invalid_argument` for options that contradict each other. An empty handle if the constructor
  /// threw ignore_start. O(1); may be called from cells.
  template <class C, class... Args>
  child<C> start(Args&&... args) {
    return start_with<C>(child_options{}, std::forward<Args>(args)...);
  }
  /// The same for a child that is kept in another way: restarted or not, ended, placed.
  template <class C, class... Args>
  child<C> start_with(const child_options& options, Args&&... args) {
    auto* factory = new detail::fixed_factory<C, std::decay_t<Args>...>(options, std::forward<Args>(args)...);
    return detail::handle_access::make<child<C>>(start_one(factory));
  }

  /// Starts n alike children on all shards in parallel and returns when all accept signals; in order of their index.
  /// If a constructor throws, those already started are ended and the first exception is thrown. 2^32 - 2 at most.
  /// From a cell, its constructor included, it constructs them one after the other on the calling thread, for all shards in turn.
  template <class C, class... Args>
  std::vector<child<C>> start_many(std::size_t n, Args&&... args) {
    return start_all<C>(
        n, new detail::fixed_factory<C, std::decay_t<Args>...>(child_options{}, std::forward<Args>(args)...));
  }
  /// The same with arguments by index: `args_of(index)` returns a tuple of constructor arguments; it is called again
  /// for each restart, from several threads.
  template <class C, class F>
  std::vector<child<C>> start_each(std::size_t n, F args_of, const child_options& options = {}) {
    return start_all<C>(n, new detail::indexed_factory<C, F>(options, std::move(args_of)));
  }

  /// start_with with errors as values, those of start, `start_failed` with the constructor's type and words, and `out_of_memory`; and with
  /// what the constructor gave to start_info.
  template <class C, class... Args>
  result<started<C>> try_start(const child_options& options, Args&&... args) {
    started<C> s;
    auto* factory = new detail::fixed_factory<C, std::decay_t<Args>...>(options, std::forward<Args>(args)...);
    return start_noted(factory, s.info).map([&](const detail::address& a) {
      s.child = detail::handle_access::make<child<C>>(a);
      return std::move(s);
    });
  }
  /// Starts a supervisor as a child of this one; the calling thread waits for its children to have started (not on a worker:
  /// would_block). Other errors as runtime::start: invalid_argument with the path of what is at fault, start_failed, and refused and
  /// closed as start.
  result<ordered_supervisor> start_tree(const supervisor_spec& spec, const child_options& options = {});

  /// Ends one child for good (by its shutdown policy, its spec forgotten); does not wait. False if it is not one of ours any more.
  /// Throws std::bad_alloc.
  template <class C>
  bool terminate(const child<C>& c) {
    return terminate_role(detail::handle_access::of(c));
  }

  /// Ends all children and the supervisor: asks all with `shutdown`, kills after the deadline. Blocks until done when called from
  /// a thread; from a cell, its constructor included, it only begins. Idempotent.
  void stop();
  /// An exit signal to the supervisor, see ordered_supervisor::exit.
  void exit(exit_reason why);
  /// An exit signal to each child, without a message each where a child is idle; does not wait. Those started meanwhile may
  /// be missed. Throws std::bad_alloc.
  void exit_children(const exit_reason& why);

  /// How many there are, those included that are being started or restarted. With max_children (or an intensity_share) the
  /// number of one moment, never more than max_children. Without, a sum over the shards: each part is exact when it is read, so
  /// only children that start or end during the call can be missed or counted twice. Any thread; O(workers).
  [[nodiscard]] std::size_t children() const noexcept;
  /// The restarts since it was made that the intensity allowed, those of them that failed included; over all its lives where a
  /// supervisor restarts it. Any thread; a sum over the shards that need not be of one moment.
  [[nodiscard]] std::uint64_t restarts() const noexcept;
  /// Why it has ended: `shutdown` after stop() or when the restart intensity was exceeded; nothing while it runs.
  [[nodiscard]] std::optional<exit_reason> ended() const;
  /// Waits until it has ended; false after the timeout. Not within a cell (false at once).
  bool wait_ended(std::chrono::nanoseconds timeout) const;
  explicit operator bool() const noexcept { return core_ != nullptr; }
  friend bool operator==(const supervisor&, const supervisor&) = default;

private:
  friend class runtime;
  friend class any_child;
  explicit supervisor(std::shared_ptr<detail::supervisor_core> core) noexcept : core_(std::move(core)) {}

  /// Both take over the factory's first reference.
  detail::address start_one(detail::child_factory* factory);
  result<detail::address> start_noted(detail::child_factory* factory, std::any& info);
  void start_range(detail::child_factory* factory, std::size_t n, detail::address* out);
  bool terminate_role(const detail::address& role);

  template <class C>
  std::vector<child<C>> start_all(std::size_t n, detail::child_factory* factory) {
    std::vector<detail::address> addresses(n);
    start_range(factory, n, addresses.data());
    std::vector<child<C>> children;
    children.reserve(n);
    for (const detail::address& a : addresses) children.push_back(detail::handle_access::make<child<C>>(a));
    return children;
  }

  std::shared_ptr<detail::supervisor_core> core_;
};

}  // namespace karyon
