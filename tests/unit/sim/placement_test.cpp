// SPDX-License-Identifier: Apache-2.0
// Workers that are switched off and on, and cells that move, in simulated worlds.
#include <karyon/sim/testing.hpp>

#include <vector>

#include "support/catch.hpp"

using namespace karyon;
using namespace std::chrono_literals;
using testing::for_each_seed;
using testing::world;

namespace {

struct next_is {
  cell_ref next;
};
struct hop {
  std::uint64_t number = 0;
  std::uint32_t left = 0;
};
struct set_out {
  std::uint32_t hops = 0;
};
struct beat {};

struct account {
  std::uint64_t hops = 0;
  std::uint64_t finished = 0;
  std::uint64_t disordered = 0;
  std::uint64_t beats = 0;
};

class member : public cell {
public:
  using accepts = signals<next_is, set_out, hop, beat>;
  explicit member(account& a) : account_(&a) {}
  void on_start() { send_every(self(this), beat{}, 1ms); }
  void on(const next_is& n) { next_ = n.next; }
  void on(set_out b) { next_.send(hop{sent_++, b.hops - 1}); }
  void on(hop h) {
    ++account_->hops;
    if (h.number != expected_++) ++account_->disordered;
    if (h.left == 0) {
      ++account_->finished;
    } else {
      next_.send(hop{sent_++, h.left - 1});
    }
  }
  void on(beat) { ++account_->beats; }

private:
  account* account_;
  cell_ref next_;
  std::uint64_t sent_ = 0;
  std::uint64_t expected_ = 0;
};

}  // namespace

TEST_CASE("in any order of events, switched-off workers and migrations lose, double and overtake nothing") {
  testing::world_options options;
  options.workers = 4;
  options.nodes = 2;
  std::uint64_t forwarded_or_homed = 0;
  for_each_seed({.first = 1, .count = 60}, options, [&](world& w) {
    auto& a = w.keep<account>();
    runtime& rt = w.runtime();
    std::vector<ref<member>> ring;
    for (std::uint32_t i = 0; i < 6; ++i) {
      ring.push_back(rt.spawn_at<member>(i == 5 ? placement::on_worker(3) : placement::spread(), a));
    }
    for (std::size_t i = 0; i < ring.size(); ++i) ring[i].send(next_is{ring[(i + 1) % ring.size()]});
    constexpr std::uint32_t hops = 60;
    for (const auto& c : ring) c.send(set_out{hops});
    while (a.finished < ring.size()) {
      for (std::uint64_t steps = w.random().below(20); steps > 0 && w.step(); --steps) {
      }
      if (w.random().one_in(2)) {
        REQUIRE(rt.set_workers(1 + static_cast<unsigned>(w.random().below(4))).has_value());
      } else {
        static_cast<void>(rt.migrate(ring[w.random().below(5)], static_cast<std::uint32_t>(w.random().below(2))));
      }
    }
    w.run();
    const std::uint64_t beats = a.beats;
    w.advance(50ms);  // timers go on, on whatever worker they were started
    CHECK(a.hops == ring.size() * hops);
    CHECK(a.disordered == 0);
    CHECK(a.beats >= beats + 49 * ring.size());
    const auto m = rt.metrics();
    forwarded_or_homed += m.rehomed + m.migrations;
  });
  CHECK(forwarded_or_homed > 0);
}

TEST_CASE("a simulated worker that is switched off runs only what is pinned to it") {
  testing::world_options options;
  options.workers = 3;
  options.record = true;
  for_each_seed({.first = 1, .count = 20}, options, [](world& w) {
    auto& a = w.keep<account>();
    runtime& rt = w.runtime();
    REQUIRE(rt.set_workers(1).has_value());
    std::vector<ref<member>> ring;
    for (std::uint32_t i = 0; i < 6; ++i) ring.push_back(rt.spawn<member>(a));
    for (std::size_t i = 0; i < ring.size(); ++i) ring[i].send(next_is{ring[(i + 1) % ring.size()]});
    for (const auto& c : ring) c.send(set_out{10});
    w.run();
    CHECK(a.finished == 6);
    for (const auto& c : ring) CHECK(rt.inspect(c, 1s).value().worker == 0);
    for (const std::string& line : w.trace()) {
      INFO(line);
      CHECK(line.find("w1") == std::string::npos);
      CHECK(line.find("w2") == std::string::npos);
    }
  });
}
