// SPDX-License-Identifier: Apache-2.0
// What an ordered supervisor does while its children run on other threads.
#include <functional>
#include <string>

#include "support/log_capture.hpp"
#include "unit/supervise/ordered_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

TEST_CASE("a temporary child that crashes at once is named in its report while its spec is being forgotten") {
  registry r;
  runtime_options options = quiet(2);
  options.crash_reports_per_second = 1'000'000;
  const log_capture log;
  runtime rt(options);
  auto tree = rt.start({}).value();
  const std::string id = "a name that no string holds without memory of its own ";
  for (int i = 0; i < 400; ++i) {
    const auto spec = child_spec::of<stillborn>(id + std::to_string(i), std::ref(r));
    REQUIRE(tree.start_child(spec.with(of_type(restart_type::temporary))).has_value());
  }
  REQUIRE(eventually([&] { return tree.count().specs == 0; }));
  CHECK(r.born.load() == 400);
  for (const std::string& line : log.with("stillborn, id")) {
    INFO(line);
    CHECK(line.find(id) != std::string::npos);
  }
  CHECK(log.with("/root/" + id).size() >= 400);
}
