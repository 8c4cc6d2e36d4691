#include <karyon/cell/crash_report.hpp>

#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cell/report_desk.hpp"
#include "cell/runtime_core.hpp"
#include "cell_testing.hpp"
#include "support/log_capture.hpp"

namespace {

using namespace karyon;
using namespace karyon::tests;

constexpr std::uint64_t second = 1'000'000'000;

crash_report example() {
  crash_report r;
  r.path = "/app/sessions/#1234";
  r.class_name = "app::session";
  r.id = 18'014'398'509'481'993;
  r.incarnation = 3;
  r.reason = exit_reason::error("std::runtime_error", "connection lost");
  r.handling = "app::packet";
  r.mailbox = 12;
  r.handled = 4567;
  r.restarts = 2;
  r.neighbours = {{77, "app::socket"}, {78, ""}};
  r.neighbours_total = 2;
  r.worker = 1;
  r.node = 0;
  r.monotonic_ns = 123'456'789;
  return r;
}

/// The crash reports of a runtime.
class reports {
public:
  void add(const crash_report& r) {
    const std::lock_guard lock(mutex_);
    all_.push_back(r);
  }
  [[nodiscard]] std::vector<crash_report> all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }
  [[nodiscard]] std::vector<crash_report> of(std::string_view class_name) const {
    auto found = all();
    found.erase(
        std::remove_if(found.begin(), found.end(),
                       [&](const crash_report& r) { return r.class_name.find(class_name) == std::string::npos; }),
        found.end());
    return found;
  }
  [[nodiscard]] runtime_options options(std::uint32_t workers = 2) {
    runtime_options o = quiet(workers);
    o.on_crash = [this](const crash_report& r) { add(r); };
    return o;
  }

private:
  mutable std::mutex mutex_;
  std::vector<crash_report> all_;
};

struct wait_and_fail {};
class waiter : public cell {
public:
  using accepts = signals<ping, wait_and_fail>;
  waiter(door& entered, door& go_on) : entered_(&entered), go_on_(&go_on) {}
  bool on(ping) { return true; }
  void on(wait_and_fail) {
    entered_->open();
    go_on_->pass();
    throw std::runtime_error("gave up waiting");
  }

private:
  door* entered_;
  door* go_on_;
};

class peer : public cell {
public:
  using accepts = signals<ping>;
  void on(ping) {}
  void on(const exit_signal&) {}
  void on_start() { trap_exit(true); }
};

class linker : public cell {
public:
  using accepts = signals<watch, quit>;
  void on(const watch& w) { link(w.whom); }
  void on(quit) { throw std::logic_error("enough"); }
};

class failing : public cell {
public:
  using accepts = signals<word>;
  void on(const word& w) { throw std::runtime_error(w.text); }
};

}  // namespace

TEST_CASE("a crash report as text has every field, in one line") {
  CHECK(to_text(example()) ==
        "cell ended: /app/sessions/#1234, class app::session, id 18014398509481993, incarnation 3, reason error: "
        "std::runtime_error: connection lost, while handling app::packet, mailbox 12, handled 4567, restarts 2, "
        "neighbours 2 (77 app::socket, 78 ended), worker 1, node 0");
  crash_report r = example();
  r.handling.clear();
  r.neighbours.clear();
  r.neighbours_total = 0;
  CHECK(to_text(r).find("connection lost, mailbox 12") != std::string::npos);
  CHECK(to_text(r).find("neighbours 0, worker 1") != std::string::npos);
  r.neighbours = {{1, "a"}};
  r.neighbours_total = 9;
  CHECK(to_text(r).find("neighbours 9 (1 a, ...), worker") != std::string::npos);
}

TEST_CASE("a crash report as JSON has every field under its name") {
  CHECK(
      to_json(example()) ==
      R"({"report":"crash","path":"/app/sessions/#1234","class":"app::session","id":"18014398509481993","incarnation":3,)"
      R"("reason":{"kind":"error","type":"std::runtime_error","text":"connection lost"},"handling":"app::packet",)"
      R"("mailbox":12,"handled":4567,"restarts":2,"neighbours":[{"id":"77","class":"app::socket"},{"id":"78","class":""}],)"
      R"("neighbours_total":2,"worker":1,"node":0,"monotonic_ns":123456789})");
}

TEST_CASE("whatever an exception says, its report is one line of text and valid JSON") {
  crash_report r = example();
  r.reason = exit_reason::error("my \"type\"", "first\nsecond \"quoted\" \x01 \xff \\ \xe2\x82\xac");
  CHECK(to_text(r).find(R"(error: my "type": first\nsecond "quoted" \x01 \xff \\ )"
                        "\xe2\x82\xac, while") != std::string::npos);
  CHECK(to_json(r).find(R"({"kind":"error","type":"my \"type\"","text":"first\nsecond \"quoted\" \u0001 )"
                        "\xef\xbf\xbd \\\\ \xe2\x82\xac\"}") != std::string::npos);
}

TEST_CASE("a crash report says where and of what a cell ended, and what it left undone") {
  reports seen;
  door entered;
  door go_on;
  runtime rt(seen.options());
  const auto c = rt.spawn_at<waiter>(placement::on_worker(1), entered, go_on);
  CHECK(rt.ask(c, ping{}, long_time).has_value());
  c.send(wait_and_fail{});
  entered.pass();
  for (int i = 0; i < 5; ++i) c.send(ping{});
  const std::uint64_t before = detail::monotonic_ns();
  go_on.open();
  REQUIRE(eventually([&] { return seen.all().size() == 1; }));
  const crash_report r = seen.all().front();
  CHECK(r.path == "/spawned/" + std::to_string(c.id()));
  CHECK(r.class_name.find("waiter") != std::string::npos);
  CHECK(r.id == c.id());
  CHECK(r.incarnation == 1);
  CHECK(r.restarts == 0);
  CHECK(r.reason == exit_reason::error("std::runtime_error", "gave up waiting"));
  CHECK(r.handling.find("wait_and_fail") != std::string::npos);
  CHECK(r.mailbox == 5);
  CHECK(r.handled == 2);
  CHECK(r.neighbours.empty());
  CHECK(r.neighbours_total == 0);
  CHECK(r.worker == 1);
  CHECK(r.monotonic_ns >= before);
}

TEST_CASE("a crash report names the eight oldest of the linked cells, and counts all") {
  reports seen;
  runtime rt(seen.options());
  const auto c = rt.spawn<linker>();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 11; ++i) {
    const auto p = rt.spawn<peer>();
    ids.push_back(p.id());
    c.send(watch{p});
  }
  c.send(quit{});
  REQUIRE(eventually([&] { return seen.of("linker").size() == 1; }));
  const crash_report r = seen.of("linker").front();
  CHECK(r.neighbours_total == 11);
  REQUIRE(r.neighbours.size() == crash_report::neighbours_max);
  for (std::size_t i = 0; i < r.neighbours.size(); ++i) {
    CHECK(r.neighbours[i].id == ids[i]);
    CHECK(r.neighbours[i].class_name.find("peer") != std::string::npos);
  }
}

TEST_CASE("expected ends and kills make no crash report") {
  reports seen;
  runtime rt(seen.options());
  for (const auto& why : {exit_reason::normal(), exit_reason::shutdown(), exit_reason::shutdown("done"),
                          exit_reason::killed(), exit_reason::error("host", "told to")}) {
    const auto c = rt.spawn<failing>();
    rt.exit(c, why);
    if (why.why() == exit_reason::kind::normal) {
      rt.exit(c, exit_reason::killed());  // normal from another ends nobody
    }
    REQUIRE(eventually([&] { return !c.alive() && rt.metrics().cells == 0; }));
  }
  REQUIRE(seen.all().size() == 1);  // an error is one, whoever asked for it
  CHECK(seen.all().front().reason == exit_reason::error("host", "told to"));
}

TEST_CASE("what a crash callback throws is counted, and harms neither the log nor the runtime") {
  runtime_options options = quiet();
  options.on_crash = [](const crash_report&) { throw std::runtime_error("callback"); };
  log_capture log;
  runtime rt(options);
  for (int i = 0; i < 3; ++i) rt.spawn<failing>().send(word{"x"});
  REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  CHECK(rt.metrics().crash_callback_failures == 3);
  CHECK(log.with("cell ended: /spawned/").size() == 3);
}

TEST_CASE("in a storm every crash is in the log, by itself or in a sum with its reason and source") {
  const report_format format = GENERATE(report_format::text, report_format::json);
  runtime_options options = quiet();
  options.crash_reports_per_second = 2;
  options.crash_report_format = format;
  log_capture log;
  constexpr int storm = 3000;
  {
    runtime rt(options);
    for (int i = 0; i < storm; ++i) rt.spawn<failing>().send(word{i % 3 == 0 ? "first" : "second"});
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
    CHECK(rt.metrics().failures == storm);
  }
  if (format == report_format::text) {
    CHECK(log.with("cell ended: ").size() + log.summed_up() == storm);
    const auto sums = log.with(" more: crash, from /spawned ");
    CHECK_FALSE(sums.empty());
    for (const std::string& line : sums) {
      CHECK(line.find("failing, reason error: std::runtime_error: ") != std::string::npos);
      CHECK(line.find(", within ") != std::string::npos);
    }
  } else {
    CHECK_FALSE(log.with(R"({"report":"crash","path":"/spawned/)").empty());
    const auto sums = log.with(R"({"report":"suppressed","count":)");
    CHECK_FALSE(sums.empty());
    for (const std::string& line : sums) {
      CHECK(line.find(R"(,"what":"crash","source":"/spawned )") != std::string::npos);
      CHECK(line.find(R"(,"reason":{"kind":"error","type":"std::runtime_error","text":")") != std::string::npos);
    }
  }
}

TEST_CASE("a storm of ever new reasons is summed up without a line for each") {
  runtime_options options = quiet();
  options.crash_reports_per_second = 1;
  log_capture log;
  constexpr int storm = 2000;
  {
    runtime rt(options);
    for (int i = 0; i < storm; ++i) rt.spawn<failing>().send(word{"number " + std::to_string(i)});
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  }
  CHECK(log.with("cell ended: ").size() + log.summed_up() == storm);
  CHECK_FALSE(log.with(" more: other reasons, within ").empty());
}

TEST_CASE("a sum comes a second after the storm began, without anything else that happens") {
  runtime_options options = quiet();
  options.crash_reports_per_second = 1;
  log_capture log;
  runtime rt(options);
  for (int i = 0; i < 20; ++i) rt.spawn<failing>().send(word{"again"});
  CHECK(eventually([&] { return log.with("cell ended: ").size() + log.summed_up() == 20; }));
  CHECK(rt.metrics().crash_reports_suppressed == log.summed_up());
}

TEST_CASE("no reports a second means that all are in sums") {
  runtime_options options = quiet();
  options.crash_reports_per_second = 0;
  int calls = 0;
  options.on_crash = [&](const crash_report&) { ++calls; };
  log_capture log;
  {
    runtime rt(options);
    for (int i = 0; i < 20; ++i) rt.spawn<failing>().send(word{"again"});
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  }
  CHECK(calls == 0);
  CHECK(log.with("cell ended: ").empty());
  CHECK(log.summed_up() == 20);
}

TEST_CASE("sums name the most frequent group first, and a report waits for none that is younger than a second") {
  runtime rt(quiet(1));
  runtime_options options;
  options.crash_reports_per_second = 1;
  detail::report_desk desk(options, rt.core().workers());
  log_capture log;
  using sort = detail::report_desk::sort;
  const auto report = [&](sort which, std::uint64_t now, const char* source) {
    detail::report_key key;
    key.add(std::string_view(source));
    if (!desk.admit_at(which, now, key, [&] { return detail::report_group{"crash", source, exit_reason::killed()}; }))
      return;
    crash_report r = example();
    r.path = source;
    desk.file(now, r);
  };
  report(sort::crash, 10 * second, "/a");
  report(sort::crash, 10 * second, "/b");
  report(sort::crash, 10 * second + 1, "/c");
  report(sort::crash, 10 * second + 2, "/c");
  report(sort::child, 10 * second + 3, "/d");  // another sort, another budget
  CHECK(desk.suppressed() == 3);
  CHECK(log.with("more:").empty());
  report(sort::crash, 11 * second + second / 2, "/e");
  desk.sum_up(20 * second);
  std::vector<std::string> starts;
  for (const std::string& line : log.lines()) starts.push_back(line.substr(0, line.find(", class")));
  CHECK(starts == std::vector<std::string>{"cell ended: /a", "cell ended: /d",
                                           "2 more: crash, from /c, reason killed, within 1.5 s",
                                           "1 more: crash, from /b, reason killed, within 1.5 s", "cell ended: /e"});
  CHECK(desk.suppressed() == 3);
}
