// SPDX-License-Identifier: Apache-2.0
// Cells and CAF actors when something goes wrong on the way between them.
#include <karyon/interop/caf.hpp>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <caf/all.hpp>

#include "unit/cell/cell_testing.hpp"

namespace {

/// Can be moved, but not copied while `unwilling`.
struct brittle {
  inline static std::atomic<bool> unwilling{false};
  brittle() = default;
  brittle(const brittle&) {
    if (unwilling) throw std::runtime_error("broken on the way");
  }
  brittle(brittle&&) noexcept = default;
  brittle& operator=(const brittle&) = default;
  brittle& operator=(brittle&&) noexcept = default;
  ~brittle() = default;
};

}  // namespace

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(brittle)

using namespace karyon::tests;
using karyon::runtime;

namespace {

/// Answers, counts what breaks easily, and does what words say.
class server : public karyon::cell {
public:
  using accepts = karyon::signals<std::int32_t, brittle, std::string>;
  explicit server(diary& d) : diary_(&d) {}
  std::int32_t on(std::int32_t n) { return n + received_; }
  std::int32_t on(const brittle&) { return ++received_; }
  void on(const std::string& word) {
    if (word == "fail") throw std::runtime_error("told to");
    if (word == "quit") exit();
    if (word == "trap") trap_exit(true);
  }
  void on(const karyon::exit_signal& s) { diary_->write("exit: " + to_string(s.why)); }

private:
  diary* diary_;
  std::int32_t received_ = 0;
};

/// A server, and a thread that speaks to it as a CAF actor.
struct stage {
  diary d;
  runtime rt{quiet()};
  karyon::ref<server> c = rt.spawn<server>(d);
  caf::actor a = karyon::to_caf(c);
  caf::scoped_actor self{karyon::caf_system(rt)};

  /// What a request comes to: a number, or an error.
  template <class T>
  std::pair<std::int32_t, caf::error> ask(const caf::actor& whom, T question) {
    std::pair<std::int32_t, caf::error> got{-1, {}};
    self->request(whom, long_time, std::move(question))
        .receive([&](std::int32_t n) { got.first = n; }, [&](const caf::error& e) { got.second = e; });
    return got;
  }
  /// How the next actor that is monitored ends.
  caf::error next_down() {
    caf::error reason;
    self->receive([&](const caf::down_msg& m) { reason = m.reason; });
    return reason;
  }
  void end(const char* word) {
    c.send(std::string(word));
    REQUIRE(eventually([&] { return !c.alive(); }));
  }
};

/// Links itself to a handle, and unlinks again if told to; adds one.
caf::behavior linked(caf::event_based_actor* me, const caf::actor& to, bool unlinks) {
  me->link_to(to);
  if (unlinks) me->unlink_from(to);
  return {[](std::int32_t n) { return n + 1; }};
}

}  // namespace

TEST_CASE(
    "a message whose content can not be copied reaches no cell, a request of it gets an error, and the cell goes on") {
  stage s;
  brittle::unwilling = true;
  s.self->send(s.a, brittle{});
  const auto refused = s.ask(s.a, brittle{});
  brittle::unwilling = false;
  CHECK(refused.second == caf::sec::runtime_error);
  CHECK(s.ask(s.a, std::int32_t{10}).first == 10);
  CHECK(s.ask(s.a, brittle{}).first == 1);
}

TEST_CASE("a CAF request to a cell that has ended says that the receiver is down, and a plain message is dropped") {
  stage s;
  s.end("quit");
  s.self->send(s.a, std::int32_t{1});
  const auto got = s.ask(s.a, std::int32_t{1});
  CHECK(got.first == -1);
  CHECK(got.second == caf::sec::request_receiver_down);
}

TEST_CASE("a message of a type that the cell does not accept is refused, also if it has no sender to tell") {
  stage s;
  caf::anon_send(s.a, 1.5);
  CHECK(s.ask(s.a, 1.5).second == caf::sec::unexpected_message);
  CHECK(s.ask(s.a, std::int32_t{3}).first == 3);
}

TEST_CASE("CAF's exit messages end a cell as exit signals do, with the reason told on") {
  const std::vector<std::pair<caf::error, std::string>> rows{
      {caf::make_error(caf::exit_reason::user_shutdown), "down: shutdown"},
      {caf::make_error(caf::exit_reason::kill), "down: killed"},
      {caf::make_error(caf::sec::runtime_error, "words"), "down: error: caf::error: "},
  };
  for (const auto& [reason, told] : rows) {
    stage s;
    const witness w(s.rt, s.c);
    s.self->send_exit(s.a, reason);
    CHECK(w.end().substr(0, told.size()) == told);
  }
}

TEST_CASE("CAF's exit message without a reason ends no cell, and one that traps exits is given any but a kill") {
  stage s;
  s.self->send_exit(s.a, caf::error{});
  CHECK(s.ask(s.a, std::int32_t{5}).first == 5);
  s.c.send(std::string("trap"));
  CHECK(s.ask(s.a, std::int32_t{5}).first == 5);  // it traps by now: an exit message would overtake
  s.self->send_exit(s.a, caf::exit_reason::user_shutdown);
  REQUIRE(s.d.has(1));
  CHECK(s.d.lines() == lines{"exit: shutdown"});
  CHECK(s.c.alive());
  s.self->send_exit(s.a, caf::exit_reason::kill);
  CHECK(eventually([&] { return !s.c.alive(); }));
}

TEST_CASE("CAF is told how a cell ended: not at all, shut down, killed, or failed with words") {
  const std::vector<std::pair<karyon::exit_reason, caf::error>> rows{
      {karyon::exit_reason::shutdown(), caf::make_error(caf::exit_reason::user_shutdown)},
      {karyon::exit_reason::killed(), caf::make_error(caf::exit_reason::kill)},
      {karyon::exit_reason::error("type", "words"), caf::make_error(caf::exit_reason::unhandled_exception)},
  };
  for (const auto& [reason, told] : rows) {
    stage s;
    s.self->monitor(s.a);
    s.rt.exit(s.c, reason);
    CHECK(s.next_down() == told);
  }
  stage s;
  s.self->monitor(s.a);
  s.c.send(std::string("quit"));
  CHECK_FALSE(s.next_down());
}

TEST_CASE("a functor that throws when a cell has ended keeps no other from being told") {
  stage s;
  s.self->monitor(s.a);
  s.a->attach_functor([](const caf::error&) { throw std::runtime_error("in a functor"); });
  s.end("fail");
  CHECK(to_string(s.next_down()).find("told to") != std::string::npos);
}

TEST_CASE("who stops monitoring a cell is not told of its end, and who monitors an ended one is told at once") {
  stage s;
  s.self->monitor(s.a);
  s.self->demonitor(s.a);
  s.end("fail");
  s.self->monitor(s.a);
  CHECK(s.next_down() == caf::exit_reason::unknown);  // of the second monitor: the first is gone
}

TEST_CASE("a CAF actor that links to an ended cell ends, and one that has unlinked outlives the cell") {
  stage s;
  auto& system = karyon::caf_system(s.rt);
  const caf::actor outliving = system.spawn(linked, s.a, true);
  CHECK(s.ask(outliving, std::int32_t{1}).first == 2);
  s.end("fail");
  CHECK(s.ask(outliving, std::int32_t{2}).first == 3);
  const caf::actor late = system.spawn(linked, s.a, false);
  s.self->monitor(late);
  CHECK(s.next_down());
  s.self->send_exit(outliving, caf::exit_reason::user_shutdown);
}

TEST_CASE("an ended CAF actor as a cell ends at once") {
  stage s;
  const caf::actor gone = karyon::caf_system(s.rt).spawn(linked, s.a, true);
  s.self->monitor(gone);
  s.self->send_exit(gone, caf::exit_reason::user_shutdown);
  static_cast<void>(s.next_down());
  const auto c = karyon::from_caf<std::int32_t>(s.rt, gone);
  CHECK(eventually([&] { return !c.alive(); }));
  CHECK(c.send(std::int32_t{1}) == karyon::send_result::dead);
}
