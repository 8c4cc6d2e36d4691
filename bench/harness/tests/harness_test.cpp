// SPDX-License-Identifier: Apache-2.0
//
// The harness, against drivers that are shell scripts: what is measured here is its honesty, not a speed.

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "build_info.hpp"
#include "harness/core_to_core.hpp"
#include "harness/process.hpp"
#include "harness/runner.hpp"
#include "harness/suite.hpp"
#include "report/report.hpp"
#include "support/catch.hpp"

namespace {

namespace fs = std::filesystem;
using namespace karyon::bench;

/// A folder for fake drivers, gone with the test. Drivers can write to "$(dirname "$0")/log".
class driver_folder {
public:
  driver_folder() {
    auto name = (fs::temp_directory_path() / "karyon-bench-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  driver_folder(driver_folder const&) = delete;
  driver_folder& operator=(driver_folder const&) = delete;
  ~driver_folder() { fs::remove_all(path_); }

  void add(std::string const& name, std::string const& script) const {
    std::ofstream{path_ / name} << "#!/bin/sh\nlog=$(dirname \"$0\")/log\n" << script << '\n';
    fs::permissions(path_ / name, fs::perms::owner_all);
  }

  [[nodiscard]] std::string log() const {
    std::ifstream in{path_ / "log"};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  [[nodiscard]] fs::path const& path() const { return path_; }

private:
  fs::path path_;
};

shape shape_of(std::string const& program, std::string const& words) {
  return {program, words.empty() ? std::vector<std::string>{} : std::vector<std::string>{words}, words};
}

run_options options_in(driver_folder const& folder) {
  run_options options;
  options.programs = folder.path();
  options.timeout = std::chrono::seconds{20};
  return options;
}

measurement row_of(std::vector<entrant> entrants) { return {"s.x_ns", "x", "ns", 10, 20, false, std::move(entrants)}; }

std::string read(fs::path const& file) {
  std::ifstream in{file};
  std::string text;
  std::getline(in, text);
  return text;
}

}  // namespace

TEST_CASE("the median is the middle value, or the mean of the middle two") {
  auto const odd = spread_of({5, 1, 9});
  CHECK(odd.median == 5);
  CHECK(odd.min == 1);
  CHECK(odd.max == 9);
  CHECK(spread_of({4, 1, 2, 100}).median == 3);
  CHECK(spread_of({7}).median == 7);
}

TEST_CASE("a figure is taken from the line that is tagged, in the unit that was asked for") {
  CHECK(parse_figure("a warning\nvalue ns 12.5\n", "ns") == 12.5);
  CHECK_THROWS_AS(parse_figure("value bytes 12.5\n", "ns"), std::runtime_error);
  CHECK_THROWS_AS(parse_figure("", "ns"), std::runtime_error);
  CHECK_THROWS_AS(parse_figure("value ns fast\n", "ns"), std::runtime_error);
}

TEST_CASE("figures of several scenarios are taken in order, once or several times over") {
  CHECK(parse_figures("value ns 1\nvalue percent 2\nvalue ns 3\nvalue percent 4\n", {"ns", "percent"}) ==
        std::vector<double>{1, 2, 3, 4});
  CHECK_THROWS_AS(parse_figures("value ns 1\nvalue percent 2\nvalue ns 3\n", {"ns", "percent"}), std::runtime_error);
  CHECK_THROWS_AS(parse_figures("value percent 2\nvalue ns 1\n", {"ns", "percent"}), std::runtime_error);
}

TEST_CASE("a process that ends well leaves its output and no failure") {
  auto const ended = run_process({"/bin/sh", "-c", "echo one; echo two"}, std::chrono::seconds{20});
  CHECK(ended.failure.empty());
  CHECK(ended.output == "one\ntwo\n");
  CHECK(ended.resident_bytes_max > 0);
}

TEST_CASE("a process that fails is reported with its status and its last words") {
  auto const ended = run_process({"/bin/sh", "-c", "echo first >&2; echo last >&2; exit 3"}, std::chrono::seconds{20});
  CHECK(ended.failure == "exit status 3: last");
  CHECK(run_process({"/bin/sh", "-c", "kill -9 $$"}, std::chrono::seconds{20}).failure == "killed by signal 9");
  CHECK_FALSE(run_process({"/nonexistent/driver"}, std::chrono::seconds{20}).failure.empty());
}

TEST_CASE("more output than a pipe holds does not stop a process") {
  auto const ended =
      run_process({"/bin/sh", "-c", "yes 0123456789 | head -n 100000; echo end >&2"}, std::chrono::seconds{20});
  CHECK(ended.failure.empty());
  CHECK(ended.output.size() == 1'100'000);
}

TEST_CASE("a process that hangs is killed with all that it has started") {
  driver_folder const folder;
  folder.add("hang", "sleep 1000 & echo $! >\"$log\"; wait");
  auto const ended = run_process({(folder.path() / "hang").string()}, std::chrono::seconds{1});
  CHECK(ended.failure == "timed out after 1 s");
  // Gone, or a zombie that its new parent has not buried yet; the kernel may take a moment to end it.
  auto const grandchild = "/proc/" + read(folder.path() / "log") + "/stat";
  auto ended_too = [&] {
    auto const stat = read(grandchild);
    return stat.empty() || stat.find(") Z ") != std::string::npos;
  };
  auto const give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (!ended_too() && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::yield();
  }
  CHECK(ended_too());
}

TEST_CASE("peers run in turns, with the work that the suite asks for") {
  driver_folder const folder;
  folder.add("ours", "echo \"ours $*\" >>\"$log\"; echo value ns 10");
  folder.add("theirs", "echo \"theirs $*\" >>\"$log\"; echo value ns 30");
  auto options = options_in(folder);
  options.runs = 2;
  auto const results =
      measure(row_of({{"karyon", {shape_of("ours", "")}}, {"erlang", {shape_of("theirs", "a=1")}}}), options);
  CHECK(folder.log() == "ours x 10 20\ntheirs x 10 20 a=1\nours x 10 20\ntheirs x 10 20 a=1\n");
  REQUIRE(results.size() == 2);
  CHECK(results[0].median == 10);
  CHECK(results[1].peer == "erlang");
  CHECK(results[1].median == 30);
  CHECK(results[1].runs == 2);
}

TEST_CASE("a row that says how many runs it needs has as many, unless the command line says otherwise") {
  driver_folder const folder;
  folder.add("ours", "echo value ns 10");
  auto row = row_of({{"karyon", {shape_of("ours", "")}}});
  row.runs = 1;
  auto options = options_in(folder);
  CHECK(measure(row, options)[0].runs == 1);
  options.runs = 6;
  CHECK(measure(row, options)[0].runs == 6);
}

TEST_CASE("the memory that is touched before a run is not counted as the driver's") {
  driver_folder const folder;
  folder.add("ours", "echo value bytes 10");
  measurement const row{"s.x_bytes", "x", "bytes", 1'000'000, 0, true, {{"karyon", {shape_of("ours", "")}}}};
  auto const results = measure(row, options_in(folder));
  CHECK(results[0].runs == 5);
  CHECK(results[0].resident_bytes_max < 100'000'000);  // 512 MB are touched; a shell holds 2
}

TEST_CASE("a peer is measured in its fastest shape that works") {
  driver_folder const folder;
  folder.add("ours", "case $4 in a=1) echo value ns 20 ;; a=2) exit 1 ;; *) echo value ns 10 ;; esac");
  auto const results =
      measure(row_of({{"karyon", {shape_of("ours", "a=1"), shape_of("ours", "a=2"), shape_of("ours", "a=3")}}}),
              options_in(folder));
  CHECK(results[0].shape == "a=3");
  CHECK(results[0].median == 10);
  CHECK(results[0].runs == 5);
  CHECK(results[0].failure.empty());
}

TEST_CASE("where a larger figure is better the shape with the largest is measured") {
  driver_folder const folder;
  folder.add("ours",
             "case $4 in a=1) echo value percent 20 ;; a=2) echo value percent 40 ;; *) echo value percent 30 ;; esac");
  auto row = row_of({{"karyon", {shape_of("ours", "a=1"), shape_of("ours", "a=2"), shape_of("ours", "a=3")}}});
  row.unit = "percent";
  row.larger_is_better = true;
  auto const results = measure(row, options_in(folder));
  CHECK(results[0].shape == "a=2");
  CHECK(results[0].median == 40);
}

TEST_CASE("a peer that fails in one run is reported as failed, and the others go on") {
  driver_folder const folder;
  folder.add("ours", "echo value ns 10");
  folder.add("theirs",
             "echo run >>\"$log\"; [ $(wc -l <\"$log\") -lt 3 ] || { echo broken >&2; exit 1; }; echo value ns 1");
  auto const results =
      measure(row_of({{"karyon", {shape_of("ours", "")}}, {"caf", {shape_of("theirs", "")}}}), options_in(folder));
  CHECK(results[0].runs == 5);
  CHECK(results[1].runs == 0);
  CHECK(results[1].failure == "exit status 1: broken");

  nlohmann::ordered_json const context{
      {"suite", "s"}, {"cells", 10}, {"runs", 5}, {"cpu_model", "m"}, {"topology", "t"}};
  auto const report = to_json(results, context);
  CHECK(report.at("schema") == 1);
  CHECK(report.at("results")[0].at("median") == 10);
  CHECK(report.at("results")[1].at("median").is_null());
  CHECK(report.at("context").at("failures")[0].at("reason") == "exit status 1: broken");
  std::ostringstream table;
  print_table(table, results, context);
  CHECK(table.str().find("failed: s.x_ns of caf: exit status 1: broken") != std::string::npos);
}

TEST_CASE("what the machine can not do is reported as that, with what it has not got") {
  driver_folder const folder;
  folder.add("ours", "echo 'no second core' >&2; exit 77");
  auto const results = measure(row_of({{"karyon", {shape_of("ours", "")}}}), options_in(folder));
  CHECK(results[0].runs == 0);
  CHECK(results[0].not_here);
  CHECK(results[0].failure == "no second core");

  nlohmann::ordered_json const context{
      {"suite", "s"}, {"cells", 10}, {"runs", 5}, {"cpu_model", "m"}, {"topology", "t"}};
  auto const report = to_json(results, context);
  CHECK(report.at("results")[0].at("median").is_null());
  CHECK(report.at("context").at("failures")[0].at("not_here") == true);
  std::ostringstream table;
  print_table(table, results, context);
  CHECK(table.str().find("not here: s.x_ns of karyon: no second core") != std::string::npos);
}

TEST_CASE("a row of the report has exactly the promised keys") {
  result measured{"s.x_ns", "karyon", "ns", 2, 1, 3, 5, "", "a=1", 4096};
  auto const row = to_json({measured}, nlohmann::ordered_json::object()).at("results")[0];
  CHECK(row.dump() == R"({"name":"s.x_ns","peer":"karyon","unit":"ns","median":2.0,"min":1.0,"max":3.0,"runs":5})");
}

TEST_CASE("the report that the program writes says what its figures depend on") {
  driver_folder const folder;  // the program finds its drivers beside itself
  auto const program = folder.path() / "karyon-bench";
  fs::copy_file(KARYON_BENCH_PROGRAM, program);
  folder.add("ours", "[ $1 = clock ] && echo value ns 7 || echo value ns 10");
  std::ofstream{folder.path() / "s.json"} << R"({"suite":"s","cells":7,"peers":{"karyon":"ours"},"scenarios":
      [{"name":"s.x_ns","scenario":"x","unit":"ns","cells":"all","operations":3,"shapes":{"karyon":["a=1"]}}]})";
  auto const file = folder.path() / "report.json";
  auto const started = std::time(nullptr);
  auto const ended = run_process({program.string(), "s", "--suites", folder.path().string(), "--json", file.string()},
                                 std::chrono::seconds{60});
  REQUIRE(ended.failure.empty());
  std::ifstream in{file};
  auto const report = nlohmann::json::parse(in);
  CHECK(report.size() == 3);
  CHECK(report.at("schema") == 1);
  CHECK(report.at("results").dump() ==
        R"([{"max":10.0,"median":10.0,"min":10.0,"name":"s.x_ns","peer":"karyon","runs":5,"unit":"ns"}])");

  auto const& context = report.at("context");
  INFO(context.dump(2));
  // As in Google Benchmark. The date is one of ISO 8601, such as 2026-11-22T20:00:00+0000.
  std::tm day{};
  auto const date = context.at("date").get<std::string>();
  auto const* const rest = strptime(date.c_str(), "%Y-%m-%dT%H:%M:%S%z", &day);
  REQUIRE((rest != nullptr && *rest == '\0'));
  auto const east_of_utc_s = day.tm_gmtoff;
  auto const at = timegm(&day) - east_of_utc_s;
  CHECK((at >= started && at <= std::time(nullptr)));
  CHECK(context.at("num_cpus") > 0);
  CHECK(context.at("mhz_per_cpu").is_number_integer());
  CHECK(context.at("cpu_scaling_enabled").is_boolean());
  CHECK(context.at("load_avg").size() == 3);
  CHECK(context.at("library_build_type") == build_info::type);
  CHECK(context.at("caches").is_array());  // empty where the system does not tell
  for (auto const& cache : context.at("caches")) {
    CHECK(cache.at("type").is_string());
    CHECK(cache.at("level") > 0);
    CHECK(cache.at("size") > 0);
    CHECK(cache.at("num_sharing") > 0);
  }
  CHECK_FALSE(context.contains("host_name"));  // a report can be shown to everybody
  CHECK_FALSE(context.contains("executable"));

  CHECK(context.at("cpu_model").is_string());  // empty where the system does not tell
  for (auto const* text : {"governor", "transparent_huge_pages", "kernel", "compiler", "karyon_commit"}) {
    INFO(text);
    CHECK(context.at(text).is_string());
    CHECK_FALSE(context.at(text) == "");
  }
  unsigned packages = 0;
  unsigned nodes = 0;
  unsigned cores = 0;
  unsigned threads = 0;
  CHECK(std::sscanf(context.at("topology").get<std::string>().c_str(),
                    "%u package%*[s,] %u node%*[s,] %u core%*[s,] %u thread", &packages, &nodes, &cores,
                    &threads) == 4);
  CHECK((cores >= packages && threads >= cores));
  CHECK(context.at("allocator") == build_info::allocator);
  CHECK(context.at("karyon_version") == build_info::version);
  CHECK(context.at("memory_gib") > 0);

  CHECK(context.at("suite") == "s");
  CHECK(context.at("cells") == 7);
  CHECK(context.at("runs") == 5);
  CHECK(context.at("clock_overhead_ns") == 7);
  auto const& between = context.at("core_to_core_ns");
  CHECK(between.size() == (core_to_core_ns() ? 2 : 0));
  for (auto const& ns : between) CHECK(ns > 0);
  CHECK(context.at("shapes") == nlohmann::json{{"s.x_ns", {{"karyon", "a=1"}}}});
  CHECK(context.at("resident_bytes_max").at("s.x_ns").at("karyon") > 0);
  CHECK(context.at("failures").empty());
}

TEST_CASE("the table says how many times Karyon's median a peer's is") {
  result const ours{"s.x_ns", "karyon", "ns", 20, 10, 30, 5, "", "", 0};
  result const theirs{"s.x_ns", "erlang", "ns", 50, 40, 60, 5, "", "", 0};
  std::ostringstream table;
  print_table(table, {ours, theirs},
              {{"suite", "s"}, {"cells", 10}, {"runs", 5}, {"cpu_model", "m"}, {"topology", "t"}});
  CHECK(table.str().find("50.0 (40.0 to 60.0)  2.50x") != std::string::npos);
}

TEST_CASE("the table says how far the cores were from each other before and after") {
  result const ours{"s.x_ns", "karyon", "ns", 20, 10, 30, 5, "", "", 0};
  std::ostringstream table;
  print_table(table, {ours},
              {{"suite", "s"},
               {"cells", 10},
               {"runs", 5},
               {"cpu_model", "m"},
               {"topology", "t"},
               {"core_to_core_ns", {40.1, 145.2}}});
  CHECK(table.str().find("on m (t), 40.1 and 145 ns from core to core before and after\n") != std::string::npos);
}

TEST_CASE("the way between two cores is measured where there are two, by a thread on each") {
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  auto const found = core_to_core_ns();
  REQUIRE(found.has_value() == (CPU_COUNT(&before) > 1));
  CHECK((!found || *found > 0));
  cpu_set_t after;
  REQUIRE(sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&before, &after));  // the caller is not pinned by it
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &before)) {
      CPU_SET(i, &one);
    }
  }
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(!core_to_core_ns());
  REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST_CASE("rows that are measured together come from the same runs, of those peers that do them") {
  driver_folder const folder;
  std::ofstream{folder.path() / "s.json"} << R"({"suite":"s","cells":7,"peers":{"karyon":"ours","tbb":"theirs"},
      "scenarios":[{"together":[{"name":"s.x_ns","scenario":"x","unit":"ns","operations":3},
                                {"name":"s.y_percent","scenario":"y","unit":"percent","operations":4,"peers":[]}],
                    "cells":"all","runs_max":{"tbb":1},"shapes":{"karyon":["a=1"],"tbb":["a=2"]}}]})";
  folder.add("ours", "echo \"ours $*\" >>\"$log\"; echo value ns 10; echo value percent 50");
  folder.add("theirs", "echo \"theirs $*\" >>\"$log\"; echo value ns 20");
  auto const loaded = load_suite(folder.path() / "s.json", 0, true);
  REQUIRE(loaded.measurements.size() == 2);
  auto options = options_in(folder);
  options.runs = 2;
  auto const results = measure(loaded.measurements, options);
  CHECK(folder.log() == "ours x+y 7 3+4 a=1\ntheirs x 7 3 a=2\nours x+y 7 3+4 a=1\n");
  REQUIRE(results.size() == 3);
  CHECK(results[1].peer == "tbb");
  CHECK(results[1].median == 20);
  CHECK(results[1].runs == 1);
  CHECK(results[2].name == "s.y_percent");
  CHECK(results[2].median == 50);
}

TEST_CASE("the suite matrix has each kind of keys in one run a peer") {
  auto const loaded = load_suite(fs::path{build_info::suites} / "matrix.json", 0, true);
  std::set<std::uint64_t> groups;
  for (auto const& row : loaded.measurements) {
    CHECK(row.together != 0);
    groups.insert(row.together);
  }
  CHECK(groups.size() == 4);
  CHECK(loaded.measurements.size() == 19);
}

TEST_CASE("the suite schedule is one, and says of one row that larger is better") {
  auto const loaded = load_suite(fs::path{build_info::suites} / "schedule.json", 0, true);
  CHECK(loaded.cells == 1'000'000);
  std::set<std::string> larger;
  for (auto const& row : loaded.measurements) {
    CHECK(row.name.starts_with("schedule."));
    if (row.larger_is_better) larger.insert(row.name);
  }
  CHECK(larger == std::set<std::string>{"schedule.spinner_throughput_percent"});
}

TEST_CASE("the suite cells measures what was promised with both peers, and two rows more") {
  auto const loaded = load_suite(fs::path{build_info::suites} / "cells.json", 0, true);
  CHECK(loaded.cells == 500'000);
  std::set<std::string> names;
  for (auto const& row : loaded.measurements) {
    REQUIRE_FALSE(row.entrants.empty());
    CHECK(row.entrants[0].peer == "karyon");
    // Extra rows, which compare with nobody or with CAF alone.
    if (row.name == "cells.broadcast_ns" || row.name == "cells.fan_in_outside_ns") continue;
    names.insert(row.name);
    REQUIRE(row.entrants.size() == 3);
    CHECK(row.entrants[1].peer == "erlang");
    CHECK(row.entrants[2].peer == "caf");
  }
  CHECK(names == std::set<std::string>{"cells.spawn_ns", "cells.bytes_idle", "cells.bytes_supervised",
                                       "cells.roundtrip_local_ns", "cells.roundtrip_cross_ns", "cells.fan_in_ns",
                                       "cells.scatter_ns", "cells.big_ns", "cells.ring_ns", "cells.ask_ns",
                                       "cells.idle_cpu_percent", "supervise.start_ns"});
}

TEST_CASE("the number of cells on the command line applies where the suite leaves it open") {
  auto const loaded = load_suite(fs::path{build_info::suites} / "cells.json", 1234, false);
  for (auto const& row : loaded.measurements) {
    CHECK(row.entrants.size() == 1);
    CHECK((row.cells == 1234) == row.memory_grows);
  }
}

TEST_CASE("a file that is no suite is refused by name") {
  driver_folder const folder;
  for (auto const* text : {"", "{", "{}", R"({"suite":"s","cells":1,"peers":{},"scenarios":[{"name":"n"}]})"}) {
    auto const file = folder.path() / "broken.json";
    std::ofstream{file} << text;
    try {
      (void)load_suite(file, 0, false);
      FAIL("accepted: " << text);
    } catch (std::runtime_error const& error) {
      CHECK(std::string{error.what()}.find(file.string()) == 0);
    }
  }
}
