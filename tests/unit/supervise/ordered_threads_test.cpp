// SPDX-License-Identifier: Apache-2.0
// What an ordered supervisor does while its children run on other threads.
#include <functional>
#include <string>
#include <vector>

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
  CHECK(log.with("/app/" + id).size() >= 400);
}

namespace {

/// Asks, while it is constructed, for what an ordered supervisor would have to wait for.
class meddler : public cell {
public:
  using accepts = signals<get>;
  meddler(ordered_supervisor app, registry& r, std::vector<errc>& codes, bool& waited) {
    const auto note = [&](const auto& outcome) { codes.push_back(outcome ? errc{} : outcome.error().code()); };
    note(app.terminate_child("sessions"));
    note(app.restart_child("sessions"));
    note(app.delete_child("sessions"));
    note(app.start_child(wards(r, "other")));
    app.stop();
    waited = app.wait_ended(long_time);
  }
  int on(get) { return 1; }
};

}  // namespace

TEST_CASE(
    "a constructor that runs on a thread may not wait for the supervisors around it, and only begins their stop") {
  registry r;
  std::vector<errc> codes;
  bool waited = false;
  runtime rt(quiet(2));
  supervisor_spec spec;
  spec.children = {child_spec::dynamic("sessions", {})};
  const auto app = rt.start(spec).value();
  auto sessions = app.find_any("sessions").as_dynamic();
  static_cast<void>(sessions.start<meddler>(app, std::ref(r), std::ref(codes), std::ref(waited)));
  CHECK(codes == std::vector<errc>(4, errc::would_block));
  CHECK_FALSE(waited);
  CHECK(app.wait_ended(long_time));
  CHECK(app.ended() == exit_reason::shutdown());
}
