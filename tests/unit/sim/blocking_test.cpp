#include <karyon/cell/runtime.hpp>
#include <karyon/sim/testing.hpp>

#include <chrono>
#include <string>
#include <vector>

#include "sched/parker.hpp"
#include "sched/wait.hpp"
#include "support/catch.hpp"
#include "support/run_command.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;

namespace {

struct question {};
struct begin {};

class oracle : public cell {
public:
  using accepts = signals<question>;
  int on(question) { return 42; }
};

/// Does what a cell must not: waits in its handler, so that its worker runs nothing else meanwhile.
class blocker : public cell {
public:
  using accepts = signals<begin>;
  blocker(runtime* rt, ref<oracle> whom, std::chrono::nanoseconds timeout, std::vector<int>* got)
      : runtime_(rt), whom_(whom), timeout_(timeout), got_(got) {}
  void on(begin) {
    auto answer = runtime_->ask_async(whom_, question{}).get(timeout_);
    got_->push_back(answer.value_or(0));
  }

private:
  runtime* runtime_;
  ref<oracle> whom_;
  std::chrono::nanoseconds timeout_;
  std::vector<int>* got_;
};

std::vector<int> answers_to_blockers(std::uint32_t workers, int blockers, std::uint64_t seed) {
  testing::world_options options;
  options.workers = workers;
  options.seed = seed;
  world w(options);
  std::vector<int> got;
  auto o = w.runtime().spawn_at<oracle>(placement::on_worker(0));
  for (int i = 0; i < blockers; ++i) {
    const auto where = placement::on_worker(static_cast<std::uint32_t>(i + 1) % workers);
    w.runtime().spawn_at<blocker>(where, &w.runtime(), o, 1s, &got).send(begin{});
  }
  w.advance(10s);
  return got;
}

}  // namespace

TEST_CASE("a handler that waits holds up its worker, and the others go on") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    REQUIRE(answers_to_blockers(2, 1, seed) == std::vector<int>{42});
    REQUIRE(answers_to_blockers(4, 3, seed) == std::vector<int>{42, 42, 42});
  }
}

TEST_CASE("a handler that waits for what only its own worker could do waits until its timeout") {
  CHECK(answers_to_blockers(1, 1, 3) == std::vector<int>{0});
}

TEST_CASE("an event wakes its waiter in simulated time, or the deadline does") {
  world w(1);
  detail::blocking_event e;
  CHECK_FALSE(e.wait_until(detail::deadline_in(5'000'000'000u)));
  CHECK(w.now() == 5s);
  e.set();
  CHECK(e.wait_until(0));
}

TEST_CASE("the clock of the thread is the world's while it has one") {
  const std::uint64_t before = detail::monotonic_ns();
  {
    world w(1);
    const std::uint64_t start = detail::monotonic_ns();
    w.advance(1h);
    CHECK(detail::monotonic_ns() - start == 3'600'000'000'000u);
  }
  const std::uint64_t after = detail::monotonic_ns();
  CHECK(after >= before);
  CHECK(after - before < 3'600'000'000'000u);
}

TEST_CASE("random bits follow from the seed while a thread has a world") {
  const auto bits = [](std::uint64_t seed) {
    const world w(seed);
    return detail::random_bits();
  };
  CHECK(bits(1) == bits(1));
  CHECK(bits(1) != bits(2));
}

TEST_CASE("what a world can not go on from aborts with a sentence") {
  const auto sentence_of = [](const char* misuse) {
    const auto result = tests::run_command({KARYON_SIM_SAMPLE, "misuse", misuse});
    CHECK(result.status == 128 + 6);
    return result.err;
  };
  const std::string deadlock = sentence_of("deadlock");
  CHECK(deadlock.find("nothing is left that could happen") != std::string::npos);
  CHECK(deadlock.find("seed 77") != std::string::npos);
  CHECK(deadlock.find("replay it with: KARYON_SIM_SEED=77 " KARYON_SIM_SAMPLE " misuse deadlock") != std::string::npos);
  CHECK(deadlock.find("limit of the simulation") == std::string::npos);
  const std::string nested = sentence_of("nested");
  CHECK(nested.find("may be no deadlock but a limit of the simulation") != std::string::npos);
  const std::string livelock = sentence_of("livelock");
  CHECK(livelock.find("after 1000 turns the cells are still busy") != std::string::npos);
  CHECK(livelock.find("restless #1 handles") != std::string::npos);
  for (const char* call : {"step", "run", "advance", "run_until", "kill"}) {
    const std::string inside = sentence_of((std::string("inside ") + call).c_str());
    CHECK(inside.find(std::string("world::") + call + " is called by what the world runs") != std::string::npos);
  }
  CHECK(sentence_of("inside construct").find("world::run is called by what") != std::string::npos);
  CHECK(sentence_of("unverified").find("call world::verify") != std::string::npos);
  CHECK(sentence_of("second").find("one world at a time") != std::string::npos);
  CHECK(sentence_of("outlived").find("outlives it") != std::string::npos);
}
