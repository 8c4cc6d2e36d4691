// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/driver.hpp"

#include <caf/all.hpp>

/// What the drivers in plain CAF share.
namespace karyon::bench {

using ask_atom = caf::atom_constant<caf::atom("ask")>;
using go_atom = caf::atom_constant<caf::atom("go")>;

inline gate all_arrived;
inline std::atomic<std::int64_t> begin_ns{0};

/// One actor system a run, in the shape that the run asks for. Kept until the process ends.
inline caf::actor_system& system_of(work const& asked) {
  static caf::actor_system_config config;
  auto const workers = asked.option("workers", 0);
  config.set("scheduler.max-threads", workers > 0 ? workers : std::thread::hardware_concurrency());
  if (auto const throughput = asked.option("throughput", 0); throughput > 0) {
    config.set("scheduler.max-throughput", throughput);
  }
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the process ends without tearing it down
  static auto* const system = new caf::actor_system{config};
  return *system;
}

/// Asks the next question when the answer to the last is there; each request arms its timeout.
class asker : public caf::event_based_actor {
public:
  asker(caf::actor_config& config, caf::actor server) : caf::event_based_actor(config), server_(std::move(server)) {}

  caf::behavior make_behavior() override {
    return {[this](go_atom, std::uint64_t count) { ask(count); }};
  }

private:
  void ask(std::uint64_t left) {
    if (left == 0) {
      all_arrived.arrive();
      return;
    }
    request(server_, std::chrono::seconds{1}, ask_atom::value)
        .then(
            [this, left](std::int64_t answer) {
              verify(answer == 42, "ask: a wrong answer");
              ask(left - 1);
            },
            [](caf::error const&) { std::_Exit(1); });
  }

  caf::actor server_;
};

inline caf::behavior answerer() {
  return {[](ask_atom) -> std::int64_t { return 42; }};
}

inline figure ask(work const& asked) {
  auto& system = system_of(asked);
  auto const client = system.spawn<asker>(system.spawn(answerer));
  std::int64_t begin = 0;
  for (auto const count : {asked.operations / 10, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    caf::anon_send(client, go_atom::value, count);
    all_arrived.await();
  }
  return {"ns", static_cast<double>(now_ns() - begin) / static_cast<double>(asked.operations)};
}

}  // namespace karyon::bench
