// SPDX-License-Identifier: Apache-2.0
#pragma once

// Runs the library's own lock-free code, unchanged, under Relacy (Vyukov's race detector): every thread is a fiber, every
// atomic operation a point where another may go on, and a load returns any value that the C++ memory model allows it. A
// model includes this file first, then the real headers: `std::atomic` and `std::memory_order_*` in them then mean Relacy's.
//
// A model is a suite of scenarios. Each must hold over its interleavings as the code is, and those with a planted mistake
// must fail. Then each memory order is weakened by one step, one at a time, and some scenario must fail, or the order is
// listed as one that can not be shown to be needed, with the reason: so a scenario that shows nothing is found as well.
//
// What Relacy can not show: it runs each thread's operations in program order, and a read-modify-write always sees the latest
// value. Errors that need a store to overtake, or a read-modify-write to move, are beyond it.

// All standard headers that the code under test includes come before their names are redefined.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <tl/expected.hpp>

#include <relacy/relacy.hpp>

// Relacy's debugging allocator is not for code that places objects itself.
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef futex
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

namespace model {

/// A place in the source that names a memory order.
struct site {
  const char* file;
  const char* function;
  unsigned line;
  const char* operation;
  rl::memory_order order;

  [[nodiscard]] std::string file_name() const {
    const char* slash = std::strrchr(file, '/');
    return slash != nullptr ? slash + 1 : file;
  }
  [[nodiscard]] std::string key() const {
    return file_name() + " " + function + " " + operation + " " + rl::format(order);
  }
};

/// Every place that the scenarios have come by, and the one that is weakened at present. No allocation: it works inside
/// Relacy's fibers, where `new` is watched.
struct registry {
  std::array<site, 256> sites;
  std::size_t size = 0;
  std::size_t weakened = ~std::size_t{0};
  rl::memory_order to = rl::mo_relaxed;

  static registry& get() {
    static registry all;
    return all;
  }
  rl::memory_order effective(const char* operation, rl::memory_order order, const rl::debug_info& at) {
    if (order == rl::mo_relaxed) return order;
    std::size_t i = 0;
    // Literals: the same place has the same addresses, and a template's instances have the same text.
    while (i < size && !(sites[i].line == at.line_ && sites[i].order == order && sites[i].file == at.file_ &&
                         std::strcmp(sites[i].operation, operation) == 0)) {
      ++i;
    }
    if (i == size) {
      if (size == sites.size()) std::abort();
      sites[size++] = {at.file_, at.func_, at.line_, operation, order};
    }
    return i == weakened ? to : order;
  }
};

struct order {
  rl::memory_order value;
  rl::debug_info at;
  [[nodiscard]] rl::memory_order for_(const char* operation) const {  // NOLINT(readability-identifier-naming)
    return registry::get().effective(operation, value, at);
  }
};

inline rl::memory_order failure_of(rl::memory_order success) {
  switch (success) {
    case rl::mo_release: return rl::mo_relaxed;
    case rl::mo_acq_rel: return rl::mo_acquire;
    default: return success;
  }
}
template <class T>
class atomic {
public:
  atomic() noexcept { word_.store(T{}, rl::mo_relaxed, $); }
  atomic(T v) noexcept { word_.store(v, rl::mo_relaxed, $); }  // NOLINT: as std::atomic
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(order o) const { return word_.load(o.for_("load"), o.at); }
  void store(T v, order o) { word_.store(v, o.for_("store"), o.at); }
  T exchange(T v, order o) { return word_.exchange(v, o.for_("exchange"), o.at); }
  T fetch_add(T v, order o) { return word_.fetch_add(v, o.for_("fetch_add"), o.at); }
  T fetch_sub(T v, order o) { return word_.fetch_sub(v, o.for_("fetch_sub"), o.at); }
  T fetch_or(T v, order o) { return word_.fetch_or(v, o.for_("fetch_or"), o.at); }
  T fetch_and(T v, order o) { return word_.fetch_and(v, o.for_("fetch_and"), o.at); }
  bool compare_exchange_weak(T& expected, T v, order success, order failure) {
    return cas<true>(expected, v, success, failure.for_("cas-failure"));
  }
  bool compare_exchange_strong(T& expected, T v, order success, order failure) {
    return cas<false>(expected, v, success, failure.for_("cas-failure"));
  }
  bool compare_exchange_strong(T& expected, T v, order success) {
    return cas<false>(expected, v, success, failure_of(success.for_("cas")));
  }

private:
  template <bool Weak>
  bool cas(T& expected, T v, order success, rl::memory_order failure) {
    const rl::memory_order s = success.for_("cas");
    // Relacy, as C++11 did, wants the failure order to be no stronger than the success order; C++17 does not.
    const bool fence_after = failure == rl::mo_acquire && (s == rl::mo_release || s == rl::mo_relaxed);
    const rl::memory_order f = fence_after ? rl::mo_relaxed : failure;
    const bool done = Weak ? word_.compare_exchange_weak(expected, v, s, success.at, f, success.at)
                           : word_.compare_exchange_strong(expected, v, s, success.at, f, success.at);
    if (!done && fence_after) rl::atomic_thread_fence(rl::mo_acquire, success.at);
    return done;
  }
  mutable rl::atomic<T> word_;
};

inline void fence(order o) { rl::atomic_thread_fence(o.for_("fence"), o.at); }

/// What the kernel does: compares and sleeps in one step, as seen by those who wake. Wakes happen before returns.
class futex {
public:
  static futex*& current() {
    static futex* f = nullptr;
    return f;
  }
  futex() { current() = this; }

  long call(std::uint32_t* address, int operation, std::uint32_t value) {
    if ((operation & FUTEX_CMD_MASK) == FUTEX_WAKE) {
      lock_.lock($);
      if (waiting_($) != 0) {
        waiting_($) = 0;
        wakes_.notify_all($);
      }
      lock_.unlock($);
      return 0;
    }
    lock_.lock($);
    // The kernel's own read: no stronger than it need be.
    auto* word = reinterpret_cast<rl::atomic<std::uint32_t>*>(address);
    if (word->load(rl::mo_relaxed, $) == value) {
      waiting_($) = waiting_($) + 1;
      wakes_.wait(lock_, $);  // may also return for no reason, as the real one may by a signal or at its deadline
    }
    lock_.unlock($);
    return 0;
  }

private:
  rl::mutex lock_;
  rl::condition_variable wakes_;
  rl::var<int> waiting_{0};
};

template <class... Rest>
long system_call(long, std::uint32_t* address, int operation, std::uint32_t value, Rest...) {
  return futex::current()->call(address, operation, value);
}

/// Where Relacy writes the history of a failure: no allocation inside its fibers.
class transcript : public std::streambuf {
public:
  transcript() { setp(bytes().data(), bytes().data() + bytes().size()); }
  [[nodiscard]] std::string text() const { return {pbase(), pptr()}; }

private:
  static std::array<char, 1 << 18>& bytes() {
    static std::array<char, 1 << 18> all;
    return all;
  }
};

/// Scenarios of one piece of code, and what is expected of them.
class suite {
public:
  /// `judged`: the files whose memory orders this suite answers for; what else it uses has a suite of its own.
  suite(const char* name, std::vector<std::string> judged) : name_(name), judged_(std::move(judged)) {}

  /// `Test` holds as the code is.
  template <class Test>
  suite& holds(const char* sentence, unsigned iterations) {
    scenarios_.push_back({sentence, iterations, &run<Test>});
    return *this;
  }
  /// `Test`, which has a planted mistake in its own part of the protocol, fails.
  template <class Test>
  suite& fails(const char* sentence, unsigned iterations) {
    plants_.push_back({sentence, iterations, &run<Test>});
    return *this;
  }
  /// No scenario can show that this order is needed; `why` it is there all the same.
  suite& unshown(const char* key, const char* why) {
    unshown_.push_back({key, why, false});
    return *this;
  }

  int check() {
    registry& all = registry::get();
    std::printf("%s\n", name_);
    for (const scenario& s : scenarios_) {
      std::string text;
      const bool ok = s.run(s.iterations, text) == 0;
      std::printf("  %s: %s (%u interleavings)\n", ok ? "holds" : "BROKEN", s.sentence, s.iterations);
      if (!ok) fail("a scenario does not hold", text);
    }
    const std::size_t reached = all.size;  // by the code as it is; planted mistakes have places of their own
    for (const scenario& s : plants_) {
      std::string text;
      const unsigned at = s.run(s.iterations, text);
      std::printf("  %s: %s (planted, interleaving %u)\n", at != 0 ? "found" : "MISSED", s.sentence, at);
      if (at == 0) fail("a planted mistake was not found", "");
    }
    if (failed_) return 1;  // the rest would only repeat it
    for (std::size_t i = 0; i < reached; ++i) {
      if (std::find(judged_.begin(), judged_.end(), all.sites[i].file_name()) == judged_.end()) continue;
      for (const rl::memory_order weaker : weaker_than(all.sites[i])) weaken(i, weaker);
    }
    for (const unshown_order& s : unshown_) {
      if (!s.seen) fail("listed as unshown, but needed or gone", s.key);
    }
    return failed_ ? 1 : 0;
  }

private:
  struct scenario {
    const char* sentence;
    unsigned iterations;
    unsigned (*run)(unsigned iterations, std::string& text);  // 0: holds; else the interleaving that failed
  };
  struct unshown_order {
    std::string key;
    const char* why;
    bool seen;
  };

  template <class Test>
  static unsigned run(unsigned iterations, std::string& text) {
    transcript buffer;
    std::ostream out(&buffer);
    rl::test_params params;
    params.iteration_count = iterations;
    params.output_stream = &out;
    params.progress_stream = &out;
    params.execution_depth_limit = 4000;
    rl::simulate<Test>(params);
    if (params.test_result == rl::test_result_success) return 0;
    text = buffer.text();
    return static_cast<unsigned>(params.stop_iteration) + 1;
  }

  static std::vector<rl::memory_order> weaker_than(const site& s) {
    const std::string_view operation = s.operation;
    const bool load = operation == "load" || operation == "cas-failure";
    switch (s.order) {
      case rl::mo_seq_cst: return {load ? rl::mo_acquire : operation == "store" ? rl::mo_release : rl::mo_acq_rel};
      case rl::mo_acq_rel: return {rl::mo_acquire, rl::mo_release};
      case rl::mo_acquire:
      case rl::mo_release: return {rl::mo_relaxed};
      default: return {};
    }
  }

  void weaken(std::size_t index, rl::memory_order weaker) {
    registry& all = registry::get();
    const site s = all.sites[index];
    all.weakened = index;
    all.to = weaker;
    unsigned at = 0;
    const char* by = "";
    for (const scenario& each : scenarios_) {
      std::string text;
      at = each.run(each.iterations, text);
      by = each.sentence;
      if (at != 0) break;
    }
    all.weakened = ~std::size_t{0};
    const std::string key = s.key() + " -> " + rl::format(weaker);
    if (at != 0) {
      std::printf("  needed: %s (line %u): else not \"%s\"\n", key.c_str(), s.line, by);
      return;
    }
    const auto listed =
        std::find_if(unshown_.begin(), unshown_.end(), [&](const unshown_order& o) { return o.key == key; });
    if (listed == unshown_.end()) {
      return fail("may be weakened without any scenario failing", key + " at line " + std::to_string(s.line));
    }
    listed->seen = true;
    std::printf("  unshown: %s (line %u): %s\n", key.c_str(), s.line, listed->why);
  }

  void fail(const char* what, const std::string& text) {
    failed_ = true;
    std::printf("FAILED: %s: %s\n", what, text.c_str());
  }

  const char* name_;
  std::vector<std::string> judged_;
  bool failed_ = false;
  std::vector<scenario> scenarios_;
  std::vector<scenario> plants_;
  std::vector<unshown_order> unshown_;
};

}  // namespace model

namespace std {  // NOLINT: the code under test says std::atomic, and means this one here
template <class T>
using model_atomic = ::model::atomic<T>;
using ::model::fence;
inline ::model::order model_order(rl::memory_order value, const char* function, const char* file, unsigned line) {
  return {value, rl::debug_info(function, file, line)};
}
}  // namespace std

// Names of the standard library, which these take the place of.
// NOLINTBEGIN(readability-identifier-naming)
#define atomic model_atomic
#define atomic_thread_fence fence
#define memory_order_relaxed model_order(rl::mo_relaxed, __func__, __FILE__, __LINE__)
#define memory_order_acquire model_order(rl::mo_acquire, __func__, __FILE__, __LINE__)
#define memory_order_release model_order(rl::mo_release, __func__, __FILE__, __LINE__)
#define memory_order_acq_rel model_order(rl::mo_acq_rel, __func__, __FILE__, __LINE__)
#define memory_order_seq_cst model_order(rl::mo_seq_cst, __func__, __FILE__, __LINE__)
#define syscall ::model::system_call
#define static_assert(...) static_assert(true)  // Relacy's atomics are larger than words
// NOLINTEND(readability-identifier-naming)
