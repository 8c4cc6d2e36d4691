// SPDX-License-Identifier: Apache-2.0
//
// Processes that are killed while they write: 200 of one store, 20 of several shards. `rhizome_durable_kill "[all]"` kills 200 of these.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <random>
#include <string>

#include "durable/durable_store.hpp"
#include "shards_workload.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "workload.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

constexpr std::uint64_t seed = 23;

struct writer_process {
  pid_t child = -1;
  int out = -1;

  /// `word`: null, or "shards".
  writer_process(const std::string& directory, const char* word) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::execl(RHIZOME_WRITER, RHIZOME_WRITER, directory.c_str(), std::to_string(seed).c_str(), "1000000", "17", word,
              nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    out = ends[0];
  }
  ~writer_process() {
    ::close(out);
    if (child < 0) return;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  void kill() {
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    child = -1;
    REQUIRE(WIFSIGNALED(status));  // it was writing to the last
  }
};

// Reads what the process says until `acks` commits are acknowledged, or all of it; gives the last of them.
commit_number read_acks(int from, unsigned acks, std::string& line, commit_number last) {
  char c = 0;
  while (acks > 0 && ::read(from, &c, 1) == 1) {
    if (c != '\n') {
      line += c;
      continue;
    }
    if (line.starts_with("ack ")) {
      last = static_cast<commit_number>(std::stoul(line.substr(4)));
      --acks;
    }
    line.clear();
  }
  return last;
}

// What is there after a kill: the last commit, once it was compared with all that a store without a disk has after it.
commit_number check_store(const std::string& directory) {
  durable_options options;
  options.store = small_store();
  auto opened = durable_store::open(directory, options);
  if (!opened) FAIL(opened.error().text);
  const commit_number newest = opened->recovery().newest;
  REQUIRE(dump(*opened->graph().now()) == expected_dump(seed, newest));
  return newest;
}

commit_number check_shards(const std::string& directory) {
  auto opened = durable_shards::open(directory, small_durable_shards());
  if (!opened) FAIL(opened.error().text);
  const std::uint64_t newest = last_step(opened->graph());
  REQUIRE(dump(*opened->graph().now()) == expected_shards(seed, newest));
  return static_cast<commit_number>(newest);
}

void kill_writers(unsigned kills, const char* word = nullptr) {
  std::mt19937_64 random(kills);
  unsigned done = 0;
  while (done < kills) {
    const karyon::tests::temporary_tree tree;
    const std::string directory = tree.path("store");
    commit_number acknowledged = 0;
    for (unsigned life = 0; life < 5 && done < kills; ++life, ++done) {
      {
        writer_process writer(directory, word);
        std::string line;
        acknowledged = read_acks(writer.out, 1 + static_cast<unsigned>(random() % 25), line, acknowledged);
        const timespec moment{0, static_cast<long>(random() % 3'000'000)};
        ::nanosleep(&moment, nullptr);  // any point of what it does next
        writer.kill();
        acknowledged = read_acks(writer.out, 1'000'000, line, acknowledged);  // what it had said until then
      }
      INFO("kill " << done << ", acknowledged " << acknowledged);
      const commit_number newest = word == nullptr ? check_store(directory) : check_shards(directory);
      REQUIRE(newest >= acknowledged);
      REQUIRE(newest <= acknowledged + 1);
      acknowledged = newest;
    }
  }
}

}  // namespace

TEST_CASE("a process that is killed at any point has lost no commit that was acknowledged, and has none by half") {
  kill_writers(200);
}

TEST_CASE("a process that is killed while it writes to several shards has each transaction in all of them or in none") {
  kill_writers(20, "shards");
}

TEST_CASE("the same with 200 processes that write to several shards", "[.][all]") { kill_writers(200, "shards"); }
