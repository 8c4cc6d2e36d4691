// SPDX-License-Identifier: Apache-2.0

// The `karyon` command as a user or a script meets it: the built program is run.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/run_command.hpp"
#include "support/temporary_tree.hpp"

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
      std::vector<std::string>{"colony", "--json", "/no/such/directory"});
  const command_result r = karyon_command(arguments);
  INFO("arguments: " << (arguments.empty() ? "none" : arguments.back()) << "\nstderr: " << r.err);
  CHECK(r.status == 2);
  CHECK(r.out.empty());
  CHECK(is_one_line(r.err));
  CHECK(r.err.rfind("karyon: ", 0) == 0);
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

TEST_CASE("results that can not be written are a failure") {
  temporary_tree tree;
  tree.write("a.h", "alpha");
  const command_result r = karyon_command({"colony", tree.path()}, "/dev/full");
  CHECK(r.status == 1);
  CHECK(r.err.find("karyon: standard output could not be written\n") != std::string::npos);
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
