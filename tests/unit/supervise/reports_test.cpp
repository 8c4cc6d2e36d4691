#include "supervise/reports.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/supervise/ordered_supervisor.hpp>
#include <karyon/supervise/supervisor_report.hpp>

#include "cell/runtime_core.hpp"
#include "supervised.hpp"
#include "support/log_capture.hpp"

namespace {

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

supervisor_report example() {
  supervisor_report r;
  r.supervisor = "/app/sessions shard 1";
  r.context = supervisor_context::child_terminated;
  r.reason = exit_reason::error("std::runtime_error", "connection lost");
  r.offender.id = "#1234";
  r.offender.class_name = "app::session";
  r.offender.cell = 18'014'398'509'481'993;
  r.offender.restart = restart_type::transient;
  r.offender.shutdown = child_shutdown::within(5s);
  r.offender.kind = child_kind::worker;
  r.offender.significant = true;
  r.monotonic_ns = 123'456'789;
  return r;
}

bool has(const std::string& text, std::string_view words) { return text.find(words) != std::string::npos; }

const detail::class_info& ward_class() { return detail::class_info_of<ward>::value; }

}  // namespace

TEST_CASE("a supervisor report as text has every field, in one line") {
  CHECK(to_text(example()) ==
        "supervisor /app/sessions shard 1: child_terminated, reason error: std::runtime_error: connection lost, child "
        "#1234, "
        "class app::session, id 18014398509481993, restart transient, shutdown 5000 ms, kind worker, significant");
  supervisor_report r = example();
  r.context = supervisor_context::shutdown;
  r.offender = supervisor_report::child();
  r.offender.id = "first\nsecond";
  r.offender.kind = child_kind::supervisor;
  r.reason = exit_reason::shutdown("too many\trestarts");
  CHECK(
      to_text(r) ==
      "supervisor /app/sessions shard 1: shutdown, reason shutdown: too many\\trestarts, child first\\nsecond, restart "
      "permanent, shutdown infinity, kind supervisor");
  r.offender.shutdown = child_shutdown::brutal_kill();
  CHECK(has(to_text(r), ", shutdown brutal_kill,"));
}

TEST_CASE("a supervisor report as JSON has every field under its name") {
  CHECK(
      to_json(example()) ==
      R"({"report":"supervisor","supervisor":"/app/sessions shard 1","context":"child_terminated","reason":{"kind":"error",)"
      R"("type":"std::runtime_error","text":"connection lost"},"offender":{"id":"#1234","class":"app::session",)"
      R"("cell":"18014398509481993","restart":"transient","shutdown":5000,"kind":"worker","significant":true},)"
      R"("monotonic_ns":123456789})");
  supervisor_report r = example();
  r.offender.id = "a \"b\" \xff";
  r.offender.shutdown = child_shutdown::infinity();
  r.offender.restart = restart_type::temporary;
  r.offender.significant = false;
  CHECK(has(to_json(r), "\"id\":\"a \\\"b\\\" \xef\xbf\xbd\""));
  CHECK(has(to_json(r), R"("restart":"temporary","shutdown":"infinity","kind":"worker","significant":false)"));
  r.offender.shutdown = child_shutdown::brutal_kill();
  CHECK(has(to_json(r), R"("shutdown":"brutal_kill")"));
}

TEST_CASE("the contexts of supervisor reports have OTP's names") {
  CHECK(to_string(supervisor_context::start_error) == std::string("start_error"));
  CHECK(to_string(supervisor_context::child_terminated) == std::string("child_terminated"));
  CHECK(to_string(supervisor_context::shutdown_error) == std::string("shutdown_error"));
  CHECK(to_string(supervisor_context::shutdown) == std::string("shutdown"));
}

TEST_CASE("a supervisor's report has what the supervisor knows of the child") {
  runtime rt(quiet());
  log_capture log;
  child_options options;
  options.restart = restart_type::temporary;
  detail::report(rt.core(), {"/app"}, supervisor_context::start_error,
                 exit_reason(exit_reason::kind::start_failed, "std::bad_alloc", ""),
                 {"store", 0, &ward_class(), {}, options, child_shutdown::within(7ms)});
  detail::report(rt.core(), {"/app", 3}, supervisor_context::shutdown_error, exit_reason::killed(),
                 {"", 12, nullptr, {}, options, child_shutdown::infinity()});
  const auto lines = log.lines();
  REQUIRE(lines.size() == 2);
  CHECK(has(lines[0], "supervisor /app: start_error, reason start_failed: std::bad_alloc, child store, class "));
  CHECK(has(lines[0], "ward, restart temporary, shutdown 7 ms, kind worker"));
  CHECK(lines[1] ==
        "supervisor /app shard 3: shutdown_error, reason killed, child #12, restart temporary, shutdown "
        "infinity, kind supervisor");
}

TEST_CASE(
    "a storm of ends is summed up by context, reason, supervisor and shard, and drowns no supervisor that gives up") {
  runtime_options options = quiet();
  options.crash_reports_per_second = 1;
  log_capture log;
  const child_options child;
  {
    runtime rt(options);
    const auto report = [&](std::string_view path, std::uint32_t shard, supervisor_context context,
                            const exit_reason& why) {
      detail::report(rt.core(), {path, shard}, context, why,
                     {"", 1, &ward_class(), {}, child, child_shutdown::brutal_kill()});
    };
    for (int i = 0; i < 1500; ++i) {
      report("/a", 0, supervisor_context::child_terminated, exit_reason::killed());
      report("/a", 1, supervisor_context::child_terminated, exit_reason::killed());
      report("/b", detail::report_source::no_shard, supervisor_context::start_error, exit_reason::error("E", "words"));
    }
    report("/a", detail::report_source::no_shard, supervisor_context::shutdown, exit_reason::shutdown("too many"));
  }
  CHECK(log.with("supervisor /a: shutdown, reason shutdown: too many").size() == 1);
  CHECK_FALSE(log.with(" more: child_terminated, from /a shard 0, reason killed, within ").empty());
  CHECK_FALSE(log.with(" more: child_terminated, from /a shard 1, reason killed, within ").empty());
  CHECK_FALSE(log.with(" more: start_error, from /b, reason error: E: words, within ").empty());
  CHECK(log.with("supervisor /").size() + log.summed_up() == 4501);
}

TEST_CASE("the crash reports of a child have one path, and count its incarnations") {
  std::mutex mutex;
  std::vector<crash_report> reports;
  runtime_options options = quiet();
  options.on_crash = [&](const crash_report& r) {
    const std::lock_guard lock(mutex);
    reports.push_back(r);
  };
  const auto count = [&] {
    const std::lock_guard lock(mutex);
    return reports.size();
  };
  registry r;
  runtime rt(options);
  auto tissue = rt.supervise(generous());
  const auto c = tissue.start<ward>(std::ref(r), 1);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::uint64_t id = c.get().id();
    c.send(fail_hard{});
    REQUIRE(eventually([&] { return count() == i + 1 && r.born.load() == static_cast<int>(i) + 2; }));
    REQUIRE(eventually([&] { return rt.ask(c, ping{}, long_time).has_value(); }));
    const std::lock_guard lock(mutex);
    CHECK(reports[i].id == id);
    CHECK(reports[i].restarts == i);
    CHECK(reports[i].incarnation == i + 1);
    CHECK(reports[i].path == reports[0].path);
    CHECK(reports[i].reason == exit_reason::error("std::runtime_error", "hard"));
    CHECK(reports[i].handled == (i == 0 ? 1 : 2));  // the ping that told that it is back
  }
  CHECK(reports[0].path.front() == '/');
  CHECK(reports[0].path.substr(reports[0].path.rfind('/')) == "/#0");
}

namespace {

/// What a runtime's on_supervisor_report was given.
class received {
public:
  void add(const supervisor_report& r) {
    const std::lock_guard lock(mutex_);
    all_.push_back(r);
  }
  [[nodiscard]] std::vector<supervisor_report> all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }

private:
  mutable std::mutex mutex_;
  std::vector<supervisor_report> all_;
};

}  // namespace

TEST_CASE("the host is given each supervisor report as a value, after the log, of both kinds of supervisors") {
  runtime_options options = quiet();
  log_capture log;
  received got;
  std::atomic<bool> logged_first{true};
  options.on_supervisor_report = [&](const supervisor_report& r) {
    if (log.with(to_text(r)).size() != 1) logged_first = false;
    got.add(r);
  };
  registry r;
  runtime rt(options);
  auto many = rt.supervise({.intensity = {0, 5s}});
  const auto c = many.start<ward>(std::ref(r), 1);
  const std::uint64_t id = c.get().id();
  c.send(fail_hard{});
  REQUIRE(many.wait_ended(long_time));
  auto app = rt.start({.intensity = {0, 5s}, .children = {child_spec::of<ward>("w", std::ref(r), 2)}}).value();
  app.find<ward>("w").send(fail_hard{});
  REQUIRE(app.wait_ended(long_time));
  const auto reports = got.all();
  REQUIRE(reports.size() == 4);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    CHECK(reports[i].context == supervisor_context::child_terminated);
    CHECK(reports[i].reason == exit_reason::error("std::runtime_error", "hard"));
    CHECK(reports[i + 1].context == supervisor_context::shutdown);
    CHECK(reports[i + 1].offender.id == reports[i].offender.id);
  }
  CHECK(reports[0].offender.cell == id);
  CHECK(reports[0].offender.id == "#0");
  CHECK(reports[2].offender.id == "w");
  CHECK(logged_first);
}

TEST_CASE("a callback for supervisor reports that throws is counted, and the supervisor goes on") {
  registry r;
  runtime_options options = quiet();
  options.on_supervisor_report = [](const supervisor_report&) { throw 7; };
  runtime rt(options);
  auto s = rt.supervise(generous());
  const auto c = s.start<ward>(std::ref(r), 1);
  c.send(fail_hard{});
  REQUIRE(eventually([&] { return r.born == 2; }));
  CHECK(rt.metrics().crash_callback_failures == 1);
  CHECK(eventually([&] { return rt.ask(c, get{}, long_time) == 1; }));
}

TEST_CASE("a callback for supervisor reports may stop the supervisor that reports") {
  registry r;
  std::optional<supervisor> s;
  door there;
  runtime_options options = quiet();
  options.on_supervisor_report = [&](const supervisor_report&) {
    there.pass();
    s->stop();
  };
  runtime rt(options);
  s = rt.supervise(generous());
  const auto c = s->start<ward>(std::ref(r), 1);
  c.send(fail_hard{});
  there.open();
  REQUIRE(s->wait_ended(long_time));
  CHECK_FALSE(c.alive());
}

TEST_CASE("children that were started one by one have a number each in reports, and keep it") {
  received got;
  registry r;
  runtime_options options = quiet();
  options.on_supervisor_report = [&](const supervisor_report& report) { got.add(report); };
  runtime rt(options);
  auto s = rt.supervise(generous());
  std::vector<child<ward>> children;
  for (int i = 0; i < 3; ++i) children.push_back(s.start<ward>(std::ref(r), i));
  children.push_back(s.start_with<ward>({.where = placement::on_worker(0)}, std::ref(r), 3));
  const auto fail = [&](std::size_t i) {
    const std::size_t before = got.all().size();
    const auto now = children[i].get();
    children[i].send(fail_hard{});
    REQUIRE(eventually([&] { return got.all().size() == before + 1 && born_again(children[i], now); }));
    return got.all().back().offender.id;
  };
  std::set<std::string> names;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const std::string name = fail(i);
    CHECK(name == fail(i));
    names.insert(name);
  }
  CHECK(names.size() == children.size());
}
