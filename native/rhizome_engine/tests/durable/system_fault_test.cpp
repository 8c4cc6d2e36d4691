// SPDX-License-Identifier: Apache-2.0
//
// A writing process whose system calls fail: by strace, which makes the n-th call of a kind return an error; by a limit of file sizes; and
// by a file system that is really full.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "durable/durable_store.hpp"
#include "support/catch.hpp"
#include "support/run_command.hpp"
#include "support/temporary_tree.hpp"
#include "workload.hpp"

using namespace rhizome;
using namespace rhizome::tests;
using karyon::tests::command_result;
using karyon::tests::run_command;
using karyon::tests::temporary_tree;

namespace {

constexpr std::uint64_t seed = 31;

struct told {
  commit_number acknowledged = 0;
  int failed = 0;  // the code
  bool readable = false, read_only = false, closed = false, no_checkpoint = false;
};

told read(const command_result& result) {
  told all;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("ack ")) all.acknowledged = static_cast<commit_number>(std::stoul(line.substr(4)));
    if (line.starts_with("failed ")) all.failed = std::stoi(line.substr(7));
    all.readable = all.readable || line == "readable";
    all.read_only = all.read_only || line == "read only";
    all.closed = all.closed || line == "closed";
    all.no_checkpoint = all.no_checkpoint || line.starts_with("no checkpoint");
  }
  return all;
}

// What was acknowledged is there when the disk is well again, and the store goes on.
void check_recovery(const std::string& directory, commit_number acknowledged) {
  durable_options options;
  options.store = small_store();
  auto opened = durable_store::open(directory, options);
  if (!opened) FAIL(opened.error().text);
  const commit_number newest = opened->recovery().newest;
  REQUIRE(newest >= acknowledged);
  REQUIRE(newest <= acknowledged + 1);
  REQUIRE(dump(*opened->graph().now()) == expected_dump(seed, newest));
  REQUIRE(workload_step(opened->graph(), seed, newest + 1));
}

bool have_strace() {
  const temporary_tree tree;
  const auto tried = run_command({"/usr/bin/strace", "-f", "-qq", "-o", tree.path("trace"), "/bin/true"});
  return tried.status == 0;
}

}  // namespace

TEST_CASE("each system call of a writer that fails is told as what it was, and loses nothing that was acknowledged") {
  if (!have_strace()) {
    WARN("skipped: strace is absent, or may not trace here");
    return;
  }
  struct fault {
    const char* call;
    const char* name;
    errc code;
  };
  for (const fault& kind : {fault{"pwrite64", "ENOSPC", errc::no_space}, fault{"pwrite64", "EIO", errc::io},
                            fault{"fdatasync", "EIO", errc::io}, fault{"fdatasync", "ENOSPC", errc::no_space},
                            fault{"fsync", "EIO", errc::io}, fault{"ftruncate", "EIO", errc::io},
                            fault{"rename", "ENOSPC", errc::no_space}}) {
    for (unsigned when = 1;; when += 1 + when / 4) {
      const temporary_tree tree;
      const std::string directory = tree.path("store");
      const auto result = run_command(
          {"/usr/bin/strace", "-f", "-qq", "-o", tree.path("trace"), "-e", std::string("trace=") + kind.call, "-e",
           std::string("inject=") + kind.call + ":error=" + kind.name + ":when=" + std::to_string(when), RHIZOME_WRITER,
           directory, std::to_string(seed), "14", "6"});
      const told all = read(result);
      INFO(kind.call << ' ' << kind.name << " at " << when << ": " << result.out << result.err);
      if (all.failed == 0 && all.closed && !all.no_checkpoint) {
        REQUIRE(when > 1);
        break;  // it made no so many of them
      }
      if (all.failed != 0) {
        REQUIRE(all.failed == static_cast<int>(kind.code));
        if (all.acknowledged > 0 && all.acknowledged < 14) {
          REQUIRE(all.readable);
          REQUIRE(all.read_only);
        }
      }
      check_recovery(directory, all.acknowledged);
    }
  }
}

TEST_CASE("a log that may not grow refuses commits, and stays readable") {
  const temporary_tree tree;
  const std::string directory = tree.path("store");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit small{2'000, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto result = run_command({RHIZOME_WRITER, directory, std::to_string(seed), "500"});
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  const told all = read(result);
  INFO(result.out);
  CHECK(all.failed == static_cast<int>(errc::no_space));
  CHECK(all.acknowledged > 0);
  CHECK(all.readable);
  CHECK(all.read_only);
  check_recovery(directory, all.acknowledged);
}

TEST_CASE("a store on a full file system refuses commits, stays readable, and opens again when there is room") {
  const temporary_tree tree;
  const std::string directory = tree.path("small");
  const std::string copy = tree.path("copy");
  const auto result =
      run_command({"/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c",
                   "mkdir -p \"$2\" && mount -t tmpfs -o size=40k none \"$2\" || { echo no mount; exit 77; }\n"
                   "\"$1\" \"$2/store\" " +
                       std::to_string(seed) + " 1000; status=$?; cp -R \"$2/store\" \"$3\"; exit $status",
                   "sh", RHIZOME_WRITER, directory, copy});
  if (result.status == 77 || result.status == 1 || result.status == 127) {
    WARN("skipped: no file system can be mounted here: " << result.err);
    return;
  }
  const told all = read(result);
  INFO(result.err);
  CHECK(all.failed == static_cast<int>(errc::no_space));
  CHECK(all.acknowledged > 0);
  CHECK(all.readable);
  CHECK(all.read_only);
  check_recovery(copy, all.acknowledged);
}
