#pragma once

#include <chrono>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include <karyon/cell/ref.hpp>
#include <karyon/cell/signals.hpp>

namespace karyon::detail {

// ---- what a timer sends ----------------------------------------------------------------------------------------------

/// A signal that a timer has sent: knows when it was due.
template <class T>
struct timed_signal : payload_signal<T> {
  std::uint64_t due_ns;
  template <class U>
  timed_signal(const signal_ops* o, std::uint64_t due, U&& value)
      : payload_signal<T>(o, std::forward<U>(value)), due_ns(due) {}
};

/// When the timer was due whose signal the running cell is handling, in monotonic nanoseconds; 0: none's is. Within handlers.
[[nodiscard]] KARYON_API std::uint64_t& current_due_ns() noexcept;

class due_scope {
public:
  explicit due_scope(std::uint64_t due_ns) noexcept { current_due_ns() = due_ns; }
  ~due_scope() { current_due_ns() = 0; }
  due_scope(const due_scope&) = delete;
  due_scope& operator=(const due_scope&) = delete;
};

template <class C, class T>
void invoke_timed(void* object, signal& s) {
  const due_scope scope(static_cast<timed_signal<T>&>(s).due_ns);
  invoke_tell<C, T>(object, s);
}

template <class C, class T>
void invoke_timed_copy(void* object, signal& s) {
  const due_scope scope(static_cast<timed_signal<T>&>(s).due_ns);
  invoke_tell_copy<C, T>(object, s);
}

template <class T>
void discard_timed(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<timed_signal<T>*>(s));
}

template <class C, class T>
constexpr signal_ops make_timed_ops() noexcept {
  signal_ops ops = tell_ops<C, T>;
  ops.invoke = &invoke_timed<C, T>;
  ops.discard = &discard_timed<T>;
  ops.bytes = sizeof(timed_signal<T>);
  if constexpr (can_copy<T>()) ops.invoke_copy = &invoke_timed_copy<C, T>;
  return ops;
}

/// As tell_ops, for what a timer sends.
template <class C, class T>
inline constexpr signal_ops timed_ops = make_timed_ops<C, T>();

// ---- what it sends it from -------------------------------------------------------------------------------------------

/// What the library knows of the payload in a timer's record: one constant for each (receiving class, signal type).
struct timer_kind {
  /// The signal to send. `again`: the payload will be needed for another.
  signal* (*make)(void* payload, std::uint64_t due_ns, bool again);
  void (*destroy)(void* payload) noexcept;  // null: there is nothing to do
  std::uint32_t bytes;
  std::uint32_t align;  // at most 16
};

enum class timer_mode : std::uint8_t { once, every, every_skipping };

template <class C, class T>
signal* make_timed(void* payload, std::uint64_t due_ns, bool again) {
  T& value = *static_cast<T*>(payload);
  if constexpr (std::is_copy_constructible_v<T>) {
    if (again) return make_signal<timed_signal<T>>(&timed_ops<C, T>, due_ns, static_cast<const T&>(value));
  }
  return make_signal<timed_signal<T>>(&timed_ops<C, T>, due_ns, std::move(value));
}

template <class T>
constexpr auto timer_payload_end() noexcept -> void (*)(void*) noexcept {
  if constexpr (std::is_trivially_destructible_v<T>) {
    return nullptr;
  } else {
    return [](void* payload) noexcept { static_cast<T*>(payload)->~T(); };
  }
}

template <class C, class T>
inline constexpr timer_kind timer_kind_of{&make_timed<C, T>, timer_payload_end<T>(), sizeof(T), alignof(T)};

/// Memory for a timer with its payload, which is to be constructed at the address returned. Throws std::bad_alloc.
[[nodiscard]] KARYON_API void* allocate_timer(const timer_kind& kind);
/// The payload could not be constructed.
KARYON_API void free_timer(const timer_kind& kind, void* payload) noexcept;
/// Starts it as a timer of cell `self`, whose thread this is; consumes it in every case. Its number; 0 where the cell is ending
/// and starts nothing any more. Throws std::bad_alloc.
KARYON_API std::uint64_t start_timer(cell_slot* self, const timer_kind& kind, void* payload, const address& whom,
                                     std::chrono::nanoseconds delay, timer_mode mode);

/// A new timer that sends T to a C.
template <class C, class T, class U>
std::uint64_t add_timer(cell_slot* self, const address& whom, U&& value, std::chrono::nanoseconds delay,
                        timer_mode mode) {
  static_assert(alignof(T) <= 16, "karyon: a signal's payload may be aligned to 16 bytes at most");
  const timer_kind& kind = timer_kind_of<C, T>;
  void* const payload = allocate_timer(kind);
  if constexpr (std::is_nothrow_constructible_v<T, U&&>) {
    ::new (payload) T(std::forward<U>(value));
  } else {
    try {
      ::new (payload) T(std::forward<U>(value));
    } catch (...) {
      free_timer(kind, payload);
      throw;
    }
  }
  return start_timer(self, kind, payload, whom, delay, mode);
}

}  // namespace karyon::detail
