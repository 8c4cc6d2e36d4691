// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "support/catch.hpp"
#include "unit/supervise/ordered_driver.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

namespace {

/// One supervisor through random events, until an exit at event number `exit_at`.
struct wanderer {
  explicit wanderer(std::uint64_t seed) : random(seed), d(settings(seed)) {
    d.quiet = true;
    d.deaf = below(3) == 0;
    for (const auto& n : names) {
      for (int i = 0; i < 20; ++i) {
        const auto what = below(10);
        d.births[n].push_back(what < 6   ? birth::lives
                              : what < 8 ? birth::fails
                              : what < 9 ? birth::ignored
                                         : birth::hangs);
      }
    }
    const auto initial = below(5);
    for (std::uint64_t i = 0; i < initial; ++i) {
      const auto type = static_cast<restart_type>(below(3));
      const auto how = below(3) == 0   ? child_shutdown::brutal_kill()
                       : below(2) == 0 ? child_shutdown::within(10ms)
                                       : child_shutdown::infinity();
      d.with(names[i], type, type != permanent && below(2) == 0, how);
    }
    d.begin();
  }
  std::uint64_t below(std::uint64_t n) { return random() % n; }
  ordered_driver::logic_type::settings settings(std::uint64_t seed) {
    auto s = rules(static_cast<restart_strategy>(below(3)), static_cast<std::uint32_t>(below(8)),
                   static_cast<auto_shutdown>(below(3)));
    s.seed = seed;
    if (below(3) == 0) s.backoff = {10ms, 100ms, 1s, 0.5};
    return s;
  }
  exit_reason some_reason() {
    const exit_reason reasons[] = {exit_reason::normal(), exit_reason::shutdown(), with_words, exit_reason::killed(),
                                   failure};
    return reasons[below(5)];
  }
  void something_happens() {
    d.now += below(3) * 1'000'000'000;
    const std::string& name = names[below(names.size())];
    const auto hanging = d.hanging_ids();
    const auto living = d.living_ids();
    switch (below(9)) {
      case 0:
      case 1:
        if (!living.empty()) d.dies(living[below(living.size())], some_reason());
        break;
      case 2:
        if (!hanging.empty()) d.has_started(hanging.front());
        break;
      case 3:
        if (!hanging.empty()) d.has_failed(hanging.front());
        break;
      case 4: d.add(name, static_cast<restart_type>(below(3))); break;
      case 5: d.terminate(name); break;
      case 6: d.restart(name); break;
      case 7: d.remove(name); break;
      default: d.deadline_passes();
    }
    if (d.overs == 0) d.run(static_cast<int>(below(6)));
    if (d.overs == 0 && d.knows(name)) d.wait_is_over(name);
  }
  /// Whatever still lives ends at some time, asked or not.
  void all_comes_to_its_end() {
    d.deaf = false;
    for (int i = 0; i < 1000 && d.overs == 0; ++i) {
      d.run();
      const auto living = d.living_ids();
      if (d.overs == 0 && !living.empty()) d.ends(living[below(living.size())], some_reason());
    }
  }

  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
  std::mt19937_64 random;
  ordered_driver d;
};

}  // namespace

TEST_CASE("whatever happens and whenever it is asked to, a supervisor ends once, leaves nobody and answers everybody") {
  int by_exit = 0;
  int by_itself = 0;
  for (std::uint64_t seed = 1; seed <= 4000; ++seed) {
    wanderer w(seed);
    const auto exit_at = static_cast<int>(seed % 40);
    for (int i = 0; i < exit_at && w.d.overs == 0; ++i) w.something_happens();
    const bool early = w.d.overs != 0;
    const bool ending = w.d.logic.ending();
    const exit_reason why = seed % 3 == 0 ? exit_reason::killed() : exit_reason::shutdown();
    if (!early) {
      w.d.exit(why);
      // Nothing that comes afterwards changes that.
      for (int i = 0; i < 5 && w.d.overs == 0; ++i) w.something_happens();
      w.all_comes_to_its_end();
    }
    const lines log = w.d.log();
    std::string written;
    for (const auto& l : log) written += l + "\n";
    INFO("seed " << seed << "\n" << written);
    REQUIRE(w.d.overs == 1);
    REQUIRE(w.d.errors == 0);
    REQUIRE(w.d.living() == 0);
    REQUIRE(w.d.answers() == w.d.asked());
    if (!early && !ending) REQUIRE(log.back() == "has ended: " + to_string(why));
    (early || ending ? by_itself : by_exit) += 1;
  }
  CHECK(by_exit > 1000);
  CHECK(by_itself > 500);
}
