// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/run_command.hpp"
#include "support/temporary_tree.hpp"

namespace {

using karyon::tests::command_result;
using karyon::tests::temporary_tree;

command_result keys(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {KARYON_COMMAND, "keys"});
  return karyon::tests::run_command(arguments);
}

}  // namespace

TEST_CASE("a node's keys are made, shown, and changed in two steps") {
  temporary_tree tree;
  const std::string file = tree.path("alpha.key");
  const command_result made = keys({"generate", file});
  INFO(made.err);
  REQUIRE(made.status == 0);
  CHECK(made.out.size() == 65);
  CHECK(keys({"show", file}).out == made.out);
  struct stat about {};
  REQUIRE(::stat(file.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777U) == 0600U);

  const command_result next = keys({"rotate", file});
  REQUIRE(next.status == 0);
  CHECK(next.out != made.out);
  CHECK(keys({"show", file}).out == made.out);  // until the peers know the new one
  CHECK(keys({"rotate", file, "--finish"}).out == next.out);
  CHECK(keys({"show", file}).out == next.out);
  CHECK(keys({"show", file + ".previous"}).out == made.out);
  CHECK(keys({"rotate", file, "--finish"}).status == 1);  // there is no next one any more
}

TEST_CASE("keys are not written over others, and not read where others could have") {
  temporary_tree tree;
  const std::string file = tree.path("alpha.key");
  REQUIRE(keys({"generate", file}).status == 0);
  const command_result again = keys({"generate", file});
  CHECK(again.status == 1);
  CHECK(again.err.find("not overwritten") != std::string::npos);
  tree.mode("alpha.key", 0644);
  CHECK(keys({"show", file}).status == 1);
  CHECK(keys({"show", tree.path("nothing")}).status == 1);
  CHECK(keys({}).status == 2);
  CHECK(keys({"show"}).status == 2);
}
