// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include <memory_resource>

#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct open_up {};
struct shut {};

/// A shop: keeps customers waiting until it opens; asked for a price it has another when closed.
class shop : public cell {
public:
  using accepts = signals<word, open_up, shut, get>;
  explicit shop(diary& d) : diary_(&d) { become<closed>(this); }
  void on(const word& w) { diary_->write("served " + w.text); }
  void on(open_up) {}
  void on(shut) {
    diary_->write("shut");
    become<closed>(this);
  }
  int on(get) { return 1; }

  struct closed {
    static void on(shop& s, word w) { s.stash(&s, std::move(w)); }
    static void on(shop& s, open_up) {
      s.diary_->write("open");
      s.unbecome();
      s.unstash();
    }
    static int on(shop&, get) { return 2; }
  };
  using behaviors = karyon::behaviors<closed>;

private:
  diary* diary_;
};

struct hold {};

/// Puts words aside until it was held; then takes a look at itself and brings them back.
class keeper_aside : public cell {
public:
  using accepts = signals<word, hold>;
  keeper_aside(diary& d, const door& held, door& arrived) : diary_(&d), door_(&held), arrived_(&arrived) {}
  void on(const word& w) {
    if (open_) return diary_->write(w.text);
    stash(this, w);
  }
  void on(hold) {
    arrived_->open();
    door_->pass();
    open_ = true;
    static_cast<void>(stats());  // takes in what has arrived
    unstash();
  }

private:
  diary* diary_;
  const door* door_;
  door* arrived_;
  bool open_ = false;
};

class narrow : public cell {
public:
  using accepts = signals<hold, ping, get>;
  static constexpr std::size_t mailbox_limit = 10;
  narrow(const door& d, door& arrived) : door_(&d), arrived_(&arrived) {}
  void on(hold) {
    arrived_->open();
    door_->pass();
  }
  void on(ping) { ++pings_; }
  int on(get) { return pings_; }

private:
  const door* door_;
  door* arrived_;
  int pings_ = 0;
};

}  // namespace

TEST_CASE("a cell becomes another and itself again; what was put aside comes first and in order") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<shop>(d);
  CHECK(rt.ask(c, get{}, long_time).value() == 2);
  c.send(word{"a"});
  c.send(word{"b"});
  c.send(open_up{});
  c.send(word{"c"});
  c.send(shut{});
  c.send(word{"d"});
  REQUIRE(rt.ask(c, get{}, long_time).value() == 2);
  CHECK(d.lines() == lines{"open", "served a", "served b", "served c", "shut"});
  CHECK(rt.ask(c, open_up{}, long_time).has_value());
  CHECK(rt.ask(c, get{}, long_time).value() == 1);
  CHECK(d.lines().back() == "served d");
}

TEST_CASE("what was put aside is lost with its cell, and counted") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<shop>(d);
  for (int i = 0; i < 5; ++i) c.send(word{"x"});
  REQUIRE(rt.ask(c, get{}, long_time).has_value());
  CHECK(rt.inspect(c, long_time).value().stashed == 5);
  rt.exit(c, exit_reason::killed());
  CHECK(eventually([&] { return rt.metrics().cells == 0 && rt.metrics().dropped_dead == 5; }));
}

TEST_CASE("what comes back from aside does not overtake a request to end") {
  diary d;
  door held;
  door arrived;
  runtime rt(quiet());
  const auto c = rt.spawn<keeper_aside>(d, held, arrived);
  const witness w(rt, c);
  for (int i = 0; i < 3; ++i) c.send(word{"x"});
  c.send(hold{});
  arrived.pass();
  rt.exit(c, exit_reason::shutdown());
  held.open();
  CHECK(w.end() == "down: shutdown");
  CHECK(d.size() == 0);
}

TEST_CASE("a bounded mailbox takes as many signals as its limit, and refuses and counts the others") {
  door shut_door;
  door arrived;
  runtime rt(quiet());
  const auto c = rt.spawn_at<narrow>(placement::on_worker(0), shut_door, arrived);
  REQUIRE(c.send(hold{}) == send_result::accepted);
  arrived.pass();
  const auto before = rt.metrics().refused_full;
  std::atomic<int> accepted{0};
  std::atomic<int> full{0};
  std::vector<std::thread> senders;
  for (int t = 0; t < 4; ++t) {
    senders.emplace_back([&] {
      for (int i = 0; i < 1'000; ++i) {
        const send_result r = c.send(ping{});
        if (r == send_result::accepted) accepted.fetch_add(1);
        if (r == send_result::full) full.fetch_add(1);
      }
    });
  }
  for (auto& t : senders) t.join();
  CHECK(accepted == 10);
  CHECK(full == 3'990);
  CHECK(rt.metrics().refused_full == before + 3'990);
  const auto asked = rt.ask(c, get{}, 24h);
  REQUIRE_FALSE(asked.has_value());
  CHECK(asked.error().code() == errc::mailbox_full);
  rt.exit(c, exit_reason::normal());  // the runtime's own signals are never refused
  shut_door.open();
  REQUIRE(eventually([&] { return rt.metrics().handled >= 11; }));
  CHECK(rt.ask(c, get{}, long_time).value() == 10);
}

namespace {

struct allocate {
  std::size_t bytes = 0;
  std::size_t alignment = 16;
};
struct release_all {};
struct greedy {};

class hoarder : public cell {
public:
  using accepts = signals<allocate, release_all, greedy, get>;
  explicit hoarder(std::size_t quota = 0) {
    if (quota != 0) memory_quota(quota);
  }
  bool on(allocate a) {
    void* p = memory()->allocate(a.bytes, a.alignment);
    static_cast<unsigned char*>(p)[a.bytes - 1] = 1;
    held_.push_back({p, a});
    return reinterpret_cast<std::uintptr_t>(p) % a.alignment == 0;
  }
  void on(release_all) {
    for (const auto& [p, a] : held_) memory()->deallocate(p, a.bytes, a.alignment);
    held_.clear();
  }
  void on(greedy) {
    try {
      static_cast<void>(memory()->allocate(1'000'000));
    } catch (const std::bad_alloc&) {  // noticed all the same
    }
  }
  int on(get) { return static_cast<int>(held_.size()); }

private:
  std::vector<std::pair<void*, allocate>> held_;
};

}  // namespace

TEST_CASE("a cell's own memory is aligned as asked, counted, and gone when it is given back") {
  runtime rt(quiet());
  const auto c = rt.spawn<hoarder>();
  CHECK(rt.inspect(c, long_time).value().memory_bytes == 0);
  for (const std::size_t alignment : {1u, 8u, 16u, 64u, 4096u}) {
    for (const std::size_t bytes : {1u, 100u, 5000u}) {
      CHECK(rt.ask(c, allocate{bytes, alignment}, long_time).value());
    }
  }
  const auto full = rt.inspect(c, long_time).value();
  CHECK(full.memory_bytes >= 5 * 5101);
  CHECK(full.memory_peak_bytes == full.memory_bytes);
  CHECK(rt.ask(c, release_all{}, long_time).has_value());
  const auto empty = rt.inspect(c, long_time).value();
  CHECK(empty.memory_bytes == 0);
  CHECK(empty.memory_peak_bytes == full.memory_bytes);
  // Left behind at the end: the sanitizers say whether it is given back.
  for (int i = 0; i < 10; ++i) CHECK(rt.ask(c, allocate{1000, 64}, long_time).value());
}

TEST_CASE("over its quota a cell ends with memory_limit, whether or not the handler catches it") {
  for (const bool caught : {true, false}) {
    runtime rt(quiet());
    const auto c = rt.spawn<hoarder>(std::size_t{10'000});
    CHECK(rt.ask(c, allocate{5'000, 16}, long_time).value());
    const witness w(rt, c);
    if (caught) {
      c.send(greedy{});
    } else {
      c.send(allocate{5'001, 16});
    }
    CHECK(w.end() == "down: memory_limit");
  }
}

namespace {

class located : public cell {
public:
  using accepts = signals<get, ping>;
  std::string on(get) {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    return name;
  }
  void on(ping) {}
};

}  // namespace

TEST_CASE("a cell pinned to a worker runs there and nowhere else; a worker or node that does not exist is refused") {
  runtime rt(quiet(2));
  for (std::uint32_t w = 0; w < 2; ++w) {
    const auto c = rt.spawn_at<located>(placement::on_worker(w));
    for (int i = 0; i < 100; ++i) {
      REQUIRE(rt.ask(c, get{}, long_time).value() == "karyon.w" + std::to_string(w));
    }
    CHECK(rt.inspect(c, long_time).value().worker == w);
  }
  for (const placement bad : {placement::on_worker(2), placement::on_node(rt.nodes())}) {
    try {
      rt.spawn_at<located>(bad);
      FAIL("spawned nowhere");
    } catch (const runtime_error& e) {
      CHECK(e.why().code() == errc::not_found);
    }
  }
  CHECK(rt.metrics().cells == 2);
}

TEST_CASE("a cell's statistics count what it has handled and what waits") {
  door shut_door;
  door arrived;
  runtime rt(quiet());
  const auto c = rt.spawn_at<narrow>(placement::on_worker(0), shut_door, arrived);
  for (int i = 0; i < 5; ++i) REQUIRE(rt.ask(c, get{}, long_time).has_value());
  auto stats = rt.inspect(c, long_time).value();
  CHECK(stats.handled == 5);
  CHECK(stats.mailbox == 0);
  CHECK(stats.slot_bytes >= sizeof(narrow));
  CHECK(stats.restarts == 0);
  c.send(hold{});
  arrived.pass();
  for (int i = 0; i < 7; ++i) c.send(ping{});
  std::thread opener([&] { shut_door.open(); });
  // Overtakes the seven, which wait behind it, or comes after some of them.
  stats = rt.inspect(c, long_time).value();
  opener.join();
  CHECK(stats.handled + stats.mailbox == 13);
}
