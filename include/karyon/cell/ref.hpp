#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <typeindex>
#include <utility>

#include <karyon/cell/signals.hpp>

namespace karyon {

class cell;
class runtime;

namespace detail {

/// Where a handle points: a slot that is never unmapped, and which of its successive tenants is meant.
struct address {
  cell_slot* slot = nullptr;
  std::uint32_t number = 0;  // incarnation (ref, cell_ref) or role (child)
  friend bool operator==(const address&, const address&) = default;
};

struct handle_access;

template <class C, class T>
constexpr bool accepts_signal() noexcept {
  if constexpr (requires { typename C::accepts; }) {
    return C::accepts::template contains<T>;
  } else {
    return false;
  }
}

template <class C, class T>
constexpr void check_signal() {
  static_assert(check_sendable<T>());
  static_assert(
      requires { sizeof(C); },
      "karyon: the receiver's class is only declared here: define it before the end of the source that sends or asks");
  static_assert(
      accepts_signal<C, T>(),
      "karyon: this cell class does not accept this signal: add the type to its public `accepts` and a handler on(T)");
}

/// The class that a handle names. Without one no answer has a type, which is told in a sentence.
template <class Handle>
struct named_class {
  static_assert(
      requires { typename Handle::cell_type; },
      "karyon: only a handle that names a class can be asked, a ref<C> or a child<C>: what a cell_ref's cell answers "
      "is not known");
};
template <class Handle>
requires requires { typename Handle::cell_type; }
struct named_class<Handle> {
  using type = typename Handle::cell_type;
};
template <class Handle>
using asked_class = typename named_class<Handle>::type;

[[nodiscard]] KARYON_API bool incarnation_alive(const address& a) noexcept;
[[nodiscard]] KARYON_API bool role_alive(const address& a) noexcept;
/// The current incarnation in a role; {slot, 0} if there is none right now.
[[nodiscard]] KARYON_API address incarnation_of_role(const address& a) noexcept;
/// The handler table of an incarnation's class for a type found at run time; null if gone or not handled. For a cell in another
/// process `if_remote`, or `not_declared` if that is no signal that may cross.
[[nodiscard]] KARYON_API send_result find_tell(const address& a, std::type_index type, const signal_ops*& ops,
                                               const signal_ops& if_remote);
/// A number for logs and maps: the slot and 23 bits of the incarnation.
[[nodiscard]] KARYON_API std::uint64_t identity(const address& a) noexcept;

}  // namespace detail

/// Names one incarnation of a cell of class C, and sends it what C accepts.
///
/// A plain value of two words: copying it costs no atomic operation, and holding it to a cell that has ended, or whose
/// runtime is gone, is safe for as long as the process lives; sends then say `dead`. Any thread may use it.
/// An incarnation is told from others of its slot by 18 bits: a ref to a supervised child that has since been restarted
/// exactly 262,144 times (or a multiple) would reach the child again; never a cell of another class or role.
/// Order: what one cell (or thread) sends through handles to one cell arrives in the order sent.
template <class C>
class ref {
public:
  using cell_type = C;

  ref() noexcept = default;

  /// Sends one signal: moves (or copies) the value into one new node and links it into the mailbox. Lock-free; one
  /// allocation, one atomic operation. Throws only what copying T throws, and std::bad_alloc.
  template <class T>
  send_result send(T&& value) const {
    using signal_type = std::remove_cvref_t<T>;
    detail::check_signal<C, signal_type>();
    return detail::deliver(at_.slot, at_.number,
                           detail::make_signal<detail::payload_signal<signal_type>>(&detail::tell_ops<C, signal_type>,
                                                                                    std::forward<T>(value)));
  }

  /// Whether this incarnation accepts signals right now; it may end before you act on the answer.
  [[nodiscard]] bool alive() const noexcept { return detail::incarnation_alive(at_); }
  /// A number for logs, reports and hash tables, 0 for an empty ref. Another incarnation of the place may have it again: == is exact.
  [[nodiscard]] std::uint64_t id() const noexcept { return detail::identity(at_); }
  /// Whether it names anything; an empty one sends to nobody, and says `dead`.
  explicit operator bool() const noexcept { return at_.slot != nullptr; }
  friend bool operator==(const ref&, const ref&) = default;

private:
  friend struct detail::handle_access;
  explicit ref(const detail::address& a) noexcept : at_(a) {}
  detail::address at_;
};

/// Names one incarnation of a cell whose class is not known here. What its class accepts is looked up at run time.
///
/// A plain value as ref is, with the same promises; every ref converts to one. Any thread may use it.
class cell_ref {
public:
  cell_ref() noexcept = default;
  template <class C>
  cell_ref(const ref<C>& r) noexcept;  // NOLINT: every ref is a cell_ref

  /// As ref::send, after one hash look-up of the type; `no_handler` if the receiver's class does not accept it.
  template <class T>
  send_result send(T&& value) const {
    using signal_type = std::remove_cvref_t<T>;
    static_assert(detail::check_sendable<signal_type>());
    const detail::signal_ops* ops = nullptr;
    const send_result found =
        detail::find_tell(at_, std::type_index(typeid(signal_type)), ops, detail::remote_only_ops<signal_type>);
    if (found != send_result::accepted) return found;
    return detail::deliver(at_.slot, at_.number,
                           detail::make_signal<detail::payload_signal<signal_type>>(ops, std::forward<T>(value)));
  }

  [[nodiscard]] bool alive() const noexcept { return detail::incarnation_alive(at_); }
  [[nodiscard]] std::uint64_t id() const noexcept { return detail::identity(at_); }
  explicit operator bool() const noexcept { return at_.slot != nullptr; }
  friend bool operator==(const cell_ref&, const cell_ref&) = default;

private:
  friend struct detail::handle_access;
  explicit cell_ref(const detail::address& a) noexcept : at_(a) {}
  detail::address at_;
};

/// Names a supervised role: whichever incarnation fills it at the moment of the call. Survives restarts, in O(1).
///
/// A plain value like ref. Between two incarnations sends say `restarting`; after the child has been ended for good, `dead`.
template <class C>
class child {
public:
  using cell_type = C;

  child() noexcept = default;

  /// As ref::send, to the incarnation of this moment: order holds within each incarnation. `restarting` is over within
  /// microseconds (or when a back-off has passed): who can not lose the signal sends it again.
  template <class T>
  send_result send(T&& value) const {
    using signal_type = std::remove_cvref_t<T>;
    detail::check_signal<C, signal_type>();
    return detail::deliver_to_role(at_.slot, at_.number,
                                   detail::make_signal<detail::payload_signal<signal_type>>(
                                       &detail::tell_ops<C, signal_type>, std::forward<T>(value)));
  }

  /// The incarnation that fills the role now; an empty ref between two incarnations or after the end.
  [[nodiscard]] ref<C> get() const noexcept;
  /// Whether the role exists: true through restarts, false after the child has been ended for good.
  [[nodiscard]] bool alive() const noexcept { return detail::role_alive(at_); }
  explicit operator bool() const noexcept { return at_.slot != nullptr; }
  friend bool operator==(const child&, const child&) = default;

private:
  friend struct detail::handle_access;
  explicit child(const detail::address& a) noexcept : at_(a) {}
  detail::address at_;
};

struct exit_signal {
  cell_ref from;  ///< the cell that has ended, or that asks this one to end; empty where that is no cell
  exit_reason why;
};

/// Names one monitor of the cell that made it.
struct monitor_id {
  std::uint64_t value = 0;
  friend bool operator==(const monitor_id&, const monitor_id&) = default;
};

struct down {
  monitor_id id;  ///< what cell::monitor returned
  cell_ref from;  ///< the cell that has ended
  exit_reason why;
};

namespace detail {

/// The library's way from handles to addresses and back.
struct handle_access {
  template <class Handle>
  static const address& of(const Handle& h) noexcept {
    return h.at_;
  }
  template <class Handle>
  static Handle make(const address& a) noexcept {
    return Handle(a);
  }
};

}  // namespace detail

template <class C>
cell_ref::cell_ref(const ref<C>& r) noexcept : at_(detail::handle_access::of(r)) {}

template <class C>
ref<C> child<C>::get() const noexcept {
  const detail::address now = detail::incarnation_of_role(at_);
  return now.number != 0 ? detail::handle_access::make<ref<C>>(now) : ref<C>();
}

}  // namespace karyon

template <class C>
struct std::hash<karyon::ref<C>> {
  std::size_t operator()(const karyon::ref<C>& r) const noexcept { return std::hash<std::uint64_t>()(r.id()); }
};
template <>
struct std::hash<karyon::cell_ref> {
  std::size_t operator()(const karyon::cell_ref& r) const noexcept { return std::hash<std::uint64_t>()(r.id()); }
};
