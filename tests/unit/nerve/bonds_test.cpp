#include "unit/nerve/nerve_testing.hpp"
#include "unit/nerve/node_cells.hpp"

using namespace nerve_tests;
using karyon::cell_ref;
using karyon::child;
using karyon::exit_reason;
using karyon::send_result;
using karyon::detail::link_loss;
using karyon::tests::caught_up;
using karyon::tests::diary;
using karyon::tests::eventually;
using karyon::tests::long_time;
using karyon::tests::two_nodes;
using karyon::tests::watch;
using karyon::tests::watcher;

namespace {

struct link_to {
  cell_ref whom;
};
struct unlink_from {
  cell_ref whom;
};

struct link_again {
  cell_ref whom;
};

/// Links itself, and writes the exits that it traps.
class partner : public karyon::cell {
public:
  using accepts = karyon::signals<link_to, unlink_from, link_again, caught_up>;
  explicit partner(diary& d, bool traps = true) : diary_(&d) { trap_exit(traps); }
  void on(const link_to& l) { link(l.whom); }
  void on(const unlink_from& l) { unlink(l.whom); }
  void on(const link_again& l) {
    link(l.whom);
    unlink(l.whom);
    link(l.whom);
  }
  bool on(caught_up) { return true; }
  void on(const karyon::exit_signal& s) { diary_->write("exit: " + to_string(s.why)); }

private:
  diary* diary_;
};

}  // namespace

TEST_CASE("a monitor hears of the end of a cell on another node, with its reason") {
  diary d;
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  const auto w = two.rt_a.spawn<watcher>(d);
  CHECK(w.send(watch{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(w, caught_up{}, long_time).value());
  CHECK(c.send(fail_with{"worn out"}) == send_result::accepted);
  REQUIRE(d.has(1));
  CHECK(d.lines().front() == "down: error: std::runtime_error: worn out");
}

TEST_CASE("a monitor of a cell that is gone already is told at once") {
  diary d;
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  two.rt_b.exit(there, exit_reason::killed());
  REQUIRE(eventually([&] { return !there.alive(); }));
  const auto w = two.rt_a.spawn<watcher>(d);
  CHECK(w.send(watch{c.get()}) == send_result::accepted);
  REQUIRE(d.has(1));
  CHECK(d.lines().front() == "down: no_cell");
}

TEST_CASE("linked cells end with each other across nodes, from either side") {
  diary d;
  two_nodes two;
  SECTION("the other one fails") {
    two.b.publish("counter", two.rt_b.spawn<counter>());
    const child<counter> c = found(two);
    const auto p = two.rt_a.spawn<partner>(d);
    CHECK(p.send(link_to{c.get()}) == send_result::accepted);
    CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
    CHECK(c.send(fail_with{"worn out"}) == send_result::accepted);
    REQUIRE(d.has(1));
    CHECK(d.lines().front() == "exit: error: std::runtime_error: worn out");
  }
  SECTION("the one that linked ends") {
    const auto there = two.rt_b.spawn<counter>();
    two.b.publish("counter", there);
    const child<counter> c = found(two);
    const auto p = two.rt_a.spawn<partner>(d);
    CHECK(p.send(link_to{c.get()}) == send_result::accepted);
    CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
    two.rt_a.exit(p, exit_reason::killed());
    CHECK(eventually([&] { return !there.alive(); }));
  }
}

TEST_CASE("an unlinked cell on another node does not take its partner along") {
  diary d;
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  const auto p = two.rt_a.spawn<partner>(d);
  CHECK(p.send(link_to{c.get()}) == send_result::accepted);
  CHECK(p.send(unlink_from{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 0);  // behind the link and the unlink
  two.rt_b.exit(there, exit_reason::killed());
  REQUIRE(eventually([&] { return !there.alive(); }));
  CHECK(two.a.find<counter>("b", "none", long_time).error().code() == karyon::errc::not_found);  // behind the end
  CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
  CHECK(d.size() == 0);
}

TEST_CASE("an exit reaches a cell on another node") {
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  two.rt_a.exit(found(two).get(), exit_reason::killed());
  CHECK(eventually([&] { return !there.alive(); }));
}

TEST_CASE("nobody ends the desk of another node") {
  diary d;
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const auto p = two.rt_a.spawn<partner>(d);
  CHECK(p.send(link_to{two.a.desk("b")}) == send_result::accepted);
  REQUIRE(d.has(1));
  CHECK(d.lines().front().starts_with("exit: node_down: refused"));
  two.rt_a.exit(p, exit_reason::killed());
  two.rt_a.exit(two.a.desk("b"), exit_reason::killed());
  CHECK(eventually([&] { return two.b.stats().bad_frames == 1; }));
  CHECK(two.a.find<counter>("b", "counter", long_time).has_value());
}

TEST_CASE("a lost node ends links and monitors on both sides, and says how it was lost") {
  diary d;
  diary e;
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  const auto w = two.rt_a.spawn<watcher>(d);
  const auto p = two.rt_a.spawn<partner>(e);
  CHECK(w.send(watch{c.get()}) == send_result::accepted);
  CHECK(p.send(link_to{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(w, caught_up{}, long_time).value());
  CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 0);  // behind both

  const bool died = GENERATE(true, false);
  two.net.cut(two.a, two.b, died ? link_loss::died : link_loss::unreachable);
  REQUIRE(d.has(1));
  REQUIRE(e.has(1));
  const std::string how = died ? "node_down: died" : "node_down: unreachable";
  CHECK(d.lines().front().starts_with("down: " + how));
  CHECK(e.lines().front().starts_with("exit: " + how));
  CHECK(eventually([&] { return !there.alive(); }));  // the other side's end of the link
}

TEST_CASE("cells that have unlinked and linked again hear of a lost node, both of them") {
  diary d;
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  const auto p = two.rt_a.spawn<partner>(d);
  CHECK(p.send(link_again{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
  CHECK(two.rt_a.ask(c, total{}, long_time).value() ==
        0);  // behind the links; the acknowledgement came before the answer
  two.net.cut(two.a, two.b, link_loss::unreachable);
  REQUIRE(d.has(1));
  CHECK(d.lines().front().starts_with("exit: node_down: unreachable"));
  CHECK(eventually([&] { return !there.alive(); }));
}

TEST_CASE("an unlink waits for room as the news of an end does") {
  diary d;
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  const auto p = two.rt_a.spawn<partner>(d);
  CHECK(p.send(link_to{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
  two.net.grant(0);
  CHECK(p.send(unlink_from{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(p, caught_up{}, long_time).value());
  two.net.grant(1000);
  // The first answer makes it go, before the second comes; the third is behind it.
  for (int i = 0; i < 3; ++i) CHECK(two.rt_a.ask(c, total{}, long_time).value() == 0);
  two.net.cut(two.a, two.b, link_loss::died);
  CHECK(two.rt_b.ask(there, total{}, long_time).value() == 0);
  CHECK(there.alive());
}

TEST_CASE("what is linked while the node is not connected is told so at once") {
  diary d;
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  two.net.cut(two.a, two.b, link_loss::died);
  const auto w = two.rt_a.spawn<watcher>(d);
  CHECK(w.send(watch{c.get()}) == send_result::accepted);
  REQUIRE(d.has(1));
  CHECK(d.lines().front().starts_with("down: node_down"));
}

TEST_CASE("the news of an end waits for room, and keeps its place") {
  diary d;
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  const auto w = two.rt_a.spawn<watcher>(d);
  CHECK(w.send(watch{c.get()}) == send_result::accepted);
  CHECK(two.rt_a.ask(w, caught_up{}, long_time).value());
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 0);
  two.net.grant(0);
  two.rt_b.exit(there, exit_reason::killed());
  REQUIRE(eventually([&] { return !there.alive(); }));
  CHECK(d.size() == 0);
  two.net.grant(1000);
  // Any frame to the other node makes it try again.
  CHECK(eventually([&] {
    static_cast<void>(c.send(add{1}));
    return d.size() == 1;
  }));
  CHECK(two.b.stats().notices_lost == 0);
}
