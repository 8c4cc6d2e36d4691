// SPDX-License-Identifier: Apache-2.0
//
// Peers in processes of their own, which are killed and stopped.
#include <signal.h>

#include <sstream>

#include "support/catch.hpp"
#include "support/child_program.hpp"
#include "support/temporary_tree.hpp"
#include "synapse_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

constexpr peer_id here{11, 100};
constexpr std::uint64_t there = 22;

/// What a helper says of itself.
struct counts {
  std::uint64_t delivered = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t stale = 0;
  std::uint64_t expired = 0;
  std::uint64_t out_of_link = 0;
};

class helper {
public:
  helper(const std::string& endpoint, std::uint64_t incarnation, int silence_ms, int window,
         const std::string& called = "")
      : program_(words(endpoint, incarnation, silence_ms, window, called)), endpoint_(program_.line()) {}
  void send(int signal) const { program_.send(signal); }
  void stop() const { program_.stop(); }
  void kill() { program_.kill(); }
  [[nodiscard]] counts ask() {
    counts c;
    std::istringstream(program_.ask("counts")) >> c.delivered >> c.first >> c.last >> c.stale >> c.expired >>
        c.out_of_link;
    return c;
  }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

private:
  static std::vector<std::string> words(const std::string& endpoint, std::uint64_t incarnation, int silence_ms,
                                        int window, const std::string& called) {
    std::vector<std::string> all{
        SYNAPSE_HELPER,        endpoint, std::to_string(there), std::to_string(incarnation), std::to_string(silence_ms),
        std::to_string(window)};
    if (!called.empty()) all.push_back(called);
    return all;
  }
  child_program program_;
  std::string endpoint_;
};

synapse_options hasty(const std::string& endpoint, int silence_ms) {
  synapse_options o = patient();
  o.listen = {endpoint};
  o.silence_max = std::chrono::milliseconds{silence_ms};
  return o;
}

}  // namespace

TEST_CASE("a peer that is killed and started again gets nothing that was meant for its life before") {
  temporary_tree tree;
  const std::string path = "ipc://" + tree.path("n/peer");
  end me(here, hasty("ipc://" + tree.path("n/me"), 20'000));
  std::uint64_t accepted = 0;
  {
    helper first(path, 1, 20'000, 1000);
    REQUIRE(me->connect({path, ""}).has_value());
    REQUIRE(eventually([&] { return me.sink.is_up(); }));
    first.stop();  // so that something is on its way
    for (std::uint64_t i = 1; i <= 500; ++i) accepted += me.send({there, 1}, i) == frame_fate::accepted ? 1 : 0;
    CHECK(accepted == 500);
    first.kill();
    REQUIRE(eventually([&] { return !me.sink.is_up(); }));
    CHECK(me.sink.losses() == std::vector<link_loss>{link_loss::died});
    CHECK(me.send({there, 1}, 0) == frame_fate::peer_down);
  }
  helper second(path, 2, 20'000, 1000);
  REQUIRE(eventually([&] { return me.sink.is_up(); }));
  CHECK(me.sink.ups().back() == peer_id{there, 2});
  CHECK(me.send({there, 1}, 1000) == frame_fate::peer_down);
  CHECK(me.send({there, 2}, 1001) == frame_fate::accepted);
  CHECK(eventually([&] { return second.ask().delivered == 1; }));
  const counts c = second.ask();
  CHECK(c.first == 1001);
  CHECK(c.out_of_link == 0);
  CHECK(eventually([&] { return me.is_settled(accepted + 1); }));
  CHECK(me->stats().lost_with_link + me->stats().lost_before_send + me->stats().acknowledged == accepted + 1);
}

TEST_CASE(
    "a peer that is killed while it is sent to by a connection of the link's own has died, and each frame is counted") {
  synapse_options o = hasty("tcp://127.0.0.1:*", 20'000);
  o.heartbeat = std::chrono::milliseconds{10};
  o.stream_frames_per_s = 1;
  end me(here, o);
  helper peer("tcp://127.0.0.1:*", 1, 20'000, 1000);
  REQUIRE(me->connect({peer.endpoint(), ""}).has_value());
  REQUIRE(eventually([&] { return me.sink.is_up(); }));
  std::uint64_t accepted = 0;
  REQUIRE(eventually([&] {
    accepted += me.send({there, 1}, accepted + 1) == frame_fate::accepted ? 1 : 0;
    return me->stats().messages_streamed > 0;
  }));
  peer.stop();
  for (int i = 0; i < 500; ++i) accepted += me.send({there, 1}, accepted + 1) == frame_fate::accepted ? 1 : 0;
  peer.kill();
  REQUIRE(eventually([&] { return !me.sink.is_up(); }));
  CHECK(me.sink.losses() == std::vector<link_loss>{link_loss::died});
  CHECK(me.send({there, 1}, 0) == frame_fate::peer_down);
  CHECK(eventually([&] { return me.is_settled(accepted); }));
}

TEST_CASE(
    "a peer that is stopped is unreachable, takes no more than its window, and acts on nothing stale afterwards") {
  temporary_tree tree;
  constexpr int window = 200;
  helper peer("ipc://" + tree.path("n/peer"), 1, 1000, window);
  end me(here, hasty("ipc://" + tree.path("n/me"), 1000));
  REQUIRE(me->connect({peer.endpoint(), ""}).has_value());
  REQUIRE(eventually([&] { return me.sink.is_up(); }));
  peer.stop();
  std::uint64_t accepted = 0;
  // All that is tried until the link is given up.
  CHECK(eventually([&] {
    for (int i = 0; i < 1000; ++i) accepted += me.send({there, 1}, accepted + 1) == frame_fate::accepted ? 1 : 0;
    return !me.sink.is_up();
  }));
  CHECK(accepted <= window);
  CHECK(me.sink.losses().front() == link_loss::unreachable);
  CHECK(me.send({there, 1}, 0) == frame_fate::peer_down);
  peer.send(SIGCONT);
  REQUIRE(eventually([&] { return me.sink.is_up(); }));
  std::uint64_t last = 1'000'000;
  REQUIRE(eventually([&] { return me.send({there, 1}, ++last) == frame_fate::accepted; }));
  ++accepted;
  CHECK(eventually([&] { return peer.ask().last == last; }));
  const counts c = peer.ask();
  CHECK(c.out_of_link == 0);
  CHECK(c.delivered + c.stale <= accepted);
  CHECK(c.delivered >= me->stats().acknowledged);
  CHECK(end::adds_up(me->stats()));
}

TEST_CASE("a peer that takes nothing does not keep frames from a healthy one") {
  temporary_tree tree;
  helper stuck("ipc://" + tree.path("n/stuck"), 1, 20'000, 100);
  end me(here, hasty("ipc://" + tree.path("n/me"), 20'000));
  end healthy({33, 1}, hasty("ipc://" + tree.path("n/healthy"), 20'000));
  REQUIRE(me->connect({stuck.endpoint(), ""}).has_value());
  REQUIRE(me->connect({healthy->endpoints().front(), ""}).has_value());
  REQUIRE(eventually([&] { return me.sink.ups().size() == 2; }));
  stuck.stop();
  constexpr std::uint64_t n = 20'000;
  std::uint64_t to_stuck = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    to_stuck += me.send({there, 1}, i) == frame_fate::accepted ? 1 : 0;
    REQUIRE(eventually([&] { return me.send(healthy.id, i) == frame_fate::accepted; }));
  }
  CHECK(eventually([&] { return healthy.sink.entered() == n; }));
  CHECK(to_stuck == 100);
  stuck.send(SIGCONT);
  CHECK(eventually([&] { return me.is_settled(n + to_stuck); }));
  CHECK(stuck.ask().delivered == to_stuck);
}

TEST_CASE("a node that calls comes back by itself when the one that it calls has started anew") {
  // Stopped, it finds all at once: the former life's last greeting and bye, the end of its connections, and the next life.
  const bool stopped = GENERATE(false, true);
  CAPTURE(stopped);
  temporary_tree tree;
  const std::string mine = "tcp://127.0.0.1:*";
  auto me = std::make_unique<end>(here, hasty(mine, 20'000));
  const std::string endpoint = (*me)->endpoints().front();
  helper caller("tcp://127.0.0.1:*", 1, 20'000, 100, endpoint);
  REQUIRE(eventually([&] { return me->sink.is_up(); }));
  if (stopped) caller.stop();
  me.reset();
  end again({here.node, here.incarnation + 1}, hasty(endpoint, 20'000));
  REQUIRE(again.is_open());
  if (stopped) caller.send(SIGCONT);
  REQUIRE(eventually([&] { return again.sink.is_up(); }));
  // It is up when the other side knows it: what is sent arrives, and the link is still the first one.
  CHECK(again.send({there, 1}, 5) == frame_fate::accepted);
  CHECK(eventually([&] { return caller.ask().last == 5 || !again.sink.downs().empty(); }));
  CHECK(caller.ask().last == 5);
  CHECK(again.sink.losses().empty());
}

TEST_CASE(
    "a peer behind a network that loses everything is unreachable, and what was lost stays lost when it comes back") {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(SYNAPSE_HELPER, SYNAPSE_HELPER, "half-open", nullptr);
    ::_exit(127);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    WARN("left out: this user may have no network namespace of its own");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}
