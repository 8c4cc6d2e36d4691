#include <karyon/sim/testing.hpp>

#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "unit/sim/failure_of.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::for_each_seed;
using testing::world;
using tests::failure_of;

namespace {

/// The environment of for_each_seed, as a test wants it; as it was afterwards.
class environment {
public:
  environment(const char* seed, const char* count) {
    set("KARYON_SIM_SEED", seed, seed_);
    set("KARYON_SIM_SEEDS", count, count_);
  }
  ~environment() {
    restore("KARYON_SIM_SEED", seed_);
    restore("KARYON_SIM_SEEDS", count_);
  }
  environment(const environment&) = delete;
  environment& operator=(const environment&) = delete;

private:
  struct saved {
    bool was_set = false;
    std::string value;
  };
  static void set(const char* name, const char* value, saved& before) {
    if (const char* old = std::getenv(name)) before = {true, old};
    if (value != nullptr) {
      setenv(name, value, 1);
    } else {
      unsetenv(name);
    }
  }
  static void restore(const char* name, const saved& before) {
    if (before.was_set) {
      setenv(name, before.value.c_str(), 1);
    } else {
      unsetenv(name);
    }
  }
  saved seed_;
  saved count_;
};

std::vector<std::uint64_t> seeds_run(const testing::seeds& which) {
  std::vector<std::uint64_t> seen;
  for_each_seed(which, [&](world& w) { seen.push_back(w.seed()); });
  return seen;
}

struct ping {};
class idle : public cell {
public:
  using accepts = signals<ping>;
  void on(ping) {}
};

}  // namespace

TEST_CASE("a body runs once for each seed, in a world of its own") {
  const environment plain(nullptr, nullptr);
  CHECK(seeds_run({.first = 5, .count = 3}) == std::vector<std::uint64_t>{5, 6, 7});
  CHECK(seeds_run({}).size() == 100);
}

TEST_CASE("the environment chooses one seed, or how many") {
  {
    const environment one("77", nullptr);
    CHECK(seeds_run({.first = 5, .count = 3}) == std::vector<std::uint64_t>{77});
  }
  {
    const environment more(nullptr, "4");
    CHECK(seeds_run({.first = 5, .count = 3}) == std::vector<std::uint64_t>{5, 6, 7, 8});
  }
  {
    const environment none(nullptr, "0");
    CHECK(failure_of([] { seeds_run({}); }).find("KARYON_SIM_SEEDS is 0") != std::string::npos);
  }
  {
    const environment plain(nullptr, nullptr);
    CHECK(failure_of([] { seeds_run({.count = 0}); }).find("a count of 0") != std::string::npos);
  }
  const environment nonsense("7x", nullptr);
  CHECK(failure_of([] { seeds_run({}); }).find("KARYON_SIM_SEED holds '7x'") != std::string::npos);
}

TEST_CASE("the first seed for which the body throws ends the search, and is named with its command") {
  const environment plain(nullptr, nullptr);
  int runs = 0;
  const std::string text = failure_of([&] {
    for_each_seed({.first = 1, .count = 100}, [&](world& w) {
      ++runs;
      w.advance(2s);
      if (w.seed() == 3) throw std::runtime_error("the third is bad");
    });
  });
  CHECK(runs == 3);
  CHECK(text.find("in the simulated world of seed 3, at 2.000000 s: the third is bad") != std::string::npos);
  CHECK(text.find("replay it with: KARYON_SIM_SEED=3 ") != std::string::npos);
}

TEST_CASE("what a body expects is verified at its end") {
  const environment plain(nullptr, nullptr);
  const std::string text = failure_of([] {
    for_each_seed({.first = 8, .count = 1}, [](world& w) {
      w.runtime().spawn<idle>();
      w.expect<ping>();
    });
  });
  CHECK(text.find("ping was handled 0 times") != std::string::npos);
  CHECK(text.find("KARYON_SIM_SEED=8 ") != std::string::npos);
}

TEST_CASE("what is not a standard exception is thrown on as it is") {
  const environment plain(nullptr, nullptr);
  int caught = 0;
  try {
    for_each_seed({.first = 1, .count = 2}, [](world&) { throw 42; });
  } catch (int n) {
    caught = n;
  }
  CHECK(caught == 42);
}

TEST_CASE("options hold for every seed's world") {
  const environment plain(nullptr, nullptr);
  testing::world_options options;
  options.workers = 5;
  options.seed = 1000;  // replaced
  std::set<unsigned> workers;
  std::vector<std::uint64_t> seen;
  for_each_seed({.first = 1, .count = 2}, options, [&](world& w) {
    workers.insert(w.runtime().workers());
    seen.push_back(w.seed());
  });
  CHECK(workers == std::set<unsigned>{5});
  CHECK(seen == std::vector<std::uint64_t>{1, 2});
}

namespace {

/// Writes into what it was given when it ends.
class mourner : public cell {
public:
  using accepts = signals<ping>;
  explicit mourner(std::vector<int>* ends) : ends_(ends) {}
  ~mourner() { ends_->push_back(1); }
  mourner(const mourner&) = delete;
  mourner& operator=(const mourner&) = delete;
  void on(ping) {}

private:
  std::vector<int>* ends_;
};

/// Says when it goes how many mourners have written into it.
struct ledger {
  std::vector<std::size_t>* counts;
  std::vector<int> ends;
  explicit ledger(std::vector<std::size_t>* c) : counts(c) {}
  ~ledger() { counts->push_back(ends.size()); }
  ledger(const ledger&) = delete;
  ledger& operator=(const ledger&) = delete;
};

}  // namespace

TEST_CASE("what a world keeps outlives its cells") {
  const environment plain(nullptr, nullptr);
  std::vector<std::size_t> counts;
  for_each_seed({.first = 1, .count = 10}, [&counts](world& w) {
    auto& book = w.keep<ledger>(&counts);
    for (int i = 0; i < 3; ++i) w.runtime().spawn<mourner>(&book.ends);
  });
  CHECK(counts == std::vector<std::size_t>(10, 3));
}

TEST_CASE("cells of a failed world are left as they are, for what they refer to is gone") {
  const environment plain(nullptr, nullptr);
  const std::string text = failure_of([] {
    for_each_seed({.first = 1, .count = 1}, [](world& w) {
      std::vector<int> ends;
      w.runtime().spawn<mourner>(&ends);
      throw std::runtime_error("failed in the middle");
    });
  });
  CHECK(text.find("failed in the middle") != std::string::npos);
  world next(2);  // the thread can have another
  CHECK_FALSE(next.step());
}
