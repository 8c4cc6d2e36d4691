#pragma once

#include <any>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <karyon/cell/runtime.hpp>

namespace karyon {

/// When a child that has ended is started again. OTP's `restart`.
enum class restart_type : std::uint8_t {
  permanent,  ///< Always.
  transient,  ///< Unless it ended as expected: normal, or shutdown with or without words.
  temporary,  ///< Never; neither its spec nor its arguments are kept.
};

/// How a child is made to end. OTP's `shutdown`.
class child_shutdown {
public:
  /// Asked to (exit signal `shutdown`), then killed if it is still there after `deadline`. Below 0: refused when the child is
  /// started (errc::invalid_argument).
  [[nodiscard]] static constexpr child_shutdown within(std::chrono::milliseconds deadline) noexcept {
    return child_shutdown(deadline != unasked ? deadline : std::chrono::milliseconds(-1));
  }
  /// Killed without being asked.
  [[nodiscard]] static constexpr child_shutdown brutal_kill() noexcept { return child_shutdown(unasked); }
  /// Asked, and waited for however long it takes. For supervisors, which need the time that their children need.
  [[nodiscard]] static constexpr child_shutdown infinity() noexcept {
    return child_shutdown(std::chrono::milliseconds::max());
  }

  [[nodiscard]] constexpr bool is_brutal_kill() const noexcept { return deadline_ == unasked; }
  [[nodiscard]] constexpr bool is_infinity() const noexcept { return deadline_ == std::chrono::milliseconds::max(); }
  /// Meaningful if it is neither of the two.
  [[nodiscard]] constexpr std::chrono::milliseconds deadline() const noexcept { return deadline_; }
  friend constexpr bool operator==(const child_shutdown&, const child_shutdown&) = default;

private:
  // No deadline that somebody computes, as -1 ms would be.
  static constexpr std::chrono::milliseconds unasked = std::chrono::milliseconds::min();

  explicit constexpr child_shutdown(std::chrono::milliseconds deadline) noexcept : deadline_(deadline) {}
  std::chrono::milliseconds deadline_;
};

/// What happens at a restart to the signals that waited in the child's mailbox.
enum class mailbox_policy : std::uint8_t {
  /// Dropped and counted; questions among them fail at once with the reason. OTP's way: the safest, for one of them may be
  /// what the next incarnation would fail of.
  dropped,
  /// Kept, in their order, with the signal that was being handled first (where its type can be copied: it is handled as a copy
  /// then; a signal that can only be moved is spent, and counted as dropped). A handler that has returned has handled its signal, also
  /// if the cell ends by it.
  kept,
  /// Kept without the signal that was being handled.
  kept_without_last,
};

/// What a child is: a cell, or a supervisor of either kind. OTP's `type`.
enum class child_kind : std::uint8_t { worker, supervisor };

/// How one child is kept.
struct child_options {
  restart_type restart = restart_type::permanent;
  /// By default 5 s for a cell and infinity for a supervisor.
  std::optional<child_shutdown> shutdown{};
  /// Its end by itself may end its supervisor, see auto_shutdown. Not for permanent children.
  bool significant = false;
  mailbox_policy mailbox = mailbox_policy::dropped;
  /// near_parent() lets the supervisor choose: a supervisor with many children spreads them over its workers, an ordered one
  /// keeps them on its own NUMA node.
  placement where{};
};

/// Thrown by a child's constructor: do not start me, and that is no failure. OTP's `ignore`.
///
/// The spec is kept without a cell (ordered supervisors; restart_child starts it later), or dropped (temporary children, and
/// supervisors of many children).
struct ignore_start {};

/// Called by a child's constructor: gives whoever starts it a value beside the handle. OTP's `{ok, Pid, Info}`. The last
/// call counts; elsewhere than in a constructor run by a supervisor it does nothing.
KARYON_API void start_info(std::any info);

struct supervisor_spec;
struct supervisor_options;

namespace detail {

struct child_spec_access;

/// What a start has come to, beside the cell.
struct start_note {
  std::any info;
};

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
  /// Acquire-release pairs with that of the other owners: whoever frees it sees all that they did with it.
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
  static_assert(std::is_constructible_v<C, const Args&...>,
                "karyon: a child is constructed from copies of its arguments at each start: its class needs a public "
                "constructor that takes them by value or as const references (supervisor::start_each and "
                "child_spec::made_by make what can not be copied)");

public:
  template <class... Us>
  explicit fixed_factory(const child_options& options, Us&&... args)
      : child_factory(class_info_of<C>::value, options), args_(std::forward<Us>(args)...) {}
  void construct(void* place, std::uint32_t) const override {
    std::apply([place](const Args&... args) { ::new (place) C(args...); }, args_);
  }

private:
  std::tuple<Args...> args_;
};

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

/// Constructs C from what a factory function returned: a tuple of arguments, or an optional one.
template <class C, class Made>
void construct_from(void* place, Made&& made) {
  if constexpr (is_optional<std::remove_cvref_t<Made>>::value) {
    if (!made) throw ignore_start{};
    construct_from<C>(place, *std::forward<Made>(made));
  } else {
    std::apply([place](auto&&... args) { ::new (place) C(std::forward<decltype(args)>(args)...); },
               std::forward<Made>(made));
  }
}

template <class C, class F>
class indexed_factory final : public child_factory {
public:
  indexed_factory(const child_options& options, F f)
      : child_factory(class_info_of<C>::value, options), f_(std::move(f)) {}
  void construct(void* place, std::uint32_t index) const override { construct_from<C>(place, f_(index)); }

private:
  F f_;
};

template <class C, class F>
class called_factory final : public child_factory {
public:
  called_factory(const child_options& options, F f)
      : child_factory(class_info_of<C>::value, options), f_(std::move(f)) {}
  void construct(void* place, std::uint32_t) const override { construct_from<C>(place, f_()); }

private:
  F f_;
};

/// A cell's factory before its options are settled: `make(options)` gives a fresh one with one reference.
class KARYON_API cell_recipe {
public:
  cell_recipe() = default;
  cell_recipe(const cell_recipe&) = delete;
  cell_recipe& operator=(const cell_recipe&) = delete;
  virtual ~cell_recipe() = default;
  [[nodiscard]] virtual child_factory* make(const child_options& options) const = 0;
  [[nodiscard]] virtual const class_info& info() const noexcept = 0;
  /// A function object that can be empty, and is.
  [[nodiscard]] virtual bool empty() const noexcept { return false; }
};

template <class C, class... Args>
class fixed_recipe final : public cell_recipe {
public:
  template <class... Us>
  explicit fixed_recipe(Us&&... args) : args_(std::forward<Us>(args)...) {}
  [[nodiscard]] child_factory* make(const child_options& options) const override {
    return std::apply([&](const Args&... args) { return new fixed_factory<C, Args...>(options, args...); }, args_);
  }
  [[nodiscard]] const class_info& info() const noexcept override { return class_info_of<C>::value; }

private:
  std::tuple<Args...> args_;
};

template <class C, class F>
class called_recipe final : public cell_recipe {
public:
  explicit called_recipe(F f) : f_(std::move(f)) {}
  [[nodiscard]] child_factory* make(const child_options& options) const override {
    return new called_factory<C, F>(options, f_);
  }
  [[nodiscard]] const class_info& info() const noexcept override { return class_info_of<C>::value; }
  [[nodiscard]] bool empty() const noexcept override {
    if constexpr (requires { static_cast<bool>(f_); }) {
      return !static_cast<bool>(f_);
    } else {
      return false;
    }
  }

private:
  F f_;
};

}  // namespace detail

/// One child of an ordered supervisor: its id, how it is made, how it is kept. OTP's child specification.
///
/// A value; copies share what they are made of, which is immutable. Checked when it is started (errc::invalid_argument, with
/// the field's name).
class KARYON_API child_spec {
public:
  /// A cell of class C, constructed from copies of these arguments at each start. Ids are unique among siblings, not empty.
  template <class C, class... Args>
  [[nodiscard]] static child_spec of(std::string id, Args&&... args) {
    return {std::move(id),
            std::make_shared<const detail::fixed_recipe<C, std::decay_t<Args>...>>(std::forward<Args>(args)...)};
  }
  /// A cell of class C whose constructor arguments `f()` makes anew for each start: a tuple, or an optional tuple, where
  /// nothing means ignore_start. Called on the supervisor's worker; what it throws is a failed start.
  template <class C, class F>
  [[nodiscard]] static child_spec made_by(std::string id, F f) {
    return {std::move(id), std::make_shared<const detail::called_recipe<C, F>>(std::move(f))};
  }
  /// An ordered supervisor with its own children.
  [[nodiscard]] static child_spec tree(std::string id, supervisor_spec spec);
  /// A supervisor of many alike children, started empty.
  [[nodiscard]] static child_spec dynamic(std::string id, const supervisor_options& options);

  /// The same spec, kept in this way.
  [[nodiscard]] child_spec with(const child_options& options) const& {
    child_spec s = *this;
    s.options_ = options;
    return s;
  }
  [[nodiscard]] child_spec with(const child_options& options) && {
    options_ = options;
    return std::move(*this);
  }

  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] const child_options& options() const noexcept { return options_; }
  [[nodiscard]] child_kind kind() const noexcept {
    return std::holds_alternative<cell_making>(making_) ? child_kind::worker : child_kind::supervisor;
  }
  /// The policy that holds: the options', or the kind's default.
  [[nodiscard]] child_shutdown shutdown() const noexcept;

  // The library's own look inside.
  using cell_making = std::shared_ptr<const detail::cell_recipe>;
  using tree_making = std::shared_ptr<const supervisor_spec>;
  using dynamic_making = std::shared_ptr<const supervisor_options>;
  using making = std::variant<cell_making, tree_making, dynamic_making>;
  [[nodiscard]] const making& made_of() const noexcept { return making_; }

private:
  friend struct detail::child_spec_access;
  child_spec(std::string id, making m) : id_(std::move(id)), making_(std::move(m)) {}

  std::string id_;
  making making_;
  child_options options_;
};

}  // namespace karyon
