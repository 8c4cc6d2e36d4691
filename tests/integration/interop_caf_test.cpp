// SPDX-License-Identifier: Apache-2.0
#include <karyon/interop/caf.hpp>

#include <pthread.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include <caf/all.hpp>

#include <karyon/supervise/supervisor.hpp>

#include "unit/cell/cell_testing.hpp"

using namespace karyon::tests;
using karyon::runtime;

namespace {

/// Doubles numbers; does what words say; traps exits if told to.
class echo : public karyon::cell {
public:
  using accepts = karyon::signals<std::int32_t, std::string>;
  explicit echo(diary& d) : diary_(&d) {}
  std::int32_t on(std::int32_t n) {
    if (n < 0) throw std::invalid_argument("negative");
    return 2 * n;
  }
  void on(const std::string& word) {
    if (word == "fail") throw std::runtime_error("told to");
    if (word == "quit") return exit();
    if (word == "trap") return trap_exit(true);
    diary_->write(word);
  }
  void on(const karyon::exit_signal& s) { diary_->write("exit: " + to_string(s.why)); }

private:
  diary* diary_;
};

std::string thread_name() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

/// A stock CAF actor: adds `step`, says which thread it runs on, fails, quits. It has an argument because CAF 0.17 reads
/// through a null pointer, which libstdc++'s assertions catch, for functions without.
caf::behavior stock(caf::event_based_actor* self, std::int32_t step) {
  return {
      [step](std::int32_t n) { return n + step; },
      [self](const std::string& word) -> std::string {
        if (word == "quit") self->quit();
        if (word == "fail") self->quit(caf::make_error(caf::sec::runtime_error, "told to"));
        return thread_name();
      },
  };
}

constexpr std::uint64_t place_mask = (std::uint64_t{1} << 41) - 1;  // of an id: which slot

}  // namespace

TEST_CASE("a CAF actor sends to a cell and requests its answers") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<echo>(d);
  {
    const caf::actor a = karyon::to_caf(c);
    REQUIRE(a);
    CHECK(a == karyon::to_caf(c));
    caf::scoped_actor self(karyon::caf_system(rt));
    self->send(a, std::string("hello"));
    std::int32_t answer = 0;
    self->request(a, long_time, std::int32_t{21})
        .receive([&](std::int32_t n) { answer = n; }, [](const caf::error&) {});
    CHECK(answer == 42);
    CHECK(d.lines() == lines{"hello"});
    bool unexpected = false;
    self->request(a, long_time, 1.5)
        .receive([](std::int32_t) {}, [&](const caf::error& e) { unexpected = e == caf::sec::unexpected_message; });
    CHECK(unexpected);
  }
}

TEST_CASE("a CAF request to a cell that fails or has ended gets an error") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<echo>(d);
  {
    const caf::actor a = karyon::to_caf(c);
    caf::scoped_actor self(karyon::caf_system(rt));
    for (int i = 0; i < 2; ++i) {
      bool failed = false;
      self->request(a, long_time, std::int32_t{-1})
          .receive([](std::int32_t) {}, [&](const caf::error&) { failed = true; });
      CHECK(failed);
      REQUIRE(eventually([&] { return !c.alive(); }));
    }
  }
  CHECK_FALSE(karyon::to_caf(c));
}

TEST_CASE("a CAF actor monitors a cell and is told of its end, at once if it has ended") {
  diary d;
  runtime rt(quiet());
  const auto c = rt.spawn<echo>(d);
  {
    const caf::actor a = karyon::to_caf(c);
    caf::scoped_actor self(karyon::caf_system(rt));
    self->monitor(a);
    c.send(std::string("fail"));
    std::string reason;
    const auto told = [&](const caf::down_msg& m) { reason = to_string(m.reason); };
    self->receive(told);
    CHECK(reason.find("told to") != std::string::npos);
    self->monitor(a);
    self->receive(told);
  }
}

TEST_CASE("stock CAF actors run on the runtime's workers") {
  runtime rt(quiet());
  auto& system = karyon::caf_system(rt);
  {
    caf::scoped_actor self(system);
    const caf::actor a = system.spawn(stock, std::int32_t{1});
    for (int i = 0; i < 20; ++i) {
      std::string name;
      self->request(a, long_time, std::string("where?"))
          .receive([&](const std::string& n) { name = n; }, [](const caf::error&) {});
      REQUIRE(name.substr(0, 8) == "karyon.w");
    }
    self->send_exit(a, caf::exit_reason::user_shutdown);
  }
}

TEST_CASE("a link between a cell and a CAF actor ends either when the other fails") {
  diary d;
  runtime rt(quiet());
  auto& system = karyon::caf_system(rt);
  for (const bool cell_fails : {true, false}) {
    const auto c = rt.spawn<echo>(d);
    caf::scoped_actor self(system);
    const caf::actor other = system.spawn(
        [](caf::event_based_actor* me, const caf::actor& handle) -> caf::behavior {
          me->link_to(handle);
          return stock(me, 1);
        },
        karyon::to_caf(c));
    self->monitor(other);
    // Answered: the link is made.
    bool there = false;
    self->request(other, long_time, std::int32_t{1})
        .receive([&](std::int32_t n) { there = n == 2; }, [](const caf::error&) {});
    REQUIRE(there);
    if (cell_fails) {
      c.send(std::string("fail"));
    } else {
      self->send(other, std::string("fail"));
    }
    bool down = false;
    while (!down) {
      self->receive([&](const caf::down_msg&) { down = true; }, [](const std::string&) {});
    }
    CHECK(eventually([&] { return !c.alive(); }));
  }
}

TEST_CASE("a CAF actor as a cell forwards, ends with its actor, and ends its actor with it") {
  runtime rt(quiet());
  auto& system = karyon::caf_system(rt);
  for (const bool actor_first : {true, false}) {
    diary d;
    caf::scoped_actor self(system);
    const caf::actor actor = system.spawn(
        [&d](caf::event_based_actor* me, const std::string& last) -> caf::behavior {
          return {[&d, me, last](const std::string& word) {
            if (word == last) me->quit();
            d.write(word);
          }};
        },
        std::string("quit"));
    self->monitor(actor);
    const auto c = karyon::from_caf<std::string>(rt, actor);
    const karyon::cell_ref untyped = c;
    const witness w(rt, c);
    CHECK(c.send(std::string("one")) == karyon::send_result::accepted);
    CHECK(untyped.send(std::string("two")) == karyon::send_result::accepted);
    CHECK(untyped.send(std::int32_t{3}) == karyon::send_result::no_handler);
    REQUIRE(d.has(2));
    CHECK(d.lines() == lines{"one", "two"});
    if (actor_first) {
      c.send(std::string("quit"));
    } else {
      rt.exit(c, karyon::exit_reason::killed());
    }
    bool down = false;
    self->receive([&](const caf::down_msg&) { down = true; });
    CHECK(down);
    CHECK(w.end() == (actor_first ? "down: shutdown" : "down: killed"));
  }
}

TEST_CASE("the handle of a child's role is good after its restart") {
  diary d;
  runtime rt(quiet());
  auto s = rt.supervise({.strategy = karyon::one_for_one, .intensity = {100, std::chrono::seconds(5)}});
  const auto c = s.start<echo>(std::ref(d));
  {
    const caf::actor a = karyon::to_caf(c.get());
    caf::scoped_actor self(karyon::caf_system(rt));
    for (int i = 0; i < 10; ++i) {
      self->send(a, std::string("fail"));
      REQUIRE(eventually([&] { return s.restarts() == static_cast<std::uint64_t>(i) + 1 && c.get(); }));
      std::int32_t answer = 0;
      self->request(a, long_time, std::int32_t{i})
          .receive([&](std::int32_t n) { answer = n; }, [](const caf::error&) {});
      CHECK(answer == 2 * i);
    }
  }
  s.stop();
}

TEST_CASE("a cell's place is not given to another while a CAF handle points to it, and is afterwards") {
  diary d;
  runtime rt(quiet(1));
  const auto c = rt.spawn<echo>(d);
  const std::uint64_t place = c.id() & place_mask;
  const auto reused = [&] {
    const auto next = rt.spawn<echo>(d);
    const bool same = (next.id() & place_mask) == place;
    rt.exit(next, karyon::exit_reason::killed());
    static_cast<void>(eventually([&] { return !next.alive(); }));
    return same;
  };
  {
    caf::actor a = karyon::to_caf(c);
    const caf::actor copy = a;
    c.send(std::string("quit"));
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
    for (int i = 0; i < 100; ++i) REQUIRE_FALSE(reused());
    a = nullptr;
    for (int i = 0; i < 100; ++i) REQUIRE_FALSE(reused());
  }
  // All that were ended are given again before fresh memory is.
  std::vector<karyon::ref<echo>> all;
  bool back = false;
  for (int i = 0; i < 5'000 && !back; ++i) {
    all.push_back(rt.spawn<echo>(d));
    back = (all.back().id() & place_mask) == place;
  }
  CHECK(back);
}
