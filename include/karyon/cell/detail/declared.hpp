#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/signal.hpp>
#include <karyon/cell/overflow.hpp>
#include <karyon/cell/priority.hpp>

// What a cell class declares of its mailbox and its turns, with the defaults of what it does not mention.

namespace karyon::detail {

/// How waiting signals of one type are found by key. Two signals with one rule are of one type.
struct conflation_rule {
  /// False if the key can not be had (it threw): the signal then waits by itself.
  bool (*hash)(const signal& s, std::uint64_t& to) noexcept;
  bool (*same)(const signal& a, const signal& b) noexcept;
  /// `waiting` takes over the value of `newer`, which remains to be discarded.
  void (*replace)(signal& waiting, signal& newer) noexcept;
};

template <class C>
constexpr std::uint32_t mailbox_limit_of() noexcept {
  if constexpr (requires { C::mailbox_limit; }) {
    static_assert(static_cast<std::uint64_t>(C::mailbox_limit) <= 1'000'000'000,
                  "karyon: mailbox_limit is at most 1,000,000,000");
    return static_cast<std::uint32_t>(C::mailbox_limit);
  } else {
    return 0;
  }
}

template <class C>
constexpr overflow overflow_of() noexcept {
  if constexpr (requires { C::mailbox_overflow; }) {
    static_assert(mailbox_limit_of<C>() != 0,
                  "karyon: mailbox_overflow is for bounded mailboxes: declare mailbox_limit as well");
    return C::mailbox_overflow;
  } else {
    return overflow::refuse;
  }
}

template <class C>
constexpr priority priority_of() noexcept {
  if constexpr (requires { C::run_priority; }) {
    return C::run_priority;
  } else {
    return priority::normal;
  }
}

template <class C>
constexpr bool slows_when_full() noexcept {
  if constexpr (requires { C::slow_when_full; }) {
    return C::slow_when_full;
  } else {
    return false;
  }
}

template <class C>
constexpr bool has_high_signals() noexcept {
  return requires { typename C::high_priority; };
}
template <class C, class T>
constexpr bool is_high_signal() noexcept {
  if constexpr (has_high_signals<C>()) {
    return C::high_priority::template contains<T>;
  } else {
    return false;
  }
}

template <class C, class T>
concept has_conflation_key = requires(const T& s) {
  C::conflation_key(s);
};

template <class C, class T>
constexpr bool is_conflated() noexcept {
  return overflow_of<C>() == overflow::conflate && has_conflation_key<C, T>;
}

template <class C, class T>
struct conflation_of {
  static_assert(
      std::is_nothrow_move_assignable_v<T>,
      "karyon: a signal that is conflated by key replaces one that waits: it must be assignable by a move that "
      "does not throw");
  using key = std::remove_cvref_t<decltype(C::conflation_key(std::declval<const T&>()))>;

  static const T& payload_of(const signal& s) noexcept { return static_cast<const payload_signal<T>&>(s).payload; }
  static bool hash(const signal& s, std::uint64_t& to) noexcept {
    try {
      to = std::hash<key>()(C::conflation_key(payload_of(s)));
      return true;
    } catch (...) {
      return false;
    }
  }
  static bool same(const signal& a, const signal& b) noexcept {
    try {
      return C::conflation_key(payload_of(a)) == C::conflation_key(payload_of(b));
    } catch (...) {
      return false;
    }
  }
  static void replace(signal& waiting, signal& newer) noexcept {
    static_cast<payload_signal<T>&>(waiting).payload = std::move(static_cast<payload_signal<T>&>(newer).payload);
  }
  static constexpr conflation_rule rule{&hash, &same, &replace};
};

template <class C, class T>
constexpr const conflation_rule* conflation_rule_of() noexcept {
  if constexpr (is_conflated<C, T>()) {
    return &conflation_of<C, T>::rule;
  } else {
    return nullptr;
  }
}

/// What the turns of a class's cells need beyond those of a plain one; nothing, for nearly all.
struct turn_needs {
  overflow on_overflow = overflow::refuse;
  priority run = priority::normal;
  bool slows = false;    // gives way while a receiver's mailbox is nearly full
  bool backlog = false;  // its cells have one (src/cell/backlog.hpp)
  bool any = false;      // its turns are not the plain ones

  /// Whether signals that were accepted may be dropped while they wait, by the cell or by senders.
  [[nodiscard]] constexpr bool drops_waiting() const noexcept {
    return on_overflow == overflow::drop_oldest || on_overflow == overflow::conflate;
  }
};

template <class C>
constexpr turn_needs turn_needs_of() noexcept {
  turn_needs n{overflow_of<C>(), priority_of<C>(), slows_when_full<C>()};
  n.backlog = n.on_overflow == overflow::conflate || n.slows || has_high_signals<C>();
  n.any = n.backlog || n.drops_waiting();
  return n;
}

}  // namespace karyon::detail
