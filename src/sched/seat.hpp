#pragma once

#include <atomic>
#include <cstdint>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// A fence that is free for the threads which pass it often, and dear for the one that passes it seldom: the rare side has
/// the kernel run a full barrier on each core that runs a thread of this process (membarrier(2)), so that the frequent side
/// needs only keep its compiler from reordering. A light() and a heavy() order as two sequentially consistent fences do.
struct process_fences {
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
/// worker changes hands only while its thread is *exposed*: in user code, where it touches nothing of it. Whatever the user's
/// code calls of the runtime covers the thread first (`covered`), and finds there whether the worker is still its own.
///
///   word    number << 2 | busy | exposed
///           busy      in a handler or hook; the number tells one from the next
///           exposed   the worker may be taken
///   claim   held 0 -> contested 1   taker: store; then heavy fence, then it looks at the word
///           contested -> lost 2     taker: store, if the word was exposed in the same handler as before
///           contested -> held       taker: store, if not
///           lost -> held            the thread, when it starts on a worker anew
///
/// The protocol is Dekker's, with the fences above: the thread stores the word (covered), passes the light fence and reads the
/// claim; the taker stores the claim, passes the heavy fence and reads the word. One of them sees the other. Who sees both
/// waits until the taker has decided, some microseconds. The release of an exposing store and the acquire of the taker's look
/// hand over what the worker owns. Model: tests/model/seat_model.cpp.
template <class Fences>
class alignas(64) basic_seat {
public:
  basic_seat() = default;
  basic_seat(const basic_seat&) = delete;
  basic_seat& operator=(const basic_seat&) = delete;

  // -- its own thread --

  /// It starts to run a worker.
  void take_place() noexcept { claim_.store(held, std::memory_order_relaxed); }
  /// For the looks of others: which cell is running, by whatever pointer the caller knows it.
  void show(const void* whom) noexcept {
    whom_.store(reinterpret_cast<std::uintptr_t>(whom), std::memory_order_release);
  }
  /// User code begins; `what` names it likewise. Returns its number. Not within another.
  std::uint64_t begin(const void* what, bool exposed = true) noexcept {
    what_.store(reinterpret_cast<std::uintptr_t>(what), std::memory_order_release);
    const std::uint64_t next = word_.load(std::memory_order_relaxed) + one;
    word_.store(next | busy_bit | (exposed ? exposed_bit : 0), std::memory_order_release);
    return next >> number_shift;
  }
  /// It has returned. False if the worker is another's by now.
  [[nodiscard]] bool end() noexcept {
    word_.store(word_.load(std::memory_order_relaxed) & ~(busy_bit | exposed_bit), std::memory_order_relaxed);
    return still_held();
  }
  [[nodiscard]] bool is_busy() const noexcept { return (word_.load(std::memory_order_relaxed) & busy_bit) != 0; }
  [[nodiscard]] bool is_exposed() const noexcept { return (word_.load(std::memory_order_relaxed) & exposed_bit) != 0; }
  /// User code has called the runtime: nobody takes the worker until expose(). False if somebody has.
  [[nodiscard]] bool cover() noexcept {
    word_.store(word_.load(std::memory_order_relaxed) & ~exposed_bit, std::memory_order_relaxed);
    return still_held();
  }
  void expose() noexcept {
    word_.store(word_.load(std::memory_order_relaxed) | exposed_bit, std::memory_order_release);
  }

  // -- the watch, one thread --

  struct look {
    std::uint64_t number = 0;  // 0: not in user code
    const void* what = nullptr;
    const void* whom = nullptr;
    bool lost = false;
  };
  [[nodiscard]] look seen() const noexcept {
    look l;
    const std::uint64_t w = word_.load(std::memory_order_acquire);
    l.lost = claim_.load(std::memory_order_relaxed) == lost;
    if ((w & busy_bit) == 0) return l;
    l.what = reinterpret_cast<const void*>(what_.load(std::memory_order_relaxed));
    l.whom = reinterpret_cast<const void*>(whom_.load(std::memory_order_relaxed));
    // A later handler's, unless the word is still this one's: their stores are releases, so whoever has read one of them sees
    // that the handler before has ended.
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((word_.load(std::memory_order_relaxed) | exposed_bit) == (w | exposed_bit)) l.number = w >> number_shift;
    return l;
  }
  /// Takes the worker away, if the thread is exposed in this very handler. What the worker owns is the caller's then.
  [[nodiscard]] bool take(std::uint64_t number) noexcept {
    claim_.store(contested, std::memory_order_relaxed);
    Fences::heavy();
    const std::uint64_t w = word_.load(std::memory_order_acquire);
    const bool taken = (w & exposed_bit) != 0 && w >> number_shift == number;
    claim_.store(taken ? lost : held, std::memory_order_relaxed);
    return taken;
  }

private:
  static constexpr std::uint64_t exposed_bit = 1;
  static constexpr std::uint64_t busy_bit = 2;
  static constexpr unsigned number_shift = 2;
  static constexpr std::uint64_t one = std::uint64_t{1} << number_shift;
  static constexpr std::uint32_t held = 0;
  static constexpr std::uint32_t contested = 1;
  static constexpr std::uint32_t lost = 2;

  [[nodiscard]] bool still_held() noexcept {
    Fences::light();
    std::uint32_t claim = claim_.load(std::memory_order_relaxed);
    if (claim == held) [[likely]]
      return true;
    while (claim == contested) {
      Fences::wait();
      claim = claim_.load(std::memory_order_relaxed);
    }
    return claim == held;
  }

  std::atomic<std::uint64_t> word_{0};
  std::atomic<std::uintptr_t> what_{0};
  std::atomic<std::uintptr_t> whom_{0};
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

/// Shows the watch user code that runs outside of handlers, and from under which the worker can not be taken: a constructor
/// that a supervisor calls. No effect within other user code.
class watched {
public:
  explicit watched(const void* what, const void* whom) noexcept : seat_(current_seat) {
    if (seat_ == nullptr || seat_->is_busy()) {
      seat_ = nullptr;
    } else {
      seat_->show(whom);
      seat_->begin(what, false);
    }
  }
  ~watched() {
    if (seat_ != nullptr) static_cast<void>(seat_->end());  // it was not exposed
  }
  watched(const watched&) = delete;
  watched& operator=(const watched&) = delete;

private:
  seat* seat_;
};

}  // namespace karyon::detail
