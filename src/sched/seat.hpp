#pragma once

#include <atomic>
#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// A fence that is free for the threads which pass it often, and dear for the one that passes it seldom: the rare side has
/// the kernel run a full barrier on each core that runs a thread of this process (membarrier(2)), so that the frequent side
/// needs only keep its compiler from reordering. A light() and a heavy() order as two sequentially consistent fences do.
struct KARYON_API process_fences {
  static void light() noexcept { asm volatile("" ::: "memory"); }
  static void heavy() noexcept;
  /// In a loop that waits for a heavy() of another thread.
  static void wait() noexcept;
  /// Once before the first use; false if this system has no such barrier, in which case heavy() must not be used.
  [[nodiscard]] static bool prepare() noexcept;
};

/// A thread's hold on the worker that it runs, and what it runs at present. While user code on the thread does not return,
/// another thread can take the worker away from under it; the thread finds out when it next comes back to the runtime.
///
/// What a worker owns (queues, timers, caches, counters) is touched without atomics by the one thread that holds it. So a
/// worker changes hands only while its thread is *exposed*: in the turn of a cell, where it touches nothing of it. Whatever
/// user code calls of the runtime covers the thread first (`covered`), and finds there whether the worker is still its own.
///
///   state   outside 0 -> exposed 1 | in_sight 2   begin_turn, watch_only
///           exposed -> in_sight                   cover: the thread is in the runtime, for a moment
///           in_sight -> exposed                   expose
///           any -> outside                        end_turn
///   claim   held 0 -> contested 1   taker: store; then heavy fence, then it looks at state and number
///           contested -> lost 2     taker: store, if the thread was exposed in the same turn as before
///           contested -> held       taker: store, if not
///           lost -> held            the thread, when it starts on a worker anew
///
/// The protocol is Dekker's, with the fences above: the thread stores the state (cover), passes the light fence and reads the
/// claim; the taker stores the claim, passes the heavy fence and reads the state. One of them sees the other. Who sees both
/// waits until the taker has decided, some microseconds. Model: tests/model/seat_model.cpp.
///
/// Orders: the releases of the state in expose and begin pair with the acquire of the taker's look in take, which so sees all that
/// was done with what the worker owns, and the turn's number. The releases of the names and the number in now and begin pair with the
/// acquires in seen: whoever reads a later turn's sees that the turn before has ended. So does that of cover_at_once: whoever finds a
/// later turn in sight sees its number.
template <class Fences>
class alignas(64) basic_seat {
public:
  basic_seat() = default;
  basic_seat(const basic_seat&) = delete;
  basic_seat& operator=(const basic_seat&) = delete;

  // -- its own thread --

  /// It starts to run a worker.
  void take_place() noexcept { claim_.store(held, std::memory_order_relaxed); }
  /// A turn of `whom` begins, exposed; the pointer is the caller's name for it. Returns the turn's number. Not within another.
  std::uint64_t begin_turn(const void* whom) noexcept { return begin(whom, exposed); }
  /// The same without the right to take the worker.
  void watch_only(const void* whom) noexcept { begin(whom, in_sight); }
  /// The user code that comes next, named likewise.
  void now(const void* what) noexcept {
    what_.store(reinterpret_cast<std::uintptr_t>(what), std::memory_order_release);
  }
  [[nodiscard]] bool is_outside() const noexcept { return state_.load(std::memory_order_relaxed) == outside; }
  [[nodiscard]] bool is_exposed() const noexcept { return state_.load(std::memory_order_relaxed) == exposed; }
  /// Back in the runtime: nobody takes the worker until expose(). False if somebody has.
  [[nodiscard]] bool cover() noexcept {
    if (cover_at_once()) [[likely]]
      return true;
    return still_held();
  }
  /// The same without a wait: false also if somebody is about to.
  [[nodiscard]] bool cover_at_once() noexcept {
    state_.store(in_sight, std::memory_order_release);
    Fences::light();
    return claim_.load(std::memory_order_relaxed) == held;
  }
  void expose() noexcept { state_.store(exposed, std::memory_order_release); }
  /// Covered before, or the worker lost.
  void end_turn() noexcept { state_.store(outside, std::memory_order_relaxed); }
  /// cover() and end_turn() in one; expose() takes it back. False as cover().
  [[nodiscard]] bool leave() noexcept {
    state_.store(outside, std::memory_order_relaxed);
    Fences::light();
    if (claim_.load(std::memory_order_relaxed) == held) [[likely]]
      return true;
    return still_held();
  }

  // -- the watch, one thread --

  struct look {
    std::uint64_t number = 0;  // of the turn; 0: in none
    const void* what = nullptr;
    const void* whom = nullptr;
    bool lost = false;
  };
  [[nodiscard]] look seen() const noexcept {
    look l;
    l.lost = claim_.load(std::memory_order_relaxed) == lost;
    if (state_.load(std::memory_order_relaxed) == outside) return l;
    const std::uint64_t number = number_.load(std::memory_order_acquire);
    l.what = reinterpret_cast<const void*>(what_.load(std::memory_order_acquire));
    l.whom = reinterpret_cast<const void*>(whom_.load(std::memory_order_acquire));
    // A later turn's, unless this one still lasts: their stores are releases, so whoever has read one of them sees that the
    // turn before has ended.
    if (state_.load(std::memory_order_acquire) == outside) return l;
    if (number_.load(std::memory_order_relaxed) == number) l.number = number;
    return l;
  }
  /// Takes the worker away, if the thread is exposed in this very turn. What the worker owns is the caller's then.
  [[nodiscard]] bool take(std::uint64_t number) noexcept {
    claim_.store(contested, std::memory_order_relaxed);
    Fences::heavy();
    const bool taken =
        state_.load(std::memory_order_acquire) == exposed && number_.load(std::memory_order_relaxed) == number;
    claim_.store(taken ? lost : held, std::memory_order_relaxed);
    return taken;
  }

private:
  static constexpr std::uint32_t outside = 0;
  static constexpr std::uint32_t exposed = 1;
  static constexpr std::uint32_t in_sight = 2;
  static constexpr std::uint32_t held = 0;
  static constexpr std::uint32_t contested = 1;
  static constexpr std::uint32_t lost = 2;

  std::uint64_t begin(const void* whom, std::uint32_t state) noexcept {
    const std::uint64_t number = number_.load(std::memory_order_relaxed) + 1;
    whom_.store(reinterpret_cast<std::uintptr_t>(whom), std::memory_order_release);
    number_.store(number, std::memory_order_release);
    state_.store(state, std::memory_order_release);
    return number;
  }

  [[nodiscard]] [[gnu::noinline, gnu::cold]] bool still_held() noexcept {
    std::uint32_t claim = claim_.load(std::memory_order_relaxed);
    while (claim == contested) {
      Fences::wait();
      claim = claim_.load(std::memory_order_relaxed);
    }
    return claim == held;
  }

  std::atomic<std::uint64_t> number_{0};
  std::atomic<std::uintptr_t> what_{0};
  std::atomic<std::uintptr_t> whom_{0};
  std::atomic<std::uint32_t> state_{outside};
  std::atomic<std::uint32_t> claim_{held};
};

using seat = basic_seat<process_fences>;

/// The calling thread's, while it runs a worker whose handlers are watched; else null.
#if defined(__GNUC__)
extern KARYON_API thread_local constinit seat* current_seat __attribute__((tls_model("initial-exec")));
#endif

/// Gives up the thread's worker, which another has taken.
KARYON_API void worker_is_lost() noexcept;

/// While one of these lives, the calling thread's worker stays what worker::current() says: null if it has been taken away.
/// Around every use of a worker's own things by code that handlers can call. Some nanoseconds in a handler, one load elsewhere.
class covered {
public:
  covered() noexcept : seat_(current_seat) {
    if (seat_ == nullptr || !seat_->is_exposed()) {
      seat_ = nullptr;
    } else if (!seat_->cover()) [[unlikely]] {
      seat_ = nullptr;
      worker_is_lost();
    }
  }
  ~covered() {
    if (seat_ != nullptr) seat_->expose();
  }
  covered(const covered&) = delete;
  covered& operator=(const covered&) = delete;

private:
  seat* seat_;
};

}  // namespace karyon::detail
