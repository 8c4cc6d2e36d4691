#include <stdexcept>

#include <karyon/nerve/send_within.hpp>

#include "nerve/node_hello.hpp"
#include "unit/nerve/nerve_testing.hpp"
#include "unit/nerve/node_cells.hpp"

using namespace nerve_tests;
using karyon::child;
using karyon::errc;
using karyon::send_result;
using karyon::detail::link_loss;
using karyon::tests::adds_up;
using karyon::tests::eventually;
using karyon::tests::long_time;
using karyon::tests::two_nodes;

TEST_CASE("a cell that a node has published is found, told and asked from another") {
  two_nodes two;
  auto tissue = two.rt_b.supervise();
  two.b.publish("counter", tissue.start<counter>());

  const child<counter> c = found(two);
  CHECK(c.send(add{40}) == send_result::accepted);
  CHECK(c.send(add{2}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 42);
  CHECK(c.alive());
  CHECK(eventually([&] { return two.b.stats().received == two.a.stats().accepted; }));
  CHECK(adds_up(two.a.stats()));
  CHECK(adds_up(two.b.stats()));
}

TEST_CASE("a signal can be given a time to live of its own, and the next one has its node's again") {
  two_nodes two({.name = "a", .time_to_live = std::chrono::seconds(2)}, {.name = "b"});
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  CHECK(karyon::send_within(c, std::chrono::milliseconds(5), add{1}) == send_result::accepted);
  CHECK(two.net.newest_ttl_us() == 5000);
  CHECK(karyon::send_within(c, std::chrono::microseconds(1), add{1}) == send_result::accepted);
  CHECK(two.net.newest_ttl_us() == 1);
  CHECK(karyon::send_within(c, std::chrono::hours(24), add{1}) == send_result::accepted);
  CHECK(two.net.newest_ttl_us() == 0xFFFF'FFFF);
  CHECK(c.send(add{1}) == send_result::accepted);
  CHECK(two.net.newest_ttl_us() == 2'000'000);
  const auto here = two.rt_a.spawn<counter>();
  CHECK(karyon::send_within(here, std::chrono::milliseconds(5), add{1}) == send_result::accepted);
  CHECK(two.rt_a.ask(here, total{}, long_time).value() == 1);
}

TEST_CASE("a signal whose time to live is over is refused at the send to another node, and counted") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  for (const int us : {0, -1}) {
    CHECK(karyon::send_within(c, std::chrono::microseconds(us), add{1}) == send_result::expired);
  }
  CHECK(two.a.stats().expired == 2);
  CHECK(adds_up(two.a.stats()));
  const auto here = two.rt_a.spawn<counter>();
  CHECK(karyon::send_within(here, std::chrono::microseconds(0), add{1}) ==
        send_result::accepted);  // it is there at once
  CHECK(c.send(add{2}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 2);
}

TEST_CASE("a signal with text and lists arrives as it was sent") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  CHECK(c.send(note{"numbers", {1, -2, 300000}}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, last_note{}, long_time).value() == "numbers 1 -2 300000");
}

TEST_CASE("a published child is reached through its restarts") {
  two_nodes two;
  auto tissue = two.rt_b.supervise();
  const child<counter> there = tissue.start<counter>(std::int64_t{7});
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  const auto before = there.get();
  CHECK(c.send(add{1}) == send_result::accepted);
  CHECK(c.send(fail_with{"on purpose"}) == send_result::accepted);
  REQUIRE(eventually([&] {
    const auto now = there.get();  // asked once: it may be empty a moment later
    return now && now != before;
  }));
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 7);
}

TEST_CASE("looking up says what is wrong") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  CHECK(two.a.find<counter>("b", "other", long_time).error().code() == errc::not_found);
  CHECK(two.a.find<host_cell>("b", "counter", long_time).error().code() == errc::invalid_argument);
  CHECK(two.a.find<counter>("nobody", "counter", long_time).error().code() == errc::no_route);
  CHECK(two.b.withdraw("counter"));
  CHECK_FALSE(two.b.withdraw("counter"));
  CHECK(two.a.find<counter>("b", "counter", long_time).error().code() == errc::not_found);
}

TEST_CASE("a handle in a signal works where it arrives, and is the local one again when it comes home") {
  two_nodes two;
  two.b.publish("host", two.rt_b.spawn<host_cell>());
  const auto host = two.a.find<host_cell>("b", "host", long_time).value();
  const auto guest = two.rt_a.spawn<counter>();

  const auto home = two.rt_a.ask(host, hello{guest, guest}, long_time).value();
  CHECK(home == guest);
  // The host's cell_ref was used before its answer was sent.
  CHECK(two.rt_a.ask(guest, total{}, long_time).value() == 5);
  CHECK(two.rt_a.ask(host, call_back{}, long_time).value() == "accepted");
  CHECK(eventually([&] { return two.rt_a.ask(guest, total{}, long_time).value() == 15; }));
}

TEST_CASE("a signal that is not declared does not leave its process") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  CHECK(c.send(private_word{"secret"}) == send_result::not_declared);
  CHECK(two.a.stats().not_declared == 1);
  CHECK(karyon::cell_ref(c.get()).send(private_word{"secret"}) == send_result::not_declared);
  CHECK(two.a.stats().not_declared == 2);
  CHECK(adds_up(two.a.stats()));
}

TEST_CASE("a signal larger than a frame is refused at the send") {
  two_nodes two(karyon::node_options{.name = "a", .frame_bytes_max = 2048}, karyon::node_options{.name = "b"});
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  CHECK(c.send(note{std::string(4096, 'x'), {}}) == send_result::too_large);
  CHECK(c.send(note{std::string(512, 'x'), {}}) == send_result::accepted);
  CHECK(adds_up(two.a.stats()));
}

TEST_CASE("what the other side has no room for is refused at the send, and works again later") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  two.net.grant(0);
  CHECK(c.send(add{1}) == send_result::no_credit);
  CHECK(two.rt_a.ask(c, total{}, long_time).error().code() == errc::no_credit);
  two.net.grant(1000);
  CHECK(c.send(add{1}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 1);
}

TEST_CASE("a lost link answers every question that waits, and refuses what is sent, until it comes back") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  auto first = two.rt_a.ask_async(c, never_answered{});
  auto second = two.rt_a.ask_async(c, never_answered{});
  two.net.cut(two.a, two.b, link_loss::unreachable);

  for (auto* waiting : {&first, &second}) {
    const auto answer = waiting->get(long_time);
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().code() == errc::peer_down);
    CHECK(answer.error().message().find("unreachable") != std::string::npos);
  }
  CHECK(two.a.stats().questions_lost == 2);
  CHECK(c.send(add{1}) == send_result::peer_down);
  CHECK_FALSE(c.get().alive());
  CHECK(two.a.find<counter>("b", "counter", long_time).error().code() == errc::peer_down);

  two.net.connect(two.a, two.b);
  CHECK(c.send(add{3}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 3);
}

TEST_CASE("the cell asked may end first: the asker is told why") {
  two_nodes two;
  const auto there = two.rt_b.spawn<counter>();
  two.b.publish("counter", there);
  const child<counter> c = found(two);
  auto answer = two.rt_a.ask_async(c, never_answered{});
  CHECK(c.send(fail_with{"worn out"}) == send_result::accepted);
  const auto r = answer.get(long_time);
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code() == errc::cell_failed);
  // And then it is dead: an answer says so.
  CHECK(two.rt_a.ask(c, total{}, long_time).error().code() == errc::dead);
  CHECK(c.send(add{1}) == send_result::accepted);
  CHECK(eventually([&] { return two.b.stats().dead_here >= 2; }));
}

TEST_CASE("handles to a node that has ended say so once its successor is seen") {
  karyon::runtime rt_a(karyon::tests::quiet());
  karyon::runtime rt_b(karyon::tests::quiet());
  karyon::tests::wires net;
  karyon::node a(rt_a, {.name = "a"});
  net.add(a);
  child<counter> c;
  const auto ask_pumped = [&](auto&& ask) {
    std::atomic<bool> done{false};
    std::thread pump([&] {
      while (!done) {
        if (!net.pump()) std::this_thread::yield();
      }
    });
    auto r = ask();
    done = true;
    pump.join();
    return r;
  };
  std::uint64_t first_life = 0;
  {
    karyon::node b(rt_b, {.name = "b"});
    first_life = b.incarnation();
    net.add(b);
    net.connect(a, b);
    b.publish("counter", rt_b.spawn<counter>());
    c = ask_pumped([&] { return a.find<counter>("b", "counter", long_time); }).value();
    CHECK(c.send(add{1}) == send_result::accepted);
    net.cut(a, b, link_loss::died);
    net.remove(b);
  }
  CHECK(c.send(add{1}) == send_result::peer_down);
  CHECK(c.alive());
  karyon::node b(rt_b, {.name = "b"});
  CHECK(b.incarnation() > first_life);
  net.add(b);
  net.connect(a, b);
  CHECK(c.send(add{1}) == send_result::dead);
  CHECK_FALSE(c.alive());
}

TEST_CASE("a cell of an offered type is started under a supervisor of the other node") {
  two_nodes two;
  auto tissue = two.rt_b.supervise();
  two.b.offer<counter, std::int64_t>("counter", tissue);
  const child<counter> c = two.a.start<counter>("b", "counter", long_time, std::int64_t{30}).value();
  CHECK(tissue.children() == 1);
  CHECK(c.send(add{12}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 42);

  CHECK(two.a.start<counter>("b", "none", long_time, std::int64_t{1}).error().code() == errc::not_found);
  const auto other_arguments = two.a.start<counter>("b", "counter", long_time, std::int32_t{1});
  REQUIRE_FALSE(other_arguments.has_value());
  CHECK(other_arguments.error().message() ==
        "counter is a nerve_tests::counter made from (int64) there, not a nerve_tests::counter made from (int32)");
  CHECK(tissue.children() == 1);
}

TEST_CASE("a broadcast reaches cells here and there alike") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const auto here = two.rt_a.spawn<counter>();
  const auto there = found(two);
  const std::vector<karyon::ref<counter>> all{here, there.get()};
  CHECK(karyon::broadcast(all, note{"to all of them, and longer than what is copied", {4}}).accepted == 2);
  CHECK(two.rt_a.ask(there, last_note{}, long_time).value() == "to all of them, and longer than what is copied 4");
  CHECK(two.rt_a.ask(here, last_note{}, long_time).value() == "to all of them, and longer than what is copied 4");
}

TEST_CASE("a node ends while cells still send to others") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  child<counter> c;
  {
    karyon::node extra(two.rt_a, {.name = "extra"});
    two.net.add(extra);
    two.net.connect(extra, two.b);
    c = extra.find<counter>("b", "counter", long_time).value();
    CHECK(c.send(add{1}) == send_result::accepted);
    two.net.remove(extra);
  }
  CHECK(c.send(add{1}) == send_result::dead);
  CHECK(two.rt_a.ask(c, total{}, long_time).error().code() == errc::dead);
}

TEST_CASE("handles to many lives of a node are made, used and taken away at the same time") {
  karyon::runtime rt(karyon::tests::quiet());
  karyon::node a(rt, {.name = "a"});
  auto& core = karyon::detail::node_access::core(a);
  const auto greeting = karyon::detail::write_node_hello("b").value();
  const std::uint64_t b = karyon::detail::wire_hash("b");
  core.link_up({b, 1}, greeting);
  const auto first = a.desk("b");

  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> wrong{0};
  std::vector<std::thread> senders;
  for (int i = 0; i < 3; ++i) {
    senders.emplace_back([&] {
      while (!done) {
        const send_result old_life = first.send(karyon::look_up{"x", "y"});
        const send_result now = a.desk("b").send(karyon::look_up{"x", "y"});
        // Nothing carries frames, so nothing is accepted; a life may end between the two calls.
        if (old_life != send_result::dead && old_life != send_result::no_route && old_life != send_result::peer_down)
          ++wrong;
        if (now != send_result::dead && now != send_result::no_route && now != send_result::peer_down) ++wrong;
      }
    });
  }
  for (std::uint64_t life = 2; life < 300; ++life) core.link_up({b, life}, greeting);
  done = true;
  for (std::thread& t : senders) t.join();
  CHECK(wrong == 0);
  CHECK(first.send(karyon::look_up{"x", "y"}) == send_result::dead);
  CHECK(a.desk("b").send(karyon::look_up{"x", "y"}) == send_result::no_route);
  REQUIRE(a.peers().size() == 1);
  CHECK(a.peers().front().incarnation == 299);
  CHECK(adds_up(a.stats()));
}

TEST_CASE("a handle to a later life of a node that nobody has met does not hide the one that is there") {
  karyon::runtime rt(karyon::tests::quiet());
  karyon::node a(rt, {.name = "a"});
  auto& core = karyon::detail::node_access::core(a);
  const std::uint64_t b = karyon::detail::wire_hash("b");
  core.link_up({b, 7}, karyon::detail::write_node_hello("b").value());
  karyon::detail::address made_up;
  bool role = false;
  REQUIRE(core.from_wire({b, 1000, {1, 0}}, made_up, role, nullptr));
  CHECK(core.connected("b"));
  const auto desk = a.desk("b");
  core.link_down({b, 7}, link_loss::died);
  CHECK(desk.send(karyon::look_up{"x", "y"}) == send_result::peer_down);
  // And one to an earlier life has ended already.
  karyon::detail::address earlier;
  REQUIRE(core.from_wire({b, 6, {1, 0}}, earlier, role, nullptr));
  CHECK(earlier.slot == nullptr);
}

TEST_CASE("a node that says it begins in the far future keeps no other out") {
  karyon::runtime rt(karyon::tests::quiet());
  karyon::node a(rt, {.name = "a"});
  auto& core = karyon::detail::node_access::core(a);
  const std::uint64_t b = karyon::detail::wire_hash("b");
  const auto greeting = karyon::detail::write_node_hello("b").value();
  core.link_up({b, ~std::uint64_t{0}}, greeting);
  CHECK_FALSE(core.connected("b"));
  core.link_up({b, 7}, greeting);
  CHECK(core.connected("b"));
}

TEST_CASE("a second node of a runtime, which has none of its services, takes it for no bad frame to be asked of them") {
  karyon::runtime rt(karyon::tests::quiet());
  const karyon::node first(rt, {.name = "a"});
  karyon::node second(rt, {.name = "b"});
  auto& core = karyon::detail::node_access::core(second);
  const karyon::detail::peer_id c{karyon::detail::wire_hash("c"), 7};
  core.link_up(c, karyon::detail::write_node_hello("c").value());
  karyon::detail::frame_header h;
  h.kind = karyon::detail::frame_kind::service;
  const std::vector<std::byte> question(40, std::byte{1});
  core.received(c, h, question);
  CHECK(second.stats().bad_frames == 0);
  core.received(c, h, std::span(question).first(3));
  CHECK(second.stats().bad_frames == 1);
}

TEST_CASE("cells of a peer that come and go take no more room than those that live at a time") {
  karyon::node_options for_a{.name = "a"};
  for_a.cells_max = 300;
  karyon::node_options for_b{.name = "b"};
  for_b.cells_max = 64;  // so many places are used again and again
  two_nodes two(for_a, for_b);
  two.a.publish("host", two.rt_a.spawn<host_cell>());
  const auto host = two.b.find<host_cell>("a", "host", long_time).value();
  const auto lasting = two.rt_b.spawn<counter>();
  REQUIRE(two.rt_b.ask(host, hello{lasting, lasting}, long_time).has_value());
  for (int i = 0; i < 1000; ++i) {
    const auto guest = two.rt_b.spawn<counter>();
    REQUIRE(two.rt_b.ask(host, hello{guest, guest}, long_time).value() == guest);
    two.rt_b.exit(guest, karyon::exit_reason::killed());
    REQUIRE(eventually([&] { return !guest.alive(); }));
  }
  CHECK(two.a.stats().unreadable_here == 0);
  // The one that has lived throughout is still reached.
  REQUIRE(two.rt_b.ask(host, hello{lasting, lasting}, long_time).value() == lasting);
  CHECK(eventually([&] { return two.rt_b.ask(lasting, total{}, long_time).value() == 10; }));
}

TEST_CASE("a node whose greeting can not be read, or has another name, is not connected") {
  karyon::runtime rt(karyon::tests::quiet());
  karyon::node a(rt, {.name = "a"});
  auto& core = karyon::detail::node_access::core(a);
  const karyon::detail::peer_id b{karyon::detail::wire_hash("b"), 1};
  const std::vector<std::byte> junk(10, std::byte{0x93});
  core.link_up(b, junk);
  CHECK_FALSE(core.connected("b"));
  core.link_down(b, link_loss::refused);
  core.link_up(b, karyon::detail::write_node_hello("c").value());
  CHECK_FALSE(core.connected("b"));
  CHECK(a.peers().empty());
  core.link_down(b, link_loss::refused);
  core.link_up(b, karyon::detail::write_node_hello("b").value());
  CHECK(core.connected("b"));
}

TEST_CASE("cells of nodes that nobody has met take room up to one limit for all of them") {
  karyon::runtime rt(karyon::tests::quiet());
  karyon::node_options few{.name = "a"};
  few.cells_max = 4;
  karyon::node a(rt, few);
  auto& core = karyon::detail::node_access::core(a);
  std::size_t known = 0;
  for (std::uint64_t node = 1; node <= 20; ++node) {
    karyon::detail::address at;
    bool role = false;
    if (core.from_wire({node, 1, {1, 0}}, at, role, nullptr)) ++known;
  }
  CHECK(known == 4);
  // Those that are met have a limit of their own.
  core.link_up({karyon::detail::wire_hash("b"), 1}, karyon::detail::write_node_hello("b").value());
  CHECK(a.desk("b"));
}

TEST_CASE("frames that make no sense are counted, and do no harm") {
  two_nodes two;
  two.b.publish("counter", two.rt_b.spawn<counter>());
  const child<counter> c = found(two);
  auto& core = karyon::detail::node_access::core(two.b);
  const auto from = karyon::detail::node_access::core(two.a).self();
  const auto before = two.b.stats();
  std::vector<std::byte> junk(100, std::byte{0x93});
  std::uint64_t sent = 0;
  for (std::uint16_t type = 0; type < 40; ++type) {
    for (std::uint32_t index = 0; index < 4; ++index) {
      for (const auto kind : {karyon::detail::frame_kind::signal, karyon::detail::frame_kind::ask}) {
        karyon::detail::frame_header h;
        h.kind = kind;
        h.type = type;
        h.destination = {index, static_cast<std::uint16_t>(type % 2)};
        h.source = {1, 0};
        core.received(from, h, junk);
        ++sent;
      }
    }
    karyon::detail::frame_header h;
    h.kind = type % 2 == 0 ? karyon::detail::frame_kind::control : karyon::detail::frame_kind::answer;
    core.received(from, h, junk);
    core.received({from.node + 1, 5}, h, junk);  // from nobody
  }
  const auto after = two.b.stats();
  CHECK(after.received - before.received == sent);
  CHECK(after.delivered == before.delivered);
  CHECK(after.bad_frames - before.bad_frames == 60);
  CHECK(after.unreadable_here > before.unreadable_here);
  CHECK(adds_up(after));
  CHECK(c.send(add{1}) == send_result::accepted);
  CHECK(two.rt_a.ask(c, total{}, long_time).value() == 1);
}
