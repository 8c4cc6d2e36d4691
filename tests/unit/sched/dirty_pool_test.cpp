// SPDX-License-Identifier: Apache-2.0
// The pools by themselves, with tasks that are no cells.
#include "sched/dirty_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sched/scheduler.hpp"
#include "support/catch.hpp"
#include "unit/sched/sched_testing.hpp"

using namespace karyon;
using namespace karyon::detail;
using namespace karyon::tests;

namespace {

/// What was run, in order, and a gate that jobs may wait at.
struct ledger {
  std::mutex mutex;
  std::vector<int> run;
  std::vector<int> discarded;
  std::atomic<bool> gate{false};
  std::atomic<int> waiting{0};
  void note(std::vector<int>& to, int n) {
    const std::lock_guard lock(mutex);
    to.push_back(n);
  }
  std::size_t size() {
    const std::lock_guard lock(mutex);
    return run.size();
  }
};

class job final : public pool_job {
public:
  job(ledger& l, int n, bool waits = false) : ledger_(&l), n_(n), waits_(waits) {}
  void execute() noexcept override {
    if (waits_) {
      ledger_->waiting.fetch_add(1);
      ledger_->gate.wait(false);
    }
    ledger_->note(ledger_->run, n_);
    delete this;
  }
  void discard() noexcept override {
    ledger_->note(ledger_->discarded, n_);
    delete this;
  }

private:
  ledger* ledger_;
  int n_;
  bool waits_;
};

ledger* turns_of = nullptr;

struct turn : task {
  explicit turn(int number) : n(number) {}
  int n;
  static void run_away(task* t) noexcept { turns_of->note(turns_of->run, static_cast<turn*>(t)->n); }
};

void open(ledger& l) {
  l.gate = true;
  l.gate.notify_all();
}

struct fixture {
  explicit fixture(dirty_options dirty = {}) {
    scheduler_options options;
    options.dirty = dirty;
    workers = std::make_unique<scheduler>(one_worker(), options, scheduler_hooks{});
    workers->run_away = &turn::run_away;
    turns_of = &l;
    workers->start();
  }
  void drain() {
    workers->stop();
    workers->drain([this](task* t) {
      if (pool_job::is(t)) {
        pool_job::of(t).discard();
      } else if (t->run == nullptr) {  // the pool's own have one
        left.push_back(t);
      }
    });
  }
  ledger l;
  std::vector<task*> left;
  std::unique_ptr<scheduler> workers;
};

dirty_options one_thread() {
  dirty_options o;
  o.io_threads = 1;
  o.offload_queue_limit = 3;
  return o;
}

}  // namespace

TEST_CASE("a pool runs what it is given in the order given, turns and jobs alike, and counts it") {
  fixture f(one_thread());
  dirty_pool& pool = f.workers->dirty().at(dirty_kind::io, 0);
  CHECK(pool.look().threads == 0);
  CHECK(pool.push(*new job(f.l, 0, true)) == dirty_pool::answer::taken);
  REQUIRE(eventually([&] { return f.l.waiting == 1; }));
  turn a(1);
  turn b(3);
  CHECK(pool.push(&a));
  CHECK(pool.push(*new job(f.l, 2)) == dirty_pool::answer::taken);
  CHECK(pool.push(&b));
  CHECK(pool.look().queued == 3);
  CHECK(pool.look().running == 1);
  CHECK(pool.is_busy());
  open(f.l);
  REQUIRE(eventually([&] { return pool.look().run == 4; }));
  CHECK(f.l.run == std::vector<int>{0, 1, 2, 3});
  CHECK_FALSE(pool.is_busy());
  CHECK(pool.look().threads == 1);
  CHECK(eventually([&] { return pool.look().switch_ns > 0; }));
}

TEST_CASE(
    "a pool starts another thread only when there is more work than threads that wait, and never more than it may") {
  dirty_options o;
  o.io_threads = 3;
  fixture f(o);
  dirty_pool& pool = f.workers->dirty().at(dirty_kind::io, 0);
  for (int i = 0; i < 20; ++i) {
    CHECK(pool.push(*new job(f.l, i)) == dirty_pool::answer::taken);
    REQUIRE(eventually([&] { return pool.look().run == static_cast<std::uint64_t>(i) + 1; }));
  }
  CHECK(pool.look().threads <= 3);
  for (int i = 0; i < 10; ++i) CHECK(pool.push(*new job(f.l, i, true)) == dirty_pool::answer::taken);
  REQUIRE(eventually([&] { return f.l.waiting == 3; }));
  CHECK(pool.look().threads == 3);
  CHECK(pool.look().queued == 7);
  open(f.l);
  REQUIRE(eventually([&] { return pool.look().run == 30; }));
}

TEST_CASE("jobs are refused beyond their limit, turns are not, and a recall takes the turns out alone") {
  fixture f(one_thread());
  dirty_pool& pool = f.workers->dirty().at(dirty_kind::io, 0);
  CHECK(pool.push(*new job(f.l, 0, true)) == dirty_pool::answer::taken);
  REQUIRE(eventually([&] { return f.l.waiting == 1; }));
  std::vector<turn> turns;
  for (int i = 0; i < 5; ++i) turns.emplace_back(10 + i);
  for (int i = 0; i < 5; ++i) {
    CHECK(pool.push(&turns[static_cast<std::size_t>(i)]));
    if (i < 3) CHECK(pool.push(*new job(f.l, i + 1)) == dirty_pool::answer::taken);
  }
  job refused(f.l, 99);
  CHECK(pool.push(refused) == dirty_pool::answer::full);
  CHECK(pool.look().refused == 1);
  std::vector<int> recalled;
  for (task* t = pool.recall(); t != nullptr; t = t->next) recalled.push_back(static_cast<turn*>(t)->n);
  CHECK(recalled == std::vector<int>{10, 11, 12, 13, 14});
  CHECK(pool.look().queued == 3);
  CHECK(pool.recall() == nullptr);
  open(f.l);
  REQUIRE(eventually([&] { return pool.look().run == 4; }));
  CHECK(f.l.run == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("what is still queued when a scheduler stops is handed to whoever drains it, once") {
  fixture f(one_thread());
  dirty_pool& pool = f.workers->dirty().at(dirty_kind::io, 0);
  CHECK(pool.push(*new job(f.l, 0, true)) == dirty_pool::answer::taken);
  REQUIRE(eventually([&] { return f.l.waiting == 1; }));
  turn a(1);
  CHECK(pool.push(&a));
  CHECK(pool.push(*new job(f.l, 2)) == dirty_pool::answer::taken);
  std::thread opener([&] { open(f.l); });  // stop waits for the job that runs; it may run more before it sees the stop
  f.drain();
  opener.join();
  std::vector<int> all = f.l.run;
  all.insert(all.end(), f.l.discarded.begin(), f.l.discarded.end());
  for (task* t : f.left) all.push_back(static_cast<turn*>(t)->n);
  std::sort(all.begin(), all.end());
  CHECK(all == std::vector<int>{0, 1, 2});
  turn late(7);
  CHECK_FALSE(pool.push(&late));
}
