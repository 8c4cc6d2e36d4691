#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/cell/runtime.hpp>

namespace karyon {

/// When a child that has ended is started again.
enum class restart_type : std::uint8_t {
  permanent,  ///< Always.
  transient,  ///< Unless it ended as expected: normal or shutdown.
  temporary,  ///< Never.
};

/// Which children are restarted when one ends.
enum class restart_strategy : std::uint8_t {
  one_for_one,  ///< The one that ended.
};
inline constexpr restart_strategy one_for_one = restart_strategy::one_for_one;

/// How many restarts within how long are still taken for bad luck. One more, and the supervisor gives up: it ends its
/// children and itself with `shutdown`. Zero restarts: the first failure that calls for one ends it.
struct restart_intensity {
  std::uint32_t restarts = 1;
  std::chrono::nanoseconds period = std::chrono::seconds(5);
};

struct supervisor_options {
  restart_strategy strategy = one_for_one;
  /// For all children together, however many shards they are spread over.
  restart_intensity intensity;
  /// How long stop() and terminate() wait for children to end when asked, before they kill them.
  std::chrono::milliseconds shutdown_deadline{5000};
};

/// How one child is kept.
struct child_options {
  restart_type restart = restart_type::permanent;
  /// near_parent() lets the supervisor choose: its shards in turn, so that children spread over all workers.
  placement where;
};

namespace detail {

/// Makes a child's incarnations: the class and the arguments, kept as long as the role. Shared by children that were
/// started together.
class KARYON_API child_factory {
public:
  child_factory(const class_info& info, child_options options) noexcept : info_(&info), options_(options) {}
  child_factory(const child_factory&) = delete;
  child_factory& operator=(const child_factory&) = delete;
  virtual ~child_factory() = default;

  /// Constructs incarnation after incarnation of child number `index`; called on one thread at a time for an index, on any
  /// number for different ones. Throws what the constructor throws.
  virtual void construct(void* place, std::uint32_t index) const = 0;

  [[nodiscard]] const class_info& info() const noexcept { return *info_; }
  [[nodiscard]] const child_options& options() const noexcept { return options_; }

  void acquire(std::uint32_t n) noexcept { references_.fetch_add(n, std::memory_order_relaxed); }
  /// Acquire-release: whoever frees it sees all that the other owners did with it.
  void release(std::uint32_t n) noexcept {
    if (references_.fetch_sub(n, std::memory_order_acq_rel) == n) delete this;
  }

private:
  const class_info* info_;
  child_options options_;
  std::atomic<std::uint32_t> references_{1};
};

template <class C, class... Args>
class fixed_factory final : public child_factory {
public:
  template <class... Us>
  explicit fixed_factory(child_options options, Us&&... args)
      : child_factory(class_info_of<C>::value, options), args_(std::forward<Us>(args)...) {}
  void construct(void* place, std::uint32_t) const override {
    std::apply([place](const Args&... args) { ::new (place) C(args...); }, args_);
  }

private:
  std::tuple<Args...> args_;
};

template <class C, class F>
class indexed_factory final : public child_factory {
public:
  indexed_factory(child_options options, F f) : child_factory(class_info_of<C>::value, options), f_(std::move(f)) {}
  void construct(void* place, std::uint32_t index) const override {
    std::apply([place](auto&&... args) { ::new (place) C(std::forward<decltype(args)>(args)...); }, f_(index));
  }

private:
  F f_;
};

class supervisor_core;

}  // namespace detail

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
  /// signals. Throws what the first constructor call throws, and runtime_error (`closed`) after the supervisor has ended.
  /// O(1); may be called from cells.
  template <class C, class... Args>
  child<C> start(Args&&... args) {
    return start_with<C>(child_options{}, std::forward<Args>(args)...);
  }
  template <class C, class... Args>
  child<C> start_with(const child_options& options, Args&&... args) {
    auto* factory = new detail::fixed_factory<C, std::decay_t<Args>...>(options, std::forward<Args>(args)...);
    return detail::handle_access::make<child<C>>(start_one(factory));
  }

  /// Starts n alike children on all shards in parallel and returns when all accept signals; in order of their index.
  /// If a constructor throws, those already started are ended and the first exception is thrown. 2^32 - 2 at most.
  /// From a cell, it starts them one after the other on the calling worker's shard.
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

  /// Ends one child for good (asked with `shutdown`, its spec forgotten). False if it is not one of ours any more.
  template <class C>
  bool terminate(const child<C>& c) {
    return terminate_role(detail::handle_access::of(c));
  }

  /// Ends all children and the supervisor: asks all with `shutdown`, kills after the deadline. Blocks until done when called from
  /// a thread; from a cell it only begins. Idempotent.
  void stop();

  [[nodiscard]] std::size_t children() const noexcept;
  [[nodiscard]] std::uint64_t restarts() const noexcept;
  /// Why it has ended: `shutdown` after stop() or when the restart intensity was exceeded; nothing while it runs.
  [[nodiscard]] std::optional<exit_reason> ended() const;
  explicit operator bool() const noexcept { return core_ != nullptr; }

private:
  friend class runtime;
  explicit supervisor(std::shared_ptr<detail::supervisor_core> core) noexcept : core_(std::move(core)) {}

  /// Both take over the factory's first reference.
  detail::address start_one(detail::child_factory* factory);
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
