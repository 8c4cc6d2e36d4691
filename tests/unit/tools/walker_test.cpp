// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/walker.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_tree.hpp"

namespace {

using karyon::tools::outcome;
using karyon::tools::walk;
using karyon::tools::walk_result;

std::vector<std::string> below(const karyon::tests::temporary_tree& tree, const walk_result& result) {
  std::vector<std::string> names;
  for (const std::string& file : result.files) names.push_back(file.substr(tree.path().size() + 1));
  return names;
}

using list = std::vector<std::string>;

}  // namespace

TEST_CASE("source files are listed by name, whatever the order on the disk") {
  karyon::tests::temporary_tree tree;
  for (const char* name : {"z.h", "a.cpp", "b/c.hpp", "b/a.c", "m.ipp", "b.h"}) tree.write(name, "x");
  CHECK(below(tree, walk({tree.path()})) == list{"a.cpp", "b/a.c", "b/c.hpp", "b.h", "m.ipp", "z.h"});
}

TEST_CASE("files whose names are not those of source are counted and left alone") {
  karyon::tests::temporary_tree tree;
  for (const char* name : {"README", "notes.txt", "lib.a", ".h", "x.h.gz", "makefile", "ok.h"}) tree.write(name, "x");
  const walk_result result = walk({tree.path()});
  CHECK(below(tree, result) == list{"ok.h"});
  CHECK(result.outcomes.of(outcome::not_source) == 6);
  CHECK(result.problems.empty());
}

TEST_CASE("a file without an extension is source if its first line says so") {
  karyon::tests::temporary_tree tree;
  tree.write("vector", "// <vector> -*- C++ -*-\n");
  tree.write("list", "// a list\n// -*- C++ -*-\n");
  CHECK(below(tree, walk({tree.path()})) == list{"vector"});
}

TEST_CASE("a file is taken once, however many paths lead to it") {
  karyon::tests::temporary_tree tree;
  tree.write("dir/a.h", "x");
  tree.link("dir/a.h", "b.h");
  tree.link("dir", "other");
  tree.hard_link("dir/a.h", "c.h");
  const walk_result result = walk({tree.path(), tree.path(), tree.path() + "/dir/a.h"});
  CHECK(result.files.size() == 1);
  CHECK(result.outcomes.of(outcome::duplicate) == 5);  // b.h and c.h or dir/a.h, one of the two directories, two roots
  CHECK(result.problems.empty());
}

TEST_CASE("loops of symbolic links are reported and left") {
  karyon::tests::temporary_tree tree;
  tree.write("a/b/x.h", "x");
  tree.link("a", "a/b/up");   // to a directory that it is in
  tree.link("me.h", "me.h");  // to itself
  tree.link("two", "one");
  tree.link("one", "two");  // to each other
  const walk_result result = walk({tree.path()});
  CHECK(below(tree, result) == list{"a/b/x.h"});
  CHECK(result.outcomes.of(outcome::symlink_loop) == 4);
  CHECK(result.problems.size() == 4);
}

TEST_CASE("a link to nothing counts as vanished, a pipe is never opened") {
  karyon::tests::temporary_tree tree;
  tree.link("gone.h", "dangling.h");
  tree.pipe("pipe.h");  // opening it would wait for a writer for ever
  const walk_result result = walk({tree.path()});
  CHECK(result.files.empty());
  CHECK(result.outcomes.of(outcome::vanished) == 1);
  CHECK(result.outcomes.of(outcome::not_regular) == 1);
  REQUIRE(result.problems.size() == 2);
  CHECK(result.problems[0].path == tree.path() + "/dangling.h");
  CHECK(result.problems[0].reason == "No such file or directory");
}

TEST_CASE("a directory that may not be listed is reported, and the walk goes on") {
  karyon::tests::temporary_tree tree;
  tree.write("closed/a.h", "x");
  tree.write("open/a.h", "x");
  tree.mode("closed", 0000);
  bool closed_seen = false;
  std::vector<std::string> files;
  karyon::tests::as_nobody(
      [&] {  // root may list everything
        const walk_result result = walk({tree.path()});
        return result.files.size() == 1 && result.outcomes.of(outcome::unreadable) == 1 &&
               result.problems.size() == 1 && result.problems[0].reason == "Permission denied";
      },
      closed_seen);
  CHECK(closed_seen);
}

TEST_CASE("a root that can not be walked is named with the reason, the others are walked") {
  karyon::tests::temporary_tree tree;
  tree.write("a.h", "x");
  tree.pipe("pipe");
  const walk_result result =
      walk({tree.path() + "/absent", "", tree.path(), tree.path() + "/pipe", tree.path() + "/a.h/b"});
  CHECK(result.files.size() == 1);
  REQUIRE(result.unusable_roots.size() == 4);
  CHECK(result.unusable_roots[0] == tree.path() + "/absent: No such file or directory");
  CHECK(result.unusable_roots[3] == tree.path() + "/a.h/b: Not a directory");
}

TEST_CASE("a root may be a file, whatever its name") {
  karyon::tests::temporary_tree tree;
  tree.write("strange.txt", "x");
  CHECK(below(tree, walk({tree.path() + "/strange.txt"})) == list{"strange.txt"});
}

TEST_CASE("an empty directory and a root with a slash at its end are nothing special") {
  karyon::tests::temporary_tree tree;
  CHECK(walk({tree.path()}).files.empty());
  CHECK(walk({tree.path()}).directories == 1);
  tree.write("a.h", "x");
  CHECK(walk({tree.path() + "/"}).files == list{tree.path() + "/a.h"});
}

TEST_CASE("a tree deeper than the system's longest path is walked as far as paths reach") {
  karyon::tests::temporary_tree tree;
  tree.deep_chain(3000);  // 3000 directories of 2 bytes a name
  const walk_result result = walk({tree.path()});
  CHECK(result.outcomes.of(outcome::unreadable) == 1);
  CHECK(result.directories > 1000);
}

TEST_CASE("this machine's header directories exist") {
  for (const std::string& directory : karyon::tools::header_directories()) {
    CHECK(walk({directory}).unusable_roots.empty());
  }
}
