// SPDX-License-Identifier: Apache-2.0
// Coroutines that wait for offloaded work, and heavy handlers that are coroutines.
#include <karyon/cell/task.hpp>

#include "unit/cell/dirty_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct work_for {
  int kind = 0;
};
struct wait_for_door {};
struct both {};
struct waiting {};

/// Awaits work of several kinds; writes down where it goes on.
class thinker : public cell {
public:
  using accepts = signals<work_for, wait_for_door, both, waiting, get>;
  using dirty_cpu = signals<both>;
  thinker() = default;
  thinker(const door& d, diary& said, std::atomic<int>& frames) : door_(&d), diary_(&said), frames_(&frames) {}

  task<std::string> on(work_for w) {
    std::string told;
    switch (w.kind) {
      case 0: {
        const auto r = co_await offload([] { return thread_name(); });
        told = is_cpu(*r) ? "on the pool for computation" : *r;
        break;
      }
      case 1: {
        const auto r = co_await offload_io([] { return thread_name(); });
        told = is_io(*r) ? "on the pool for what blocks" : *r;
        break;
      }
      case 2: {
        auto made = [held = std::make_unique<int>(5)]() mutable { return std::move(held); };
        auto asked = offload(std::move(made));
        told = std::to_string(**(co_await asked));
        break;
      }
      case 3: {
        const auto r = co_await offload([] {});
        told = r ? "nothing" : "an error";
        break;
      }
      case 4: {
        const auto r = co_await offload([]() -> result<int> { return fail(errc::not_found, "no such thing"); });
        told = to_string(r.error());
        break;
      }
      case 5: {
        const auto r = co_await offload([]() -> int { throw std::runtime_error("no luck"); });
        told = to_string(r.error());
        break;
      }
      default: {
        const auto named = [] { return 6; };  // copied
        told = std::to_string(*co_await offload(named) + *co_await offload_io(named));
      }
    }
    co_return is_worker(thread_name()) ? told : "back elsewhere";
  }
  task<> on(wait_for_door) {
    const counted frame(*frames_);
    const auto r = co_await offload_io([said = diary_, at = door_] {
      said->write("work");
      at->pass();
      return 1;
    });
    diary_->write(r ? "back" : to_string(r.error().code()));
  }
  task<std::string> on(both) {
    const std::string before = thread_name();
    const auto r = co_await offload_io([] { return thread_name(); });
    co_return is_cpu(before) && is_io(*r) && is_worker(thread_name()) ? "cpu, io, worker" : before + *r + thread_name();
  }
  std::size_t on(waiting) { return stats().suspended; }
  int on(get) { return 7; }

private:
  const door* door_ = nullptr;
  diary* diary_ = nullptr;
  std::atomic<int>* frames_ = nullptr;
};

runtime_options one_io_thread() {
  runtime_options options = quiet();
  options.scheduler.dirty.io_threads = 1;
  return options;
}

}  // namespace

TEST_CASE("a coroutine awaits offloaded work, gets what it yields, and goes on on its worker") {
  runtime rt(quiet());
  const auto c = rt.spawn<thinker>();
  const lines expected{"on the pool for computation",
                       "on the pool for what blocks",
                       "5",
                       "nothing",
                       "not_found: no such thing",
                       "cell_failed: the offloaded work threw std::runtime_error: no luck",
                       "12"};
  for (std::size_t kind = 0; kind < expected.size(); ++kind) {
    CHECK(rt.ask(c, work_for{static_cast<int>(kind)}, long_time).value_or("no answer") == expected[kind]);
  }
}

TEST_CASE("a heavy handler that is a coroutine begins on its pool and goes on on its worker") {
  runtime rt(quiet());
  const auto c = rt.spawn<thinker>();
  for (int i = 0; i < 20; ++i) CHECK(rt.ask(c, both{}, long_time).value_or("no answer") == "cpu, io, worker");
}

TEST_CASE("while a coroutine waits for its work the cell handles other signals") {
  door d;
  diary said;
  std::atomic<int> frames{0};
  runtime rt(quiet());
  const auto c = rt.spawn<thinker>(d, said, frames);
  c.send(wait_for_door{});
  REQUIRE(said.has(1));
  for (int i = 0; i < 10; ++i) CHECK(rt.ask(c, get{}, long_time).value() == 7);
  CHECK(rt.ask(c, waiting{}, long_time).value() == 1);
  d.open();
  REQUIRE(said.has(2));
  CHECK(said.lines() == lines{"work", "back"});
  CHECK(eventually([&] { return frames == 0; }));
}

TEST_CASE("a cell's end destroys the coroutines that wait for work, and counts what their work would have yielded") {
  door d;
  diary said;
  std::atomic<int> frames{0};
  runtime rt(one_io_thread());
  const auto c = rt.spawn<thinker>(d, said, frames);
  for (int i = 0; i < 3; ++i) c.send(wait_for_door{});
  REQUIRE(said.has(1));
  CHECK(eventually([&] { return rt.metrics().dirty_io.queued == 2; }));
  CHECK(frames == 3);
  rt.exit(c, exit_reason::killed());
  CHECK(eventually([&] { return rt.metrics().cells == 0; }));
  CHECK(frames == 0);  // while the work runs
  d.open();
  CHECK(eventually([&] { return rt.metrics().offloads_late == 1 && rt.metrics().offloads_skipped == 2; }));
  CHECK(said.lines() == lines{"work"});
}

TEST_CASE("awaited work that finds the pool's queue full is refused, and the coroutine goes on") {
  door d;
  diary said;
  std::atomic<int> frames{0};
  runtime_options options = one_io_thread();
  options.scheduler.dirty.offload_queue_limit = 1;
  runtime rt(options);
  const auto c = rt.spawn<thinker>(d, said, frames);
  c.send(wait_for_door{});
  REQUIRE(said.has(1));
  c.send(wait_for_door{});
  c.send(wait_for_door{});
  REQUIRE(said.has(2));
  d.open();
  REQUIRE(said.has(5));
  lines told = said.lines();
  CHECK(lines(told.begin(), told.begin() + 2) == lines{"work", "refused"});
  std::sort(told.begin(), told.end());
  CHECK(told == lines{"back", "back", "refused", "work", "work"});
}
