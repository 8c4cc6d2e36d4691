// SPDX-License-Identifier: Apache-2.0
#include <karyon/cell/runtime.hpp>
#include <karyon/cell/task.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

// What becomes of every signal to a bounded mailbox, whatever its policy, and of senders that slow down.

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;

namespace {

struct value {
  int key;
  int number;
};
struct command {
  int number;
};
struct how_many {};
struct burst {
  int size;
};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

struct book {
  std::uint64_t sent = 0;
  std::uint64_t answers = 0;
  std::uint64_t questions = 0;
};

template <overflow Policy, bool Lanes, bool Heavy = false>
class store : public cell {
public:
  using accepts = signals<value, command, how_many>;
  static constexpr std::size_t mailbox_limit = 5;
  static constexpr overflow mailbox_overflow = Policy;
  using high_priority = std::conditional_t<Lanes, signals<command, how_many>, signals<>>;
  using dirty_cpu = std::conditional_t<Heavy, signals<value, how_many>, signals<>>;
  static int conflation_key(const value& v) noexcept { return v.key; }
  void on(value) {}
  void on(command c) {
    if (c.number % 31 == 0) throw c.number;
  }
  int on(how_many) { return 1; }
};

template <class C>
class source : public cell {
public:
  using accepts = signals<burst>;
  source(book& b, std::vector<child<C>> to) : book_(&b), to_(std::move(to)) {}
  void on(burst b) {
    for (int i = 0; i < b.size; ++i) {
      const auto& whom = to_[static_cast<std::size_t>(++sent_) % to_.size()];
      ++book_->sent;
      if (sent_ % 5 == 0) {
        ++book_->questions;
        ask(whom, how_many{}, 1h, [this](const result<int>&) { ++book_->answers; });
      } else if (sent_ % 3 == 0) {
        whom.send(command{sent_});
      } else {
        whom.send(value{sent_ % 7, sent_});
      }
    }
  }

private:
  book* book_;
  std::vector<child<C>> to_;
  int sent_ = 0;
};

template <class C>
void flood(world& w) {
  auto& b = w.keep<book>();
  auto keeping = w.runtime().supervise({.intensity = {100'000, 1s}});
  std::vector<child<C>> stores;
  for (int i = 0; i < 3; ++i) {
    child_options how;
    if (i == 1) how.mailbox = mailbox_policy::kept;
    stores.push_back(keeping.start_with<C>(how));
  }
  std::vector<ref<source<C>>> sources;
  for (int i = 0; i < 3; ++i) sources.push_back(w.runtime().spawn<source<C>>(b, stores));
  for (int i = 0; i < 30; ++i) {
    const int size = static_cast<int>(w.random().below(60));
    ++b.sent;
    w.random().pick(sources).send(burst{size});
    if (w.random().one_in(3)) {
      for (int n = 0; n < 20; ++n) {
        ++b.sent;
        w.random().pick(stores).send(value{n % 4, n});  // from outside
      }
    }
    if (w.random().one_in(10)) w.kill(w.random().pick(stores));
    for (std::uint64_t n = w.random().below(30); n > 0; --n) w.step();
  }
  w.run();
  const testing::signal_accounts a = w.accounts();
  require(b.sent == a.handled + a.refused + a.lost + a.overflowed,
          std::to_string(b.sent) + " sent, " + std::to_string(a.handled) + " handled, " + std::to_string(a.refused) +
              " refused, " + std::to_string(a.lost) + " lost, " + std::to_string(a.overflowed) + " overflowed");
  require(b.questions == b.answers, std::to_string(b.questions - b.answers) + " questions have no answer");
}

}  // namespace

TEST_CASE("every signal to a bounded mailbox is handled, refused, dropped or conflated, and counted as that") {
  testing::for_each_seed({.first = 1, .count = 90}, [](world& w) {
    switch (w.seed() % 9) {
      case 0: return flood<store<overflow::refuse, false>>(w);
      case 1: return flood<store<overflow::drop_newest, false>>(w);
      case 2: return flood<store<overflow::drop_oldest, false>>(w);
      case 3: return flood<store<overflow::drop_oldest, true>>(w);
      case 4: return flood<store<overflow::conflate, false>>(w);
      case 5: return flood<store<overflow::drop_oldest, false, true>>(w);
      case 6: return flood<store<overflow::conflate, true, true>>(w);
      case 7: return flood<store<overflow::refuse, true, true>>(w);
      default: return flood<store<overflow::conflate, true>>(w);
    }
  });
}

TEST_CASE("a mailbox that overflows does so in the same way for the same seed") {
  const auto hash = [](std::uint64_t seed) {
    world w(seed);
    flood<store<overflow::conflate, true, true>>(w);
    return w.trace_hash();
  };
  for (std::uint64_t seed = 1; seed <= 5; ++seed) CHECK(hash(seed) == hash(seed));
}

// ---- slow_when_full ------------------------------------------------------------------------------------------------

namespace {

struct tally {
  std::uint64_t sent = 0;
  std::uint64_t full = 0;
  std::uint64_t bystander = 0;
};

class consumer : public cell {
public:
  using accepts = signals<command>;
  static constexpr std::size_t mailbox_limit = 16;
  void on(command) {}
};

struct job {};

template <bool Slows>
class producer : public cell {
public:
  using accepts = signals<job>;
  static constexpr bool slow_when_full = Slows;
  producer(tally& t, ref<consumer> to) : tally_(&t), to_(to) {}
  void on(job) {
    ++tally_->sent;
    if (to_.send(command{1}) == send_result::full) ++tally_->full;
  }

private:
  tally* tally_;
  ref<consumer> to_;
};

template <bool Slows>
std::uint64_t refusals(std::uint64_t seed) {
  constexpr std::uint64_t jobs = 5'000;
  world w(seed);
  auto& t = w.keep<tally>();
  const auto c = w.runtime().spawn<consumer>();
  const auto p = w.runtime().spawn<producer<Slows>>(t, c);
  for (std::uint64_t i = 0; i < jobs; ++i) p.send(job{});
  w.run();
  REQUIRE(t.sent == jobs);  // slower, but all of it
  REQUIRE((w.runtime().metrics().slowed != 0) == Slows);
  return t.full;
}

/// Two that overrun each other.
class rival : public cell {
public:
  using accepts = signals<job, ref<rival>>;
  static constexpr std::size_t mailbox_limit = 8;
  static constexpr bool slow_when_full = true;
  void on(ref<rival> other) { other_ = other; }
  void on(job) {
    if (++handled_ < 500) {
      other_.send(job{});
      other_.send(job{});
    }
  }

private:
  ref<rival> other_;
  int handled_ = 0;
};

struct inquiry {};

/// Two that overrun each other, and wait for each other in coroutines meanwhile.
class inquirer : public cell {
public:
  using accepts = signals<job, how_many, inquiry, ref<inquirer>>;
  static constexpr std::size_t mailbox_limit = 8;
  static constexpr bool slow_when_full = true;
  explicit inquirer(tally& t) : tally_(&t) {}
  void on(ref<inquirer> other) { other_ = other; }
  void on(job) {}
  int on(how_many) { return 1; }
  task<> on(inquiry) {
    for (int n = 0; n < 50; ++n) {
      other_.send(job{});
      other_.send(job{});
      static_cast<void>(co_await ask(other_, how_many{}, 1h));
      ++tally_->sent;
    }
  }

private:
  tally* tally_;
  ref<inquirer> other_;
};

}  // namespace

TEST_CASE("a producer that slows down for a full receiver meets few refusals where another meets many") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::uint64_t fast = refusals<false>(seed);
    const std::uint64_t slow = refusals<true>(seed);
    CAPTURE(seed, fast, slow);
    CHECK(slow * 10 <= fast);
    CHECK(fast > 500);
  }
}

TEST_CASE("two cells that slow down for each other come to an end") {
  world w(1);
  const auto a = w.runtime().spawn<rival>();
  const auto b = w.runtime().spawn<rival>();
  a.send(ref<rival>(b));
  b.send(ref<rival>(a));
  for (int i = 0; i < 8; ++i) {
    a.send(job{});
    b.send(job{});
  }
  CHECK_NOTHROW(w.run());
  CHECK(w.runtime().metrics().slowed > 0);
}

TEST_CASE("two cells that slow down for each other go on with the answers that their coroutines wait for") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    world w(seed);
    auto& t = w.keep<tally>();
    const auto a = w.runtime().spawn<inquirer>(t);
    const auto b = w.runtime().spawn<inquirer>(t);
    a.send(ref<inquirer>(b));
    b.send(ref<inquirer>(a));
    for (int i = 0; i < 5; ++i) {
      a.send(inquiry{});
      b.send(inquiry{});
    }
    CHECK_NOTHROW(w.run());
    CHECK(t.sent == 2 * 5 * 50);
    CHECK(w.runtime().metrics().slowed > 0);
  }
}

TEST_CASE("a cell that is slowed down can be killed at once") {
  world w(3);
  auto& t = w.keep<tally>();
  const auto c = w.runtime().spawn<consumer>();
  const auto p = w.runtime().spawn<producer<true>>(t, c);
  for (int i = 0; i < 1'000; ++i) p.send(job{});
  while (w.runtime().metrics().slowed == 0) REQUIRE(w.step());
  REQUIRE(w.kill(p));
  const auto before = t.sent;
  CHECK(w.run_until([&] { return !p.alive(); }));
  CHECK(t.sent == before);
}
