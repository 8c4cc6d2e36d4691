// SPDX-License-Identifier: Apache-2.0
// What is left when memory, or the copy of a signal, fails in the middle of a call. A binary of its own, since it replaces
// the program's operator new.
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <utility>

#include <karyon/cell/task.hpp>

#include "cell/extras.hpp"
#include "cell/runtime_core.hpp"
#include "unit/cell/cell_testing.hpp"

namespace {

constexpr int no_limit = -1;
thread_local constinit int allocations_left = no_limit;
thread_local constinit int blocks_held = 0;  // by what this thread has allocated and freed
thread_local constinit int blocks_made = 0;  // by this thread

}  // namespace

void* operator new(std::size_t bytes) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  void* p = std::malloc(bytes != 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  ++blocks_held;
  ++blocks_made;
  return p;
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p) noexcept {
  if (p != nullptr) --blocks_held;
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept { operator delete(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { operator delete(p); }

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

/// Calls `f` with memory for none of its allocations, then for one, and so on until it succeeds; how often it failed.
template <class F>
int with_ever_more_memory(F&& f) {
  for (int allowed = 0;; ++allowed) {
    allocations_left = allowed;
    try {
      f();
      allocations_left = no_limit;
      return allowed;
    } catch (const std::bad_alloc&) {
      allocations_left = no_limit;
    }
  }
}

/// A question whose copy fails; moving it does not.
struct fragile {
  fragile() = default;
  fragile(const fragile&) { throw std::runtime_error("broken on the way"); }
  fragile(fragile&&) noexcept = default;
  fragile& operator=(const fragile&) = default;
  fragile& operator=(fragile&&) noexcept = default;
  ~fragile() = default;
};

class plain : public cell {
public:
  using accepts = signals<number, fragile, ping>;
  int on(number n) { return n.value + 1; }
  int on(const fragile&) { return 1; }
  void on(ping) { exit(exit_reason::shutdown()); }
};

struct try_ask {};
struct try_ask_fragile {};
struct try_timer {};
struct try_links {};
struct try_become {};
struct put_aside {
  int value = 0;
};
struct bring_back {};
struct settled {};

struct other_face;

class needy : public cell {
public:
  using accepts =
      signals<try_ask, try_ask_fragile, try_timer, try_links, try_become, put_aside, bring_back, settled, word, get>;
  using behaviors = karyon::behaviors<other_face>;

  needy(diary& d, ref<plain> other) : diary_(&d), other_(other) {}

  int on(try_ask) {
    return with_ever_more_memory([&] {
      ask(other_, number{1}, 1h,
          [this](const result<int>& r) { diary_->write("answer " + std::to_string(r.value())); });
    });
  }
  bool on(try_ask_fragile) {
    const fragile question;
    try {
      ask(other_, question, 1ms, [this](const result<int>&) { diary_->write("an answer to nothing"); });
    } catch (const std::runtime_error&) {
      return true;
    }
    return false;
  }
  int on(try_timer) {
    return with_ever_more_memory([&] { send_after(self(this), word{"timer"}, 1ms); });
  }
  int on(try_links) {
    trap_exit(true);
    return with_ever_more_memory([&] { link(other_); }) + with_ever_more_memory([&] { monitor(other_); });
  }
  int on(try_become) {
    return with_ever_more_memory([&] { become<other_face>(this); });
  }
  int on(put_aside p) {
    if (open_) return p.value;
    return with_ever_more_memory([&] { stash(this, p); });
  }
  bool on(bring_back) {
    open_ = true;
    unstash();
    return true;
  }
  bool on(settled) { return true; }
  void on(const word& w) { diary_->write(w.text); }
  int on(get) { return 1; }
  void on(const exit_signal& s) { diary_->write("exit: " + to_string(s.why)); }
  void on(const down& d) { diary_->write("down: " + to_string(d.why)); }

private:
  diary* diary_;
  ref<plain> other_;
  bool open_ = false;
};

struct other_face {
  static int on(needy&, get) { return 2; }
};

struct stage {
  stage() = default;
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;
  ~stage() { rt.exit(c, exit_reason::killed()); }  // it may trap
  diary d;
  runtime rt{quiet()};
  ref<plain> other = rt.spawn<plain>();
  ref<needy> c = rt.spawn<needy>(d, other);

  template <class T>
  auto ask(T question) {
    return rt.ask(c, std::move(question), long_time).value();
  }
  /// Everything of the cell that was due at the time of the call has come.
  void settle() {
    const std::size_t n = d.size();
    static_cast<void>(ask(try_timer{}));  // may need no memory any more: records come from the pool
    REQUIRE(d.has(n + 1));
    REQUIRE(ask(settled{}));
  }
};

}  // namespace

TEST_CASE("an ask that had no memory has asked nothing, and the one that had is answered once") {
  stage s;
  CHECK(s.ask(try_ask{}) > 0);
  REQUIRE(s.d.has(1));
  s.settle();
  CHECK(s.d.lines() == lines{"answer 2", "timer"});
}

TEST_CASE("an ask whose question could not be copied has asked nothing, not even for a timeout") {
  stage s;
  CHECK(s.ask(try_ask_fragile{}));
  s.settle();
  CHECK(s.d.lines() == lines{"timer"});
}

TEST_CASE("a question of a thread that could not be copied leaves nothing behind") {
  runtime rt(quiet());
  const auto other = rt.spawn<plain>();
  const fragile question;
  const int before = blocks_held;
  bool failed = false;
  try {
    static_cast<void>(rt.ask_async(other, question));
  } catch (const std::runtime_error&) {
    failed = true;
  }
  const int after = blocks_held;
  CHECK(failed);
  CHECK(after == before);
}

TEST_CASE("a timer that had no memory never fires, and the one that had fires once") {
  stage s;
  CHECK(s.ask(try_timer{}) > 0);
  REQUIRE(s.d.has(1));
  s.settle();
  CHECK(s.d.lines() == lines{"timer", "timer"});
}

TEST_CASE(
    "a question put aside without memory keeps its right to an answer, and is put aside once when there is some") {
  stage s;
  auto answer = s.rt.ask_async(s.c, put_aside{42});
  REQUIRE(s.ask(settled{}));
  CHECK_FALSE(answer.ready());
  CHECK(s.rt.inspect(s.c, long_time).value().stashed == 1);
  CHECK(s.ask(bring_back{}));
  CHECK(answer.get(long_time).value() == 42);
}

TEST_CASE("a link or monitor that had no memory is none, and those that had give one signal each") {
  stage s;
  CHECK(s.ask(try_links{}) > 0);
  CHECK(s.rt.inspect(s.c, long_time).value().links == 1);
  REQUIRE(s.rt.ask(s.other, number{0}, long_time).has_value());
  CHECK(s.rt.inspect(s.other, long_time).value().links == 1);
  s.other.send(ping{});
  REQUIRE(s.d.has(2));
  s.settle();
  CHECK(s.d.lines() == lines{"exit: shutdown", "down: shutdown", "timer"});
}

TEST_CASE("a change of behaviour that had no memory leaves the old one") {
  stage s;
  CHECK(s.ask(get{}) == 1);
  CHECK(s.ask(try_become{}) > 0);
  CHECK(s.ask(get{}) == 2);
}

namespace {

struct run_dry {};

/// Needs memory that it does not get.
class thirsty : public cell {
public:
  using accepts = signals<run_dry, get>;
  void on(run_dry) {
    struct more_again {
      ~more_again() { allocations_left = no_limit; }
    } at_the_end;
    allocations_left = 0;
    send_after(self(this), get{}, 1h);
  }
  int on(get) { return 1; }
};

}  // namespace

TEST_CASE("memory that a cell does not get is its exit reason, and nobody else's trouble") {
  runtime rt(quiet());
  const auto c = rt.spawn<thirsty>();
  const auto other = rt.spawn<plain>();
  const witness w(rt, c);
  c.send(run_dry{});
  CHECK(w.end() == "down: error: std::bad_alloc: std::bad_alloc");
  CHECK(rt.ask(other, number{1}, long_time).value() == 2);
}

namespace {

// Where signals are blocks of their own, frames are, too (signal_pool.cpp).
#if defined(__SANITIZE_ADDRESS__)
constexpr int blocks_a_frame = 1;
#elif defined(__has_feature)
constexpr int blocks_a_frame = __has_feature(address_sanitizer) ? 1 : 0;
#else
constexpr int blocks_a_frame = 0;
#endif

struct think {};

/// Looks what a coroutine costs that it calls.
class thinker : public cell {
public:
  using accepts = signals<think, get>;
  task<> on(think) {
    value_ = co_await part();  // so that the cell has all that comes with its first coroutine
    const std::size_t bytes = stats().memory_bytes;
    const std::size_t held = allocations_held();
    const int blocks = blocks_made;
    auto one = part();
    blocks_ = blocks_made - blocks;
    held_ = allocations_held() - held;
    bytes_ = stats().memory_bytes - bytes;
    auto another = part();
    again_ = stats().memory_bytes - bytes - bytes_;
    value_ += co_await std::move(one) + co_await std::move(another);
  }
  std::string on(get) {
    if (bytes_ == 0 || again_ != bytes_) return "other than its cell's memory";
    return std::to_string(held_) + " of the cell's, " + std::to_string(blocks_) + " blocks, " + std::to_string(value_);
  }

private:
  [[gnu::noinline]] task<int> part() { co_return 7; }
  static std::size_t allocations_held() { return detail::running->slot->extras->memory->held(); }
  int blocks_ = -1;
  int value_ = 0;
  std::size_t held_ = 0;
  std::size_t bytes_ = 0;
  std::size_t again_ = 0;
};

}  // namespace

TEST_CASE("a coroutine makes one allocation, its frame, and that of its cell's memory") {
  runtime rt(quiet());
  const auto c = rt.spawn<thinker>();
  c.send(think{});
  CHECK(rt.ask(c, get{}, long_time).value() == "1 of the cell's, " + std::to_string(blocks_a_frame) + " blocks, 21");
}
