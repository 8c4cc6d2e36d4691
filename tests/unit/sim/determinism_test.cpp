#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "sample_world.hpp"
#include "support/catch.hpp"
#include "support/run_command.hpp"

using namespace karyon;
using tests::run_command;

namespace {

std::uint64_t hash_of(std::uint64_t seed, testing::world_options options = {}) {
  options.seed = seed;
  testing::world w(options);
  tests::live_a_little(w);
  return w.trace_hash();
}

std::string text_after(const std::string& all, std::string_view mark) {
  const std::size_t at = all.find(mark);
  if (at == std::string::npos) return "";
  const std::size_t start = at + mark.size();
  return all.substr(start, all.find('\n', start) - start);
}

}  // namespace

TEST_CASE("the same seed makes the same trace, whatever ran in the process before") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::uint64_t first = hash_of(seed);
    static_cast<void>(hash_of(seed + 1000));
    CHECK(hash_of(seed) == first);
  }
}

TEST_CASE("the same seed makes the same trace in two processes") {
  for (const char* seed : {"1", "2", "3", "4", "5"}) {
    const auto one = run_command({KARYON_SIM_SAMPLE, "hash", seed});
    const auto other = run_command({KARYON_SIM_SAMPLE, "hash", seed});
    REQUIRE(one.status == 0);
    REQUIRE(one.out.size() > 1000);
    CHECK(one.out == other.out);
  }
}

TEST_CASE("every seed makes a trace of its own") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) seen.insert(hash_of(seed));
  CHECK(seen.size() == 100);
}

TEST_CASE("the number of workers and nodes is part of what a trace follows from") {
  testing::world_options options;
  options.workers = 8;
  options.nodes = 2;
  const std::uint64_t large = hash_of(1, options);
  CHECK(large == hash_of(1, options));
  CHECK(large != hash_of(1));
}

TEST_CASE("recording a trace does not change it") {
  testing::world_options options;
  options.record = true;
  CHECK(hash_of(9, options) == hash_of(9));
}

TEST_CASE(
    "a bug that depends on the order is found within fifty seeds, and the command that is printed finds it at once") {
  const auto found = run_command({KARYON_SIM_SAMPLE, "bug", "it's", ""});
  REQUIRE(found.status == 1);
  const std::string report = found.out.substr(found.out.find("FAILED"));
  CHECK(report.find("the account does not answer") != std::string::npos);
  CHECK(report.find("overdrawn") != std::string::npos);
  const std::string seed = text_after(report, "in the simulated world of seed ");
  REQUIRE_FALSE(seed.empty());
  const std::string command = text_after(report, "replay it with: ");
  REQUIRE_FALSE(command.empty());
  CHECK(command.find("'it'\\''s' ''") != std::string::npos);

  const auto again = run_command({"/bin/sh", "-c", command});
  CHECK(again.status == 1);
  // The log names cells by their addresses, as it always does; everything before it is the same.
  const auto without_log = [](const std::string& text) { return text.substr(0, text.find("last log lines")); };
  CHECK(without_log(again.out) == "seed " + std::to_string(std::stoull(seed)) + "\n" + without_log(report));
}
