// SPDX-License-Identifier: Apache-2.0
#include <karyon/supervise/partitioned_supervisor.hpp>

#include <map>
#include <set>
#include <string>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct is_here {};
/// Looks for the partition of where it runs.
class looker : public cell {
public:
  using accepts = signals<is_here>;
  explicit looker(partitioned_supervisor p) : partitions_(std::move(p)) {}
  bool on(is_here) { return partitions_.here() == partitions_.partition(stats().worker); }

private:
  partitioned_supervisor partitions_;
};

}  // namespace

TEST_CASE("by hash each key has its partition, the same each time, and all partitions have keys") {
  registry r;
  runtime rt(quiet());
  auto p = partitioned_supervisor::start(rt, {.partitions = 5}).value();
  REQUIRE(p.partitions() == 5);
  for (int k = 0; k < 20; ++k) CHECK(p.at(k) == p.partition(static_cast<std::size_t>(k % 5)));
  std::map<std::size_t, int> hits;
  for (int k = 0; k < 500; ++k) {
    const auto key = "user-" + std::to_string(k);
    for (std::size_t i = 0; i < 5; ++i) hits[i] += p.at(key) == p.partition(i) ? 1 : 0;
    REQUIRE(p.at(key) == p.at(std::string(key)));
  }
  for (std::size_t i = 0; i < 5; ++i) CHECK(hits[i] > 50);
  CHECK_FALSE(p.partition(5));
  const auto c = p.at(std::string("user-1")).start<ward>(std::ref(r), 3);
  CHECK(rt.ask(c, get{}, long_time).value() == 3);
  CHECK(p.children() == 1);
  p.stop();
  CHECK(p.ended() == exit_reason::shutdown());
  CHECK(r.living == 0);
}

TEST_CASE("children of a worker's partition run on that worker") {
  registry r;
  runtime rt(quiet(3));
  auto p = partitioned_supervisor::start(rt, {.by = partition_by::worker}).value();
  REQUIRE(p.partitions() == 3);
  for (std::uint32_t w = 0; w < 3; ++w) {
    for (const auto& c : p.partition(w).start_many<ward>(5, std::ref(r), 0)) {
      CHECK(rt.ask(c, where_am_i{}, long_time).value() == w);
    }
    CHECK(rt.ask(p.partition(w).start<ward>(std::ref(r), 0), where_am_i{}, long_time).value() == w);
  }
  for (std::uint32_t w = 0; w < 3; ++w) {
    const auto s = rt.spawn_at<looker>(placement::on_worker(w), p);
    CHECK(rt.ask(s, is_here{}, long_time).value());
  }
}

TEST_CASE("there is a partition for each NUMA node") {
  registry r;
  runtime rt(quiet());
  auto p = partitioned_supervisor::start(rt, {.by = partition_by::node}).value();
  CHECK(p.partitions() == rt.nodes());
  CHECK(rt.ask(p.partition(0).start<ward>(std::ref(r), 4), get{}, long_time).value() == 4);
}

TEST_CASE("a partition whose children fail too often is started again alone, and its handle lives on") {
  registry r;
  runtime rt(quiet());
  auto p = partitioned_supervisor::start(rt, {.partitions = 2, .each = {.intensity = {0, 24h}}, .intensity = {1, 24h}})
               .value();
  const auto bad = p.at(0).start<ward>(std::ref(r), 0);
  const auto good = p.at(1).start<ward>(std::ref(r), 1);
  bad.send(fail_hard{});
  REQUIRE(eventually([&] { return p.restarts() == 1 && !p.at(0).ended(); }));
  CHECK_FALSE(bad.alive());
  CHECK(rt.ask(good, get{}, long_time).value() == 1);
  const auto again = p.at(0).start<ward>(std::ref(r), 2);
  CHECK(rt.ask(again, get{}, long_time).value() == 2);
  again.send(fail_hard{});
  REQUIRE(p.wait_ended(long_time));
  CHECK_FALSE(good.alive());
}

TEST_CASE("partitions can be part of a larger tree") {
  registry r;
  runtime rt(quiet());
  auto spec = partitioned_supervisor::spec(rt, {.partitions = 3}).value();
  auto app = rt.start({.children = {child_spec::tree("sessions", std::move(spec))}}).value();
  auto p = partitioned_supervisor::of(rt, app.find_any("sessions").as_tree()).value();
  CHECK(p.partitions() == 3);
  CHECK(rt.ask(p.at(2).start<ward>(std::ref(r), 5), get{}, long_time).value() == 5);
  CHECK_FALSE(partitioned_supervisor::of(rt, app).has_value());
  CHECK_FALSE(partitioned_supervisor::of(rt, {}).has_value());
}

TEST_CASE("partitions that can not work are refused with the field's name") {
  runtime rt(quiet());
  const auto refused = [&](const partition_options& o, const char* field) {
    const auto got = partitioned_supervisor::start(rt, o);
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().code() == errc::invalid_argument);
    CHECK(got.error().message().find(field) != std::string::npos);
  };
  refused({.by = partition_by::worker, .partitions = 2}, "partitions");
  refused({.partitions = 1'000'000}, "partitions");
  refused({.each = {.intensity = {1, 0s}}}, "intensity.period");
  refused({.intensity = {1, 0s}}, "intensity.period");
  refused({.each = {.strategy = one_for_all}}, "strategy");
}
