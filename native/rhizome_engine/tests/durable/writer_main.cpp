// SPDX-License-Identifier: Apache-2.0
//
// A process for the tests to kill, and to take the disk away from: it opens the store (or, with a fifth word, the shards) in DIR, goes on with the history SEED up to commit LAST,
// and says each commit that was acknowledged ("ack N"). When a commit is refused it says so ("failed CODE text"), and whether
// the store still shows what was acknowledged ("readable") and takes no more ("read only").
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "durable/durable_store.hpp"
#include "shards_workload.hpp"
#include "workload.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

void say(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::fflush(stdout);
}

int failed(const error& why) {
  say("failed " + std::to_string(static_cast<int>(why.code)) + ' ' + why.text);
  return 3;
}

int write_shards(const std::string& directory, std::uint64_t seed, std::uint64_t last, unsigned long checkpoint_every) {
  auto opened = durable_shards::open(directory, small_durable_shards());
  if (!opened) return failed(opened.error());
  for (std::uint64_t n = last_step(opened->graph()) + 1; n <= last; ++n) {
    if (const auto done = shards_step(opened->graph(), seed, n); !done) return failed(done.error());
    say("ack " + std::to_string(n));
    if (checkpoint_every == 0 || n % checkpoint_every != 0) continue;
    if (const auto done = opened->checkpoint(); !done) return failed(done.error());
  }
  if (auto done = opened->close(); !done) return failed(done.error());
  say("closed");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fputs("usage: rhizome_writer DIR SEED LAST [CHECKPOINT_EVERY [shards]]\n", stderr);
    return 2;
  }
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of its write then
  const std::uint64_t seed = std::strtoull(arguments[2], nullptr, 10);
  const auto last = static_cast<commit_number>(std::strtoul(arguments[3], nullptr, 10));
  const unsigned long checkpoint_every = count > 4 ? std::strtoul(arguments[4], nullptr, 10) : 0;
  if (count > 5) return write_shards(arguments[1], seed, last, checkpoint_every);
  durable_options options;
  options.store = small_store();
  options.log = {.segment_bytes = 2'000, .allocate_bytes = 1'500, .buffer_bytes = 1'000};
  auto opened = durable_store::open(arguments[1], options);
  if (!opened) return failed(opened.error());
  store& graph = opened->graph();
  say("open " + std::to_string(graph.newest()));
  for (commit_number n = graph.newest() + 1; n <= last; ++n) {
    const auto done = workload_step(graph, seed, n);
    if (!done) {
      const int status = failed(done.error());
      if (graph.newest() == n - 1 && dump(*graph.now()) == expected_dump(seed, n - 1)) say("readable");
      const auto later = workload_step(graph, seed, n);
      if (!later && later.error().code == errc::read_only) say("read only");
      return status;
    }
    say("ack " + std::to_string(n));
    if (checkpoint_every == 0 || n % checkpoint_every != 0) continue;
    const auto checkpoint = opened->checkpoint();
    say(checkpoint ? "checkpoint " + std::to_string(*checkpoint)
                   : "no checkpoint " + std::to_string(static_cast<int>(checkpoint.error().code)));
  }
  if (auto done = opened->close(); !done) return failed(done.error());
  say("closed");
  return 0;
}
