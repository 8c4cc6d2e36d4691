// SPDX-License-Identifier: Apache-2.0
// How long a supervisor of many children waits before it starts one again, by the clock of a simulation.
#include <chrono>

#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;

namespace {

struct poke {};
class mortal : public cell {
public:
  using accepts = signals<poke>;
  void on(poke) {}
};

constexpr restart_backoff doubling{.minimum = 10ms, .maximum = 1'000ms, .reset_after = 5'000ms, .jitter = 0};

supervisor with_backoff(world& w) {
  supervisor_options options{.intensity = {1'000, 24h}, .backoff = doubling};
  options.where = placement::on_worker(0);  // children of one shard
  return w.runtime().supervise(options);
}

/// Kills the incarnation, and says after how many milliseconds there is the next one, whole ones: timers are late by less than one.
std::int64_t wait_of(world& w, const child<mortal>& c) {
  w.run();
  const std::chrono::nanoseconds killed_at = w.now();
  REQUIRE(w.kill(c));
  w.run();
  REQUIRE_FALSE(c.get());
  REQUIRE(w.run_until([&] { return static_cast<bool>(c.get()); }));
  return std::chrono::duration_cast<std::chrono::milliseconds>(w.now() - killed_at).count();
}

}  // namespace

TEST_CASE("waits begin anew after an incarnation that lived long, not after many that lived long together") {
  world w(5);
  auto s = with_backoff(w);
  const auto c = s.start<mortal>();
  CHECK(wait_of(w, c) == 10);
  CHECK(wait_of(w, c) == 20);
  w.advance(4s);
  CHECK(wait_of(w, c) == 40);
  w.advance(4s);  // by now the child has been there for longer than reset_after, none of its incarnations has
  CHECK(wait_of(w, c) == 80);
  w.advance(6s);
  CHECK(wait_of(w, c) == 10);
  CHECK(wait_of(w, c) == 20);
}

TEST_CASE("a child keeps its own waits when a sibling is forgotten") {
  world w(6);
  auto s = with_backoff(w);
  const auto first = s.start_with<mortal>({.restart = restart_type::temporary});
  w.run();  // one after the other, so that the second is the one that takes the first one's place
  const auto second = s.start<mortal>();
  CHECK(wait_of(w, second) == 10);
  CHECK(wait_of(w, second) == 20);
  REQUIRE(w.kill(first));
  w.run();
  REQUIRE(s.children() == 1);
  CHECK(wait_of(w, second) == 40);
}
