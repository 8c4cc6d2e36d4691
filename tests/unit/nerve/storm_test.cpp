// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include "unit/nerve/bus_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t sleepers = 50'000;
#else
constexpr std::size_t sleepers = 500'000;
#endif

struct debug_line {
  std::int64_t number = 0;
};

/// Listens to what concerns all, and has nothing to do.
class sleeper : public cell {
public:
  using accepts = signals<debug_line, get>;
  void on(const debug_line&) { ++lines_; }
  std::uint64_t on(get) { return lines_; }

private:
  std::uint64_t lines_ = 0;
};

/// Writes debug output as fast as it can, to where all listen.
class debug_output : public cell {
public:
  using accepts = signals<ping, quit>;
  explicit debug_output(endocrine& bus) : bus_(&bus) {}
  void on(ping) {
    static_cast<void>(bus_->publish("colony.all", debug_line{++number_}));
    if (!done_) self(this).send(ping{});
  }
  void on(quit) { done_ = true; }

private:
  endocrine* bus_;
  std::int64_t number_ = 0;
  bool done_ = false;
};

}  // namespace

TEST_CASE(
    "debug output misrouted to a subject that all cells listen to is stopped and named, and the colony goes on "
    "answering") {
  runtime rt(quiet());
  diary reports;
  diary loud_name;
  endocrine_options options;
  // So that the limit is reached, however slow the machine, before in_flight_max is.
  options.storm.deliveries = {sleepers * 10, sleepers * 20};
  options.on_storm = [&](const storm_report& r) {
    reports.write(r.subject + " " + to_string(r.cause) + " " + std::to_string(r.receivers));
    loud_name.write(r.sender);
  };
  endocrine bus(rt, options);
  std::vector<ref<sleeper>> cells;
  cells.reserve(sleepers);
  for (std::size_t i = 0; i < sleepers; ++i) {
    cells.push_back(rt.spawn<sleeper>());
    REQUIRE(bus.subscribe<debug_line>(cells.back(), "colony.all"));
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto loud = rt.spawn<debug_output>(bus);
  loud.send(ping{});
  // It is asked all along whether anybody is there; at last after the guard has had to act.
  constexpr auto stopped = static_cast<std::size_t>(publish_result::storm_subject);
  std::size_t asked = 0;
  while (asked < 200 || bus.metrics().refused[stopped] == 0) {
    const auto answer = rt.ask(cells[asked * 7919 % cells.size()], get{}, long_time);
    REQUIRE(answer);
    REQUIRE(++asked < 10'000'000);
  }
  const endocrine_metrics m = bus.metrics();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  // However fast the machine is: no more than the limit, and one broadcast beyond it.
  const auto& limit = options.storm.deliveries;
  const double most = static_cast<double>(limit.burst) + seconds * static_cast<double>(limit.per_second) + sleepers;
  CHECK(static_cast<double>(m.accepted) * sleepers <= most);
  REQUIRE(reports.has(1));
  CHECK(reports.lines().front() == "colony.all deliveries " + std::to_string(sleepers));
  CHECK(loud_name.lines().front().find("debug_output#" + std::to_string(loud.id())) != std::string::npos);
  // Others are not concerned.
  diary heard;
  REQUIRE(bus.subscribe<heat>(rt.spawn<listener>(heard), "colony.north"));
  CHECK(ok(bus.publish("colony.north", heat{1})));
  CHECK(heard.has(1));
  loud.send(quit{});
  REQUIRE(quiet_bus(bus));
  check_sums(bus, false);
}

TEST_CASE("subscriptions of cells that come and go do not pile up, though nothing is ever published") {
  runtime rt(quiet());
  endocrine bus(rt);
  for (int round = 0; round < 20; ++round) {
    std::vector<ref<sleeper>> cells;
    for (int i = 0; i < 1000; ++i) {
      cells.push_back(rt.spawn<sleeper>());
      REQUIRE(bus.subscribe<debug_line>(cells.back(), "seldom"));
    }
    for (const auto& c : cells) rt.exit(c, exit_reason::killed());
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  }
  CHECK(eventually([&] { return bus.metrics().subscriptions < 15'000; }));
  bus.sweep();
  CHECK(eventually([&] { return bus.metrics().subscriptions == 0; }));
}
