// SPDX-License-Identifier: Apache-2.0

// The `karyon` command as a user or a script meets it: the built program is run.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/run_command.hpp"
#include "support/temporary_tree.hpp"
#include "tools/colony/options.hpp"

namespace {

using karyon::tests::command_result;
using karyon::tests::run_on_terminal;
using karyon::tests::temporary_tree;
using nlohmann::json;
using namespace std::string_literals;

command_result karyon_command(std::vector<std::string> arguments, const char* out_path = nullptr) {
  arguments.insert(arguments.begin(), KARYON_COMMAND);
  return karyon::tests::run_command(arguments, out_path);
}

json colony_json(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"colony", "--json"});
  const command_result r = karyon_command(std::move(arguments));
  INFO(r.out << r.err);
  CHECK(r.status == 0);
  return json::parse(r.out);
}

/// What was drawn over one line of a terminal, one after the other; the last is what was written once the line was erased.
std::vector<std::string> drawn_on_one_line(const std::string& shown) {
  static const std::string erased = "\r\033[K";
  std::vector<std::string> drawn;
  std::size_t from = shown.find(erased);
  while (from != std::string::npos) {
    const std::size_t next = shown.find(erased, from + erased.size());
    drawn.push_back(shown.substr(from + erased.size(), next == std::string::npos ? next : next - from - erased.size()));
    from = next;
  }
  return drawn;
}

bool is_one_line(const std::string& text) {
  return text.size() > 1 && text.back() == '\n' && std::count(text.begin(), text.end(), '\n') == 1;
}

}  // namespace

TEST_CASE("wrong usage gets one clear line and exit status 2") {
  const auto arguments = GENERATE(
      std::vector<std::string>{}, std::vector<std::string>{"frobnicate"}, std::vector<std::string>{"--frobnicate"},
      std::vector<std::string>{"colony", "--frobnicate"}, std::vector<std::string>{"colony", "/usr", "--kill"},
      std::vector<std::string>{"colony", "--kill", "101%"}, std::vector<std::string>{"colony", "--kill", "-1"},
      std::vector<std::string>{"colony", "--kill", "many"}, std::vector<std::string>{"colony", "--kill", ""},
      std::vector<std::string>{"colony", "--kill", "nan"}, std::vector<std::string>{"colony", "--kill", "10%%"},
      std::vector<std::string>{"colony", "--workers", "0"}, std::vector<std::string>{"colony", "--workers", "-1"},
      std::vector<std::string>{"colony", "--workers", "4097"}, std::vector<std::string>{"colony", "--workers", "two"},
      std::vector<std::string>{"colony", "--seed", "x"}, std::vector<std::string>{"colony", "--max-file-bytes", "-5"},
      std::vector<std::string>{"colony", "--max-file-bytes", "99999999999999999999"},
      std::vector<std::string>{"colony", "/no/such/directory"}, std::vector<std::string>{"colony", ""},
      std::vector<std::string>{"colony", "/dev/null"}, std::vector<std::string>{"colony", "/no/such", "/nor/this"},
      std::vector<std::string>{"colony", "/usr/include", "--who-uses", ""},
      std::vector<std::string>{"colony", "/usr/include", "--who-uses="},
      std::vector<std::string>{"colony", "/usr/include", "--impact="},
      std::vector<std::string>{"colony", "/usr/include", "--who-defines", ""},
      std::vector<std::string>{"colony", "/usr/include", "--as-of", "2026-11-21"},
      std::vector<std::string>{"colony", "/usr/include", "--impact", "a.h", "--as-of", "yesterday"},
      std::vector<std::string>{"colony", "--json", "/no/such/directory"},
      std::vector<std::string>{"colony", "--join", "nowhere"},
      std::vector<std::string>{"colony", "--join", "tcp://192.0.2.1:7000"},
      std::vector<std::string>{"colony", "--listen", "ipc://relative/path"},
      std::vector<std::string>{"colony", "--listen", "tcp://127.0.0.1"},
      std::vector<std::string>{"colony", "/usr/include", "--join", "ipc:///no/such/colony"},
      std::vector<std::string>{"colony", "--kill", "5%", "--join", "ipc:///no/such/colony"});
  const command_result r = karyon_command(arguments);
  INFO("arguments: " << (arguments.empty() ? "none" : arguments.back()) << "\nstderr: " << r.err);
  CHECK(r.status == 2);
  CHECK(r.out.empty());
  CHECK(is_one_line(r.err));
  CHECK(r.err.rfind("karyon: ", 0) == 0);
}

TEST_CASE("a complaint names the help of the command that was used wrongly") {
  CHECK(karyon_command({"--frobnicate"}).err.find("(see karyon --help)") != std::string::npos);
  CHECK(karyon_command({"colony", "--frobnicate"}).err.find("(see karyon colony --help)") != std::string::npos);
  CHECK(karyon_command({"keys", "show"}).err.find("(see karyon keys show --help)") != std::string::npos);
}

TEST_CASE("version and help go to standard output and succeed") {
  CHECK(karyon_command({"--version"}).out.rfind("karyon ", 0) == 0);
  for (const auto& arguments : {std::vector<std::string>{"--help"}, {"colony", "--help"}}) {
    const command_result r = karyon_command(arguments);
    CHECK(r.status == 0);
    CHECK(r.out.find("colony") != std::string::npos);
    CHECK(r.err.empty());
  }
}

TEST_CASE("a directory that does not exist is named, and the others are read") {
  temporary_tree tree;
  tree.write("a.h", "alpha");
  const command_result r = karyon_command({"colony", "/no/such/directory", tree.path()});
  CHECK(r.status == 0);
  CHECK(r.err.find("karyon: /no/such/directory: No such file or directory\n") != std::string::npos);
  CHECK(r.out.find("colony of 1 eye and 1 symbol") != std::string::npos);
}

TEST_CASE("an empty directory makes an empty colony") {
  temporary_tree tree;
  const json j = colony_json({tree.path(), "--who-uses", "x"});
  CHECK(j["cells"]["total"] == 0);
  CHECK(j["knowledge"]["exact"] == true);
  CHECK(j["healing"]["exact"] == true);
  CHECK(j["who_uses"][0]["known"] == false);
  const command_result r = karyon_command({"colony", tree.path()});
  CHECK(r.status == 0);
  CHECK(r.out.find("killed 10% with seed 1: 0 eyes and 0 symbols: nobody died") != std::string::npos);
  CHECK(r.out.find("healed") == std::string::npos);
}

TEST_CASE("files and paths of every fault are counted by outcome, and the rest is learned") {
  temporary_tree tree;
  tree.write("good.h", "int good;");
  tree.write("empty.h", "");
  tree.write("binary.h", "a\0b"s);
  tree.write("large.h", std::string(5000, 'x'));
  tree.link_to("/proc/self/mem", "unreadable.h");
  tree.link("nowhere.h", "dangling.h");
  tree.link("good.h", "again.h");
  tree.write("dir/inner.h", "good()");
  tree.link("dir", "dir/up");
  tree.pipe("pipe.h");
  tree.write("notes.txt", "x");
  const json j = colony_json({tree.path(), "--max-file-bytes", "4096", "--who-uses", "good"});
  CHECK(j["files"]["scanned"] == 3);
  CHECK(j["files"]["binary"] == 1);
  CHECK(j["files"]["enormous"] == 1);
  CHECK(j["files"]["unreadable"] == 1);
  CHECK(j["files"]["vanished"] == 1);
  CHECK(j["files"]["duplicate"] == 1);
  CHECK(j["files"]["symlink_loop"] == 1);
  CHECK(j["files"]["not_regular"] == 1);
  CHECK(j["files"]["not_source"] == 1);
  CHECK(j["problems"].size() == 6);
  CHECK(j["cells"]["symbols"] == 1);
  CHECK(j["who_uses"][0]["uses"] ==
        json::parse(R"([{"file": ")" + tree.path() + R"(/again.h", "line": 1}, {"file": ")" + tree.path() +
                    R"(/dir/inner.h", "line": 1}])"));
}

TEST_CASE("the census adds up") {
  temporary_tree tree;
  for (int i = 0; i < 50; ++i) {
    tree.write("f" + std::to_string(i) + ".h", "common own" + std::to_string(i) + "\ncommon common\n");
  }
  const json j = colony_json({tree.path(), "--kill", "0", "--workers", "2"});
  CHECK(j["cells"]["eyes"] == 50);
  CHECK(j["cells"]["symbols"] == 51);
  CHECK(j["knowledge"]["symbols"]["uses"] == 150);  // common on two lines of each, its own name on one
  CHECK(j["knowledge"]["symbols"] == j["knowledge"]["eyes"]);
  CHECK(j["signals"]["uses_told"] == 150);
  CHECK(j["healing"].is_null());
  std::uint64_t by_worker = 0;
  for (const json& n : j["cells"]["by_worker"]) by_worker += n.get<std::uint64_t>();
  CHECK(j["cells"]["by_worker"].size() == 2);
  CHECK(by_worker == 101);
  std::uint64_t by_node = 0;
  for (const json& n : j["cells"]["by_node"]) by_node += n.get<std::uint64_t>();
  CHECK(by_node == 101);
}

TEST_CASE("bytes a cell and signals a second agree with what else the census says") {
  temporary_tree tree;
  std::string names;
  for (int i = 0; i < 20'000; ++i) names += "name" + std::to_string(i) + '\n';
  tree.write("names.h", names);
  const json j = colony_json({tree.path(), "--kill", "0"});
  const json& cells = j["cells"];
  REQUIRE(cells["total"] == 20'001);
  const double grown = cells["bytes_a_cell"].get<double>() * 20'001;
  CHECK(cells["knowledge_bytes"] > 0);
  CHECK(grown > cells["knowledge_bytes"].get<double>());
  CHECK(grown < cells["resident_bytes"].get<double>());

  const json& signals = j["signals"];
  const double seconds = j["seconds"]["learn"].get<double>();
  CHECK(seconds > 0);
  CHECK(signals["uses_told"] == 20'000);
  CHECK(std::abs(signals["uses_a_second"].get<double>() * seconds - 20'000) < 0.5);
  // All that was told, and more: each cell was asked what it knows.
  const double handled = signals["handled_a_second"].get<double>() * seconds;
  CHECK(handled > 20'000);
  CHECK(handled < signals["handled"].get<double>() + 0.5);
}

TEST_CASE("a killing heals to the same knowledge, and the seed decides who is killed") {
  temporary_tree tree;
  for (int i = 0; i < 40; ++i) tree.write("f" + std::to_string(i) + ".h", "a b c d" + std::to_string(i) + "\n a e f\n");
  const json one = colony_json({tree.path(), "--kill", "30%", "--seed", "7"});
  const json same = colony_json({tree.path(), "--kill", "30", "--seed", "7", "--workers", "1"});
  const json other = colony_json({tree.path(), "--kill", "30%", "--seed", "8"});
  const auto killed = [](const json& j) {
    return j["healing"]["eyes_killed"].get<int>() + j["healing"]["symbols_killed"].get<int>();
  };
  CHECK(one["cells"]["total"] == 85);
  CHECK(killed(one) == 26);  // 25.5, rounded
  CHECK(one["healing"]["restarts"] == 26);
  CHECK(one["healing"]["exact"] == true);
  CHECK(one["healing"]["before"]["uses"] == 280);
  CHECK(one["healing"]["eyes_killed"] == same["healing"]["eyes_killed"]);
  CHECK(one["knowledge"] == same["knowledge"]);
  CHECK(killed(other) == 26);
}

TEST_CASE("without a terminal it prints plain lines and does not ask") {
  temporary_tree tree;
  tree.write("a.h", "alpha\nbeta alpha");
  const command_result r =
      karyon_command({"colony", tree.path(), "--kill", "50%", "--who-uses", "alpha", "--who-uses", "gamma"});
  CHECK(r.status == 0);
  CHECK(r.out.find("alpha: used on 2 lines of 1 file\n  " + tree.path() + "/a.h:1\n  " + tree.path() + "/a.h:2\n") !=
        std::string::npos);
  CHECK(r.out.find("gamma: no file uses this name\n") != std::string::npos);
  CHECK(r.out.find("the same as before") != std::string::npos);
  CHECK((r.out + r.err).find('\r') == std::string::npos);
  CHECK((r.out + r.err).find('\033') == std::string::npos);
  CHECK(r.out.find("colony>") == std::string::npos);
}

TEST_CASE("JSON is alone on standard output, whatever the names are") {
  temporary_tree tree;
  tree.write("caf\xE9 \n\x1b[31m.h", "alpha");  // no UTF-8, and control characters
  const command_result r = karyon_command({"colony", "--json", tree.path(), "--who-uses", "alpha"});
  CHECK(r.err.empty());
  const json j = json::parse(r.out);
  CHECK(j["who_uses"][0]["uses"].size() == 1);
}

TEST_CASE("file names can not steer the terminal") {
  temporary_tree tree;
  tree.write("a\x1b[31m.h", "alpha\0"s);
  const command_result r = karyon_command({"colony", tree.path(), "--who-uses", "alpha"});
  CHECK(r.out.find('\x1b') == std::string::npos);
  CHECK(r.out.find("a\\x1B[31m.h") != std::string::npos);
}

TEST_CASE("a time is a date, a date with a time of day, or seconds, in UTC") {
  const auto time_of = [](const char* text) {
    std::int64_t time = -1;
    return karyon::tools::parse_time(text, time) ? time / 1'000'000 : -1;
  };
  CHECK(time_of("1970-01-02") == 86'400);
  CHECK(time_of("2026-11-21") == 1'795'219'200);
  CHECK(time_of("2026-11-21 18:30") == 1'795'285'800);
  CHECK(time_of("2026-11-21T18:30:05Z") == 1'795'285'805);
  CHECK(time_of("@1700000000") == 1'700'000'000);
  for (const char* wrong :
       {"", "@", "@-1", "@1e9", "2026", "2026-13-01", "2026-02-30", "2026-11-21T", "2026-11-21 24:00",
        "2026-11-21 18:30:", "2026-11-21 18:30 CET", "2026-1-21", "x2026-11-21"}) {
    INFO(wrong);
    CHECK(time_of(wrong) == -1);
  }
  CHECK(karyon::tools::time_text(1'795'285'805'000'000) == "2026-11-21 18:30:05 UTC");
}

TEST_CASE(
    "a question for the graph without an engine fails before anything is read, in one line that names the engine") {
  temporary_tree tree;
  tree.write("a.h", "alpha");
  const command_result r = karyon_command({"colony", tree.path(), "--impact", "a.h", "--engine", tree.path("none.so")});
  CHECK(r.status == 1);
  CHECK(r.out.empty());
  CHECK(r.err.find(tree.path("none.so")) != std::string::npos);
  CHECK(r.err.find("reading") == std::string::npos);
}

#ifdef RHIZOME_ENGINE
TEST_CASE("the graph's answers are printed, and are part of the JSON, where they are asked for") {
  temporary_tree tree;
  tree.write("a.h", "int f() { return 1; }\n");
  tree.write("b.h", "#include \"a.h\"\n");
  tree.write("c.cpp", "#include \"b.h\"\nint g() { return f(); }\n");
  const std::vector<std::string> engine{"--engine", RHIZOME_ENGINE};
  std::vector<std::string> asked{"colony", tree.path(), "--impact", "a.h", "--impact", "x.h", "--who-defines", "f"};
  asked.insert(asked.end(), engine.begin(), engine.end());
  const command_result r = karyon_command(asked);
  if (r.err.find("no syntax trees") != std::string::npos) {
    CHECK(r.status == 1);
    WARN("left out: this build has no grammars");
    return;
  }
  INFO(r.out << r.err);
  CHECK(r.status == 0);
  CHECK(r.out.find("graph of 3 versions of 3 files") != std::string::npos);
  CHECK(r.out.find(tree.path("a.h") + ": a change touches 2 files\n  1 include " + tree.path("b.h") + "\n  2 include " +
                   tree.path("c.cpp") + "\n") != std::string::npos);
  CHECK(r.out.find("x.h: there is no such file\n") != std::string::npos);
  CHECK(r.out.find("f: defined in 1 file\n  " + tree.path("a.h") + "\n") != std::string::npos);

  const json j = colony_json(
      {tree.path(), "--impact", "a.h", "--who-uses", "f", "--as-of", "@1000000000", "--engine", RHIZOME_ENGINE});
  CHECK(j["graph"]["files"] == 3);
  CHECK(j["graph"]["as_of"] == "2001-09-09 01:46:40 UTC");
  CHECK(j["graph"]["impact"][0]["file"] == tree.path("a.h"));
  CHECK(j["graph"]["impact"][0]["touches"].empty());  // the files are younger
  CHECK(j["graph"]["who_uses"][0]["files"].empty());
  CHECK(j["who_uses"].empty());
  CHECK(!colony_json({tree.path()}).contains("graph"));
}
#endif

TEST_CASE("results that can not be written are a failure") {
  temporary_tree tree;
  tree.write("a.h", "alpha");
  const command_result r = karyon_command({"colony", tree.path()}, "/dev/full");
  CHECK(r.status == 1);
  CHECK(r.err.find("karyon: standard output could not be written\n") != std::string::npos);
}

TEST_CASE("on a terminal a bar shows how far it is, fills, and leaves the line clean") {
  temporary_tree tree;
  for (int i = 0; i < 50; ++i) tree.write("f" + std::to_string(i) + ".h", "common own" + std::to_string(i) + "\n");
  const command_result r = run_on_terminal({KARYON_COMMAND, "colony", tree.path(), "--no-prompt", "--kill", "20%"}, "");
  INFO(r.out);
  CHECK(r.status == 0);
  const std::string full(30, '#');
  CHECK(r.out.find("\r\033[Kreading [" + full + "] 50 of 50 files, 100 signals\r\033[Kcolony of 50 eyes") !=
        std::string::npos);
  const std::size_t healed = r.out.find("\r\033[Khealing [" + full + "] 50 of 50 files, ");
  REQUIRE(healed != std::string::npos);
  CHECK(drawn_on_one_line(r.out.substr(healed)).back().starts_with("killed 20%"));
  CHECK(r.out.find("reading ...") == std::string::npos);
}

TEST_CASE("the bar of a narrow terminal stays on one line") {
  temporary_tree tree;
  for (int i = 0; i < 50; ++i) tree.write("f" + std::to_string(i) + ".h", "common own" + std::to_string(i) + "\n");
  const auto drawn_within = [&](int columns) {
    const std::string command = "stty cols " + std::to_string(columns) + " && exec \"$@\"";
    const command_result r = run_on_terminal(
        {"/bin/sh", "-c", command, "sh", KARYON_COMMAND, "colony", tree.path(), "--no-prompt", "--kill=0"}, "");
    INFO(r.out);
    REQUIRE(r.status == 0);
    std::vector<std::string> drawn = drawn_on_one_line(r.out);
    REQUIRE(drawn.size() > 1);
    REQUIRE(drawn.back().starts_with("colony of 50 eyes"));
    drawn.pop_back();
    for (const std::string& line : drawn) CHECK(line.size() < static_cast<std::size_t>(columns));
    return drawn.back();
  };
  CHECK(drawn_within(45) == "reading [######] 50 of 50 files, 100 signals");
  CHECK(drawn_within(30) == "reading [] 50 of 50 files, 10");
}

TEST_CASE("on a terminal it asks for names until it is told to end") {
  temporary_tree tree;
  tree.write("a.h", "alpha\nbeta alpha");
  const command_result r = run_on_terminal(
      {KARYON_COMMAND, "colony", tree.path(), "--seed", "3"},
      "alpha\n  beta \ngamma\nhelp\n:census\n:kill 50%\n:kill much\n:frob\n\n:all alpha\n:help\n:quit\nnot_reached\n");
  INFO(r.out);
  CHECK(r.status == 0);
  CHECK(r.out.find("alpha: used on 2 lines of 1 file") != std::string::npos);
  CHECK(r.out.find("beta: used on 1 line of 1 file") != std::string::npos);
  CHECK(r.out.find("gamma: no file uses this name") != std::string::npos);
  CHECK(r.out.find(":help lists the commands, :quit ends") != std::string::npos);
  CHECK(r.out.find("commands begin with a colon; :help lists them") != std::string::npos);
  CHECK(r.out.find("killed 50% with seed 4") != std::string::npos);
  CHECK(r.out.find(":kill takes a percentage") != std::string::npos);
  CHECK(r.out.find("no such command: :frob") != std::string::npos);
  CHECK(r.out.find("not_reached: ") == std::string::npos);
}

TEST_CASE("the prompt ends with the input, and stays away when it is not wanted") {
  temporary_tree tree;
  tree.write("a.h", "alpha");
  const command_result asked = run_on_terminal({KARYON_COMMAND, "colony", tree.path()}, "");
  CHECK(asked.status == 0);
  CHECK(asked.out.find("colony> ") != std::string::npos);
  for (const char* option : {"--no-prompt", "--json", "--who-uses=alpha"}) {
    const command_result r = run_on_terminal({KARYON_COMMAND, "colony", tree.path(), option}, "");
    CHECK(r.status == 0);
    CHECK(r.out.find("colony> ") == std::string::npos);
  }
}
