// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

class collector : public cell {
public:
  using accepts = signals<number, get>;
  void on(number n) { seen_.push_back(n.value); }
  std::vector<int> on(get) { return seen_; }

private:
  std::vector<int> seen_;
};

/// Sends 0, 1, 2, ... to a collector, from within handlers.
class counting_sender : public cell {
public:
  using accepts = signals<number, caught_up>;
  explicit counting_sender(ref<collector> to) : to_(to) {}
  void on(number how_many) {
    for (int i = 0; i < how_many.value; ++i) to_.send(number{next_++});
  }
  bool on(caught_up) { return true; }

private:
  ref<collector> to_;
  int next_ = 0;
};

class mortal : public cell {
public:
  using accepts = signals<ping, quit, caught_up>;
  void on(ping) {}
  void on(quit) { exit(); }
  bool on(caught_up) { return true; }
};

template <int N>
struct kind {};

template <class Numbers>
class of_many_kinds;
/// Accepts 64 types, and keeps which of its handlers ran.
template <int... Ns>
class of_many_kinds<std::integer_sequence<int, Ns...>> : public cell {
public:
  using accepts = signals<kind<Ns>..., get>;
  template <int N>
  void on(kind<N>) {
    seen_.push_back(N);
  }
  std::vector<int> on(get) { return seen_; }

  static void send_each(ref<of_many_kinds> to) { (to.send(kind<Ns>{}), ...); }
  static std::vector<void (*)(void*, detail::signal&)> carried() {
    return {detail::tell_ops<of_many_kinds, kind<Ns>>.invoke...};
  }

private:
  std::vector<int> seen_;
};

std::vector<int> counted_up_to(int n) {
  std::vector<int> v;
  for (int i = 0; i < n; ++i) v.push_back(i);
  return v;
}

}  // namespace

TEST_CASE("a signal carries the call of its own handler: nothing is searched, however many types a cell accepts") {
  using many = of_many_kinds<std::make_integer_sequence<int, 64>>;
  const auto calls = many::carried();
  CHECK(std::unordered_set<void (*)(void*, detail::signal&)>(calls.begin(), calls.end()).size() == 64);
  runtime rt(quiet());
  const auto c = rt.spawn<many>();
  many::send_each(c);
  CHECK(rt.ask(c, get{}, long_time).value() == counted_up_to(64));
}

TEST_CASE("signals from a thread to a cell arrive in the order sent") {
  runtime rt(quiet());
  const auto c = rt.spawn<collector>();
  for (int i = 0; i < 10'000; ++i) REQUIRE(c.send(number{i}) == send_result::accepted);
  CHECK(rt.ask(c, get{}, long_time).value() == counted_up_to(10'000));
}

TEST_CASE("signals from one cell to another arrive in the order sent, over many turns and on different workers") {
  runtime rt(quiet());
  const auto c = rt.spawn_at<collector>(placement::on_worker(1));
  const auto s = rt.spawn_at<counting_sender>(placement::on_worker(0), c);
  for (int i = 0; i < 500; ++i) s.send(number{20});
  REQUIRE(rt.ask(s, caught_up{}, long_time).has_value());
  CHECK(rt.ask(c, get{}, long_time).value() == counted_up_to(10'000));
}

TEST_CASE("each of several senders keeps its own order") {
  runtime rt(quiet());
  const auto c = rt.spawn<collector>();
  constexpr int threads = 4;
  constexpr int each = 5'000;
  std::vector<std::thread> senders;
  for (int t = 0; t < threads; ++t) {
    senders.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) c.send(number{t * each + i});
    });
  }
  for (auto& t : senders) t.join();
  const auto seen = rt.ask(c, get{}, long_time).value();
  REQUIRE(seen.size() == threads * each);
  std::array<int, threads> next{};
  bool in_order = true;
  for (const int v : seen) in_order = in_order && v % each == next[static_cast<std::size_t>(v / each)]++;
  CHECK(in_order);
}

TEST_CASE("a send to a cell that has ended says so at once, as does a default handle") {
  runtime rt(quiet());
  const auto c = rt.spawn<mortal>();
  CHECK(c.alive());
  c.send(quit{});
  REQUIRE(eventually([&] { return !c.alive(); }));
  CHECK(c.send(ping{}) == send_result::dead);
  CHECK(cell_ref(c).send(ping{}) == send_result::dead);
  CHECK(ref<mortal>().send(ping{}) == send_result::dead);
  CHECK(cell_ref().send(ping{}) == send_result::dead);
  CHECK(child<mortal>().send(ping{}) == send_result::dead);
  CHECK_FALSE(ref<mortal>().alive());
  CHECK_FALSE(cell_ref().alive());
  CHECK_FALSE(child<mortal>().alive());
  CHECK_FALSE(child<mortal>().get());
}

TEST_CASE("a handle may be used after its runtime is gone") {
  std::optional<runtime> rt;
  rt.emplace(quiet());
  const auto c = rt->spawn<mortal>();
  const cell_ref untyped = c;
  REQUIRE(c.send(ping{}) == send_result::accepted);
  rt.reset();
  CHECK_FALSE(c.alive());
  CHECK(c.send(ping{}) == send_result::dead);
  CHECK(untyped.send(ping{}) == send_result::dead);
  runtime next(quiet());  // its cells may take over the memory of the first one's
  const auto d = next.spawn<mortal>();
  CHECK(c.send(quit{}) == send_result::dead);
  next.exit(c, exit_reason::killed());
  const auto late = next.ask(c, caught_up{}, long_time);
  REQUIRE_FALSE(late.has_value());
  CHECK(late.error().code() == errc::dead);
  CHECK(next.ask(d, caught_up{}, long_time).has_value());
}

TEST_CASE("an untyped handle finds the handler at run time, says when there is none, and counts that") {
  runtime rt(quiet());
  const auto c = rt.spawn<collector>();
  const cell_ref untyped = c;
  CHECK(untyped.send(number{7}) == send_result::accepted);
  const auto before = rt.metrics().refused_no_handler;
  CHECK(untyped.send(word{"what?"}) == send_result::no_handler);
  CHECK(untyped.send(word{"what?"}) == send_result::no_handler);
  CHECK(rt.metrics().refused_no_handler == before + 2);
  CHECK(rt.ask(c, get{}, long_time).value() == std::vector<int>{7});
}

TEST_CASE("handles compare and hash by the incarnation they name") {
  runtime rt(quiet());
  const auto a = rt.spawn<mortal>();
  const auto b = rt.spawn<mortal>();
  const auto copy = a;
  CHECK(a == copy);
  CHECK(a != b);
  CHECK(cell_ref(a) == cell_ref(copy));
  CHECK(cell_ref(a) != cell_ref(b));
  CHECK(a.id() == copy.id());
  CHECK(a.id() != b.id());
  CHECK(std::hash<ref<mortal>>()(a) == std::hash<cell_ref>()(cell_ref(a)));
  std::unordered_set<cell_ref> set{a, b, copy};
  CHECK(set.size() == 2);
  CHECK(ref<mortal>() == ref<mortal>());
  CHECK_FALSE(ref<mortal>());
  CHECK(a);
}

TEST_CASE("a cell that takes over an ended one's place is a different one") {
  runtime rt(quiet(1));
  std::unordered_set<std::uint64_t> ids;
  for (int i = 0; i < 1'000; ++i) {
    const auto c = rt.spawn<mortal>();
    CHECK(ids.insert(c.id()).second);
    c.send(quit{});
    REQUIRE(eventually([&] { return !c.alive(); }));
  }
}

namespace {

struct secret {
  std::uint64_t for_whom;
};

/// Knows a number of its own, and counts signals that were meant for somebody else.
class keeper_of_secrets : public cell {
public:
  using accepts = signals<secret, quit>;
  keeper_of_secrets(std::uint64_t mine, std::atomic<int>& strays, std::atomic<std::uint64_t>& got)
      : mine_(mine), strays_(&strays), got_(&got) {}
  void on(secret s) {
    got_->fetch_add(1, std::memory_order_relaxed);
    if (s.for_whom != mine_) strays_->fetch_add(1);
  }
  void on(quit) { exit(); }

private:
  std::uint64_t mine_;
  std::atomic<int>* strays_;
  std::atomic<std::uint64_t>* got_;
};

}  // namespace

TEST_CASE("no signal reaches a successor in the same place, however many threads keep sending through stale handles") {
  std::atomic<int> strays{0};
  std::atomic<std::uint64_t> got{0};
  std::atomic<std::uint64_t> accepted{0};
  runtime rt(quiet());
  const std::uint64_t dropped_before = rt.metrics().dropped_dead;  // by threads outside, in other tests
  struct target {
    ref<keeper_of_secrets> handle;
    std::uint64_t number = 0;
  };
  constexpr std::size_t places = 8;
  std::mutex mutex;
  std::array<target, places> known;
  std::atomic<bool> stop{false};
  std::uint64_t number = 0;
  for (auto& k : known) {
    ++number;
    k = {rt.spawn<keeper_of_secrets>(number, strays, got), number};
  }
  std::vector<std::thread> senders;
  for (unsigned t = 0; t < 3; ++t) {
    senders.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        std::array<target, places> mine;
        {
          const std::lock_guard lock(mutex);
          mine = known;
        }
        // By now some have ended, and others live in their places.
        for (int i = 0; i < 20; ++i) {
          for (const target& k : mine) {
            if (ok(k.handle.send(secret{k.number}))) accepted.fetch_add(1, std::memory_order_relaxed);
          }
        }
      }
    });
  }
  const bool flowing = eventually([&] { return got > 0; });  // a cell has got a signal before the first is replaced
  for (int round = 0; round < 10'000; ++round) {
    const std::size_t i = static_cast<std::size_t>(round) % places;
    const auto old = known[i].handle;
    old.send(quit{});
    ++number;
    const target fresh{rt.spawn<keeper_of_secrets>(number, strays, got), number};
    const std::lock_guard lock(mutex);
    known[i] = fresh;
  }
  stop = true;
  for (auto& t : senders) t.join();
  CHECK(flowing);
  CHECK(strays == 0);
  rt.shutdown(long_time);
  const runtime_metrics m = rt.metrics();
  // 10,000 quits were accepted too.
  CHECK(m.handled + m.dropped_dead - dropped_before == accepted + 10'000);
}

namespace {

class boxed : public cell {
public:
  using accepts = signals<word, std::unique_ptr<int>, get>;
  void on(word w) { text_ += w.text; }
  void on(std::unique_ptr<int> p) { text_ += std::to_string(*p); }
  std::string on(get) { return text_; }

private:
  std::string text_;
};

}  // namespace

TEST_CASE("a signal is moved into the mailbox, also one that can not be copied") {
  runtime rt(quiet());
  const auto c = rt.spawn<boxed>();
  word w{std::string(100, 'x')};
  c.send(std::move(w));
  c.send(std::make_unique<int>(42));
  CHECK(rt.ask(c, get{}, long_time).value() == std::string(100, 'x') + "42");
}

TEST_CASE("refused signals are counted by cause, through typed and untyped handles") {
  runtime rt(quiet());
  const auto c = rt.spawn<mortal>();
  c.send(quit{});
  REQUIRE(eventually([&] { return !c.alive(); }));
  const auto before = rt.metrics().refused_dead;
  c.send(ping{});
  CHECK(rt.metrics().refused_dead == before + 1);
  cell_ref(c).send(ping{});
  CHECK(rt.metrics().refused_dead == before + 2);
}
