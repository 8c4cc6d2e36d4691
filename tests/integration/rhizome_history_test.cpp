// SPDX-License-Identifier: Apache-2.0
// The store on histories that really happened: this project's own, of which git knows what was there at each commit, and that of the packages
// of this machine, of which dpkg keeps a log. Both are left out, with a line that says so, where there is none.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "store/store.hpp"
#include "store/view.hpp"
#include "support/catch.hpp"
#include "support/run_command.hpp"

using namespace rhizome;
using karyon::tests::run_command;

namespace {

using tree = std::map<std::string, std::string>;  // path -> what it is

/// Names in a folder or on a machine that come, change and go: an arc to each name that is true while it is there, and what the name is then.
class named_things {
public:
  named_things() : store_(store::make(options()).value()) {
    auto tx = store_.begin().value();
    has_ = tx.name_label("has").value();
    name_ = tx.name_property("name").value();
    is_ = tx.name_property("is").value();
    all_ = tx.add_vertex().value();
    static_cast<void>(tx.commit().value());
  }

  /// All that changed at one moment, in one transaction: names with what they are now, empty: gone. Later than all before.
  commit_number put(const tree& changed, time_us at) {
    auto tx = store_.begin().value();
    for (const auto& [name, what] : changed) {
      auto found = known_.find(name);
      if (found == known_.end()) {
        found = known_.emplace(name, thing{tx.add_vertex().value()}).first;
        REQUIRE(tx.set_property(found->second.self, name_, name));
      }
      thing& it = found->second;
      if (what.empty()) {
        if (!it.there) continue;
        REQUIRE(tx.set_valid(has_, all_, it.self, {it.since, at}));
      } else if (!it.there) {
        REQUIRE(tx.add_arc(has_, all_, it.self, {at, end_of_time}));
        it.since = at;
      }
      it.there = !what.empty();
      if (it.there) REQUIRE(tx.set_property(it.self, is_, what, {at, end_of_time}));
    }
    return tx.commit().value();
  }

  [[nodiscard]] tree at(commit_number recorded, time_us moment) const {
    const snapshot now = store_.now().value();
    tree found;
    now.as_of_valid_at(recorded, moment, has_).value().for_each(all_, [&](vertex v) {
      const value name = now.property(v, name_, recorded).value();
      found[std::get<std::string>(name)] = std::get<std::string>(now.property(v, is_, recorded, moment).value());
    });
    return found;
  }
  [[nodiscard]] commit_number newest() const { return store_.newest(); }
  void compact() {
    while (store_.compact(std::size_t{1} << 20).value().left_bytes > 0) {
    }
  }

private:
  struct thing {
    vertex self = no_vertex;
    time_us since = 0;
    bool there = false;
  };
  static store_options options() {
    store_options o;
    o.memory_limit_bytes = std::size_t{512} << 20;
    o.vertices_max = 1 << 20;
    o.unique_arcs = false;  // what comes back has an arc for each time that it was there
    o.huge_pages = false;
    return o;
  }

  store store_;
  label has_ = 0;
  property_key name_ = 0;
  property_key is_ = 0;
  vertex all_ = 0;
  std::map<std::string, thing> known_;
};

/// The fields of `text`, each ended by `end`.
std::vector<std::string> fields(const std::string& text, char end) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string one; std::getline(in, one, end);) all.push_back(one);
  return all;
}

/// What it wrote; nothing where it failed, or said anything else than 0. The settings of whoever runs the test must not change what is written.
std::optional<std::string> git(std::vector<std::string> arguments) {
  std::vector<std::string> command{"/usr/bin/git",      "-c", "safe.directory=*", "-c", "log.showSignature=false", "-c",
                                   "log.showRoot=true", "-C", KARYON_SOURCES};
  command.insert(command.end(), arguments.begin(), arguments.end());
  auto done = run_command(command);
  if (done.status != 0) return std::nullopt;
  return std::move(done.out);
}

/// Whether git has all of the history, here: a clone of depth 1 has not, and one without trees (`--filter=tree:0`) would ask its origin for each.
bool has_whole_history() {
  return ::access("/usr/bin/git", X_OK) == 0 &&
         git({"rev-parse", "--is-shallow-repository", "--show-prefix"}) == "false\n\n" &&
         !git({"config", "--get-regexp", R"(^(extensions\.partialclone|remote\..*\.promisor)$)"});
}

struct git_commit {
  std::string hash;
  time_us at = 0;
  tree changed;  // the blob at each path; empty: removed
};

/// The first parents' line of commits, the oldest first; none where there is no commit yet, or git is too old to tell them. Times are made
/// to grow: clocks of authors do not.
std::vector<git_commit> commits_of_git() {
  std::vector<git_commit> all;
  const auto text = git({"log", "--first-parent", "--diff-merges=first-parent", "--reverse", "--raw", "--no-abbrev",
                         "--no-renames", "-z", "--format=commit %H %ct", "HEAD"});
  const auto parts = fields(text.value_or(""), '\0');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string line = parts[i].substr(std::min(parts[i].find_first_not_of('\n'), parts[i].size()));
    if (line.starts_with("commit ")) {
      std::istringstream in(line.substr(7));
      git_commit& made = all.emplace_back();
      std::int64_t seconds = 0;
      in >> made.hash >> seconds;
      made.at = std::max(all.size() > 1 ? all[all.size() - 2].at + 1 : 0, seconds * 1'000'000);
    } else if (line.starts_with(":") && i + 1 < parts.size()) {  // :mode mode blob blob STATUS, path
      const auto columns = fields(line, ' ');
      REQUIRE(columns.size() == 5);
      all.back().changed[parts[++i]] = columns[4] == "D" ? "" : columns[3];
    }
  }
  return all;
}

tree tree_of_git(const std::string& commit) {
  tree found;
  const auto text = git({"ls-tree", "-r", "-z", commit});
  REQUIRE(text.has_value());
  for (const std::string& line : fields(*text, '\0')) {  // mode type blob<tab>path
    const auto tab = line.find('\t');
    REQUIRE(tab != std::string::npos);
    found[line.substr(tab + 1)] = fields(line.substr(0, tab), ' ').at(2);
  }
  return found;
}

}  // namespace

TEST_CASE("of the project's own history the graph shows at each commit the files that git shows", "[rhizome]") {
  const auto history = has_whole_history() ? commits_of_git() : std::vector<git_commit>{};
  if (history.empty()) {
    WARN("skipped: the sources are no git repository with a whole history, or there is no git that can tell it");
    return;
  }
  named_things files;
  std::vector<commit_number> recorded;
  for (const git_commit& one : history) recorded.push_back(files.put(one.changed, one.at));
  files.compact();
  std::set<std::size_t> chosen{0, history.size() - 1};
  std::mt19937_64 random(1);
  while (chosen.size() < std::min<std::size_t>(history.size(), 14)) chosen.insert(random() % history.size());
  for (const std::size_t i : chosen) {
    INFO("commit " << history[i].hash);
    const tree expected = tree_of_git(history[i].hash);
    CHECK((files.at(files.newest(), history[i].at) == expected));  // as it was in the world, by all that is known today
    CHECK((files.at(recorded[i], end_of_time - 1) == expected));   // and as it was known then
    if (i > 0) {
      CHECK((files.at(files.newest(), history[i].at - 1) == tree_of_git(history[i - 1].hash)));
    }
  }
  CHECK(files.at(files.newest(), history[0].at - 1).empty());
}

namespace {

struct dpkg_event {
  time_us at = 0;
  std::string package;
  std::string version;  // empty: no longer installed
};

/// What is installed, or no longer, as `dpkg` logged it: "2025-06-24 14:36:26 status installed libc-bin:amd64 2.36-9".
std::vector<dpkg_event> events_of_dpkg() {
  std::vector<dpkg_event> all;
  std::ifstream in("/var/log/dpkg.log");
  for (std::string line; std::getline(in, line);) {
    const auto words = fields(line, ' ');
    if (words.size() < 6 || words[2] != "status") continue;
    const bool installed = words[3] == "installed";
    if (!installed && words[3] != "not-installed" && words[3] != "config-files") continue;
    std::tm when{};
    if (::strptime((words[0] + ' ' + words[1]).c_str(), "%Y-%m-%d %H:%M:%S", &when) == nullptr) continue;
    const time_us at = std::int64_t{::timegm(&when)} * 1'000'000;
    all.push_back({std::max(all.empty() ? 0 : all.back().at + 1, at), words[4], installed ? words[5] : ""});
  }
  constexpr std::size_t most = 20'000;  // of a machine that has been there for long: the newest
  if (all.size() > most) all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(most));
  return all;
}

}  // namespace

TEST_CASE("of the packages of this machine the graph shows at each time what dpkg had installed", "[rhizome]") {
  const auto events = events_of_dpkg();
  const auto now = run_command(
      {"/usr/bin/dpkg-query", "-W", "-f=${binary:Package}:${Architecture} ${db:Status-Status} ${Version}\n"});
  if (events.empty() || now.status != 0) {
    WARN("skipped: dpkg has logged nothing on this machine");
    return;
  }
  named_things packages;
  std::vector<std::pair<commit_number, std::size_t>> recorded;
  for (std::size_t i = 0; i < events.size(); ++i) {
    packages.put({{events[i].package, events[i].version}}, events[i].at);
    if (i % 97 == 0 || i + 1 == events.size()) recorded.emplace_back(packages.newest(), i);
  }
  packages.compact();
  for (const auto& [commit, i] : recorded) {  // a replay of the log, without a graph
    tree expected;
    for (std::size_t k = 0; k <= i; ++k) {
      expected.erase(events[k].package);
      if (!events[k].version.empty()) expected[events[k].package] = events[k].version;
    }
    INFO("event " << i);
    CHECK((packages.at(packages.newest(), events[i].at) == expected));
    CHECK((packages.at(commit, end_of_time - 1) == expected));
  }
  // And what dpkg itself says today. Where the log does not go up to today (an image whose log was cut, a package that is being installed right
  // now) the two differ, which is no matter of the graph.
  std::map<std::string, std::string> last;
  for (const dpkg_event& one : events) last[one.package] = one.version;
  const tree today = packages.at(packages.newest(), end_of_time - 1);
  std::size_t same = 0;
  for (const std::string& line : fields(now.out, '\n')) {
    const auto words = fields(line, ' ');
    if (words.size() != 3 || words[1] != "installed") continue;
    // "libc6:amd64:amd64" where a package may be there for several architectures, else "adduser:all"
    const auto name = words[0].substr(0, words[0].find(':')) + words[0].substr(words[0].rfind(':'));
    const auto logged = last.find(name);
    if (logged == last.end() || logged->second != words[2]) continue;
    const auto found = today.find(name);
    CHECK((found != today.end() && found->second == words[2]));
    ++same;
  }
  if (same == 0) WARN("nothing of what dpkg has logged is installed as it was logged");
}
