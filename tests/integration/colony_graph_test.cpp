// SPDX-License-Identifier: Apache-2.0

// The graph of sources against a slow and simple model of the same files, over a history that git has of them.

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "tools/colony/git_history.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/source_graph.hpp"
#include "tools/colony/walker.hpp"

namespace {

using karyon::tests::temporary_tree;
using namespace karyon::tools;

constexpr std::int64_t second = 1'000'000;
constexpr int files_max = 8;

progress& quiet() {
  static progress p(progress::style::silent);
  return p;
}

struct model_file {
  std::set<int> includes;
  std::set<std::string> defines;
  std::set<std::string> calls;

  [[nodiscard]] std::string text() const {
    std::string t;
    for (const int i : includes) t += "#include \"f" + std::to_string(i) + ".h\"\n";
    for (const std::string& name : defines) t += "int " + name + "() { return 1; }\n";
    t += "static int own() { return 0";
    for (const std::string& name : calls) t += " + " + name + "()";
    return t + "; }\n";
  }
};

/// The files at one time, by number.
using world = std::map<int, model_file>;

std::string name_of(int file) { return "d" + std::to_string(file % 2) + "/f" + std::to_string(file) + ".h"; }

model_file random_file(std::mt19937_64& random) {
  model_file f;
  for (int i = 0; i < 2; ++i) {
    if (random() % 2 == 0) f.includes.insert(static_cast<int>(random() % files_max));
    f.defines.insert("n" + std::to_string(random() % 12));
    f.calls.insert("n" + std::to_string(random() % 12));
  }
  return f;
}

using touched = std::set<std::tuple<std::string, std::uint32_t, bool>>;

touched model_impact(const world& w, int file, const temporary_tree& tree) {
  touched found;
  std::map<int, std::uint32_t> distance{{file, 0}};
  for (bool more = true; more;) {
    more = false;
    for (const auto& [i, f] : w) {
      for (const int included : f.includes) {
        const auto at = distance.find(included);
        if (at != distance.end() && (distance.count(i) == 0 || distance[i] > at->second + 1)) {
          distance[i] = at->second + 1;
          more = true;
        }
      }
    }
  }
  for (const auto& [i, d] : distance) {
    if (i != file) found.insert({tree.path(name_of(i)), d, true});
  }
  const auto changed = w.find(file);
  for (const auto& [i, f] : w) {
    const bool calls = changed != w.end() && (std::any_of(f.calls.begin(), f.calls.end(), [&](const std::string& c) {
                         return changed->second.defines.count(c) != 0;
                       }));
    if (calls && distance.count(i) == 0) found.insert({tree.path(name_of(i)), 1, false});
  }
  return found;
}

bool run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

std::optional<source_graph> open_graph() {
  auto opened = source_graph::open({.engine = RHIZOME_ENGINE, .workers = 2, .file_bytes_max = 1U << 20U});
  if (!opened) {
    REQUIRE(opened.error().code() == karyon::errc::unsupported);  // a build without grammars
    WARN("left out: " << opened.error().message());
    return std::nullopt;
  }
  return std::move(*opened);
}

void compare(const source_graph& graph, const world& w, std::optional<std::int64_t> at, const temporary_tree& tree) {
  for (int file = 0; file < files_max; ++file) {
    const auto named = graph.files_named(name_of(file));
    if (named.empty()) continue;
    const auto impact = graph.impact(named.front(), at);
    REQUIRE(impact);
    touched found;
    for (const touched_file& one : *impact) found.insert({one.file, one.distance, one.by_include});
    REQUIRE(found.size() == impact->size());
    REQUIRE((found == model_impact(w, file, tree)));
  }
  for (int n = 0; n < 12; ++n) {
    const std::string name = "n" + std::to_string(n);
    std::set<std::string> defining;
    std::set<std::string> using_it;
    for (const auto& [i, f] : w) {
      if (f.defines.count(name) != 0) defining.insert(tree.path(name_of(i)));
      if (f.defines.count(name) + f.calls.count(name) != 0) using_it.insert(tree.path(name_of(i)));
    }
    const auto definers = graph.definers(name, at).value();
    const auto users = graph.users(name, at).value();
    REQUIRE((std::set<std::string>(definers.begin(), definers.end()) == defining));
    REQUIRE((std::set<std::string>(users.begin(), users.end()) == using_it));
  }
}

}  // namespace

TEST_CASE("the graph answers for every time in a git history as a model of the files does") {
  auto graph = open_graph();
  if (!graph) return;
  temporary_tree tree;
  const std::string git = "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -C '" + tree.path() +
                          "' -c user.name=t -c user.email=t@localhost ";
  if (!run(git + "init -q -b main")) {
    WARN("left out: there is no git");
    return;
  }
  std::mt19937_64 random(3);
  std::vector<world> worlds;
  world w;
  for (int step = 0; step < 12; ++step) {
    for (int changes = 0; changes < (step == 0 ? files_max : 2); ++changes) {
      const int file = static_cast<int>(random() % files_max);
      if (step > 0 && random() % 4 == 0) {
        w.erase(file);
        std::filesystem::remove(tree.path(name_of(file)));
      } else {
        w[file] = random_file(random);
        tree.write(name_of(file), w[file].text());
      }
    }
    const std::string date = "@" + std::to_string(1000 + step * 10) + " +0000";
    REQUIRE(run(git + "add -A"));
    REQUIRE(run("GIT_COMMITTER_DATE='" + date + "' GIT_AUTHOR_DATE='" + date + "' " + git +
                "commit -q --allow-empty -m step"));
    worlds.push_back(w);
  }
  // What is on the disk and in no commit is there since it was written.
  w[0] = random_file(random);
  tree.write(name_of(0), w[0].text());

  const auto census = graph->learn(walk({tree.path()}).files, {tree.path()}, quiet());
  REQUIRE(census);
  CHECK(census->repositories == 1);
  CHECK(census->unread == 0);
  CHECK(census->versions > static_cast<std::uint64_t>(files_max));
  compare(*graph, {}, 999 * second, tree);
  for (std::size_t step = 0; step < worlds.size(); ++step) {
    const auto time = static_cast<std::int64_t>(1000 + step * 10) * second;
    compare(*graph, worlds[step], time, tree);
    compare(*graph, worlds[step], time + 9 * second, tree);
  }
  compare(*graph, w, std::nullopt, tree);
}

TEST_CASE("without git a file is in the graph from its modification time on, and what is no text is not") {
  auto graph = open_graph();
  if (!graph) return;
  temporary_tree tree;
  tree.write("a.h", "int f() { return 1; }\n");
  tree.write("b.c", "#include \"a.h\"\n");
  tree.write("c.c", "#include \"a.h\"\n// \xff\n");
  const timespec times[] = {{1000, 0}, {1000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, tree.path("b.c").c_str(), times, 0) == 0);
  auto files = walk({tree.path()}).files;
  files.push_back(tree.path("gone.c"));
  const auto census = graph->learn(files, {tree.path()}, quiet());
  REQUIRE(census);
  CHECK(census->files == 2);
  CHECK(census->versions == 2);
  CHECK(census->unread == 2);
  CHECK(census->repositories == 0);
  const std::string a = tree.path("a.h");
  CHECK(graph->files_named("a.h") == std::vector<std::string>{a});
  CHECK(graph->files_named(".h").empty());
  const auto touched = graph->impact(a, std::nullopt).value();
  REQUIRE(touched.size() == 1);
  CHECK(touched[0].file == tree.path("b.c"));
  CHECK(graph->impact(a, 999 * second).value().empty());
  CHECK(graph->impact(tree.path("gone.c"), std::nullopt).value().empty());
  CHECK(graph->definers("f", 1001 * second).value().empty());
  CHECK(graph->definers("f", std::nullopt).value() == std::vector<std::string>{a});
}

TEST_CASE("a log of any bytes is read without harm, and times ascend within a file") {
  using namespace std::string_literals;
  const std::string zeros(40, '0');
  const std::string blob(40, 'b');
  const auto entry = [&](char status, const std::string& path) {
    return ":100644 100644 " + zeros + ' ' + blob + ' ' + status + '\0' + path + '\0';
  };
  const auto commit = [](const char* time) { return '\x01' + std::string(time) + "\0\n"s; };
  const std::string log = commit("20") + entry('A', "src/a.h") + entry('A', "b.h") + commit("10") +
                          entry('M', "src/a.h") + commit("30") + commit("x") + entry('D', "src/a.h") +
                          ":120000 120000 x y M\0src/link.h\0"s + ":\0src/odd.h"s;
  const auto files = read_git_log(log, "src/");
  REQUIRE(files.count("a.h") == 1);
  const auto& versions = files.at("a.h");
  REQUIRE(versions.size() == 3);
  CHECK(versions[0].since_us == 20 * second);
  CHECK(versions[0].blob == blob);
  CHECK(versions[1].since_us == 20 * second + 1);
  CHECK(versions[2].since_us == 30 * second);
  CHECK(versions[2].blob.empty());
  CHECK(files.at("link.h").front().blob.empty());
  CHECK(files.count("b.h") == 0);
  CHECK(read_git_log("", "").empty());
  for (std::size_t size = 0; size < log.size(); ++size) {
    CHECK(read_git_log(log.substr(0, size), "").size() <= 4);
  }
}
