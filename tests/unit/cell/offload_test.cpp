// SPDX-License-Identifier: Apache-2.0
#include "unit/cell/dirty_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

// ---- offload -------------------------------------------------------------------------------------------------------

namespace {

/// Offloads what the test gives it.
struct task_for {
  int value;
};
class office : public cell {
public:
  using accepts = signals<task_for, get>;
  using job = std::function<void(office&)>;
  office(std::vector<job> jobs) : jobs_(std::move(jobs)) {}
  void on(task_for t) { jobs_[static_cast<std::size_t>(t.value)](*this); }
  int on(get) { return 1; }

  template <class Work, class Then>
  void cpu(Work work, Then then) {
    offload(std::move(work), std::move(then));
  }
  template <class Work, class Then>
  void io(Work work, Then then) {
    offload_io(std::move(work), std::move(then));
  }
  [[nodiscard]] bool is_in_own_handler() const { return detail::running != nullptr && detail::running->slot == slot(); }

private:
  [[nodiscard]] const detail::cell_slot* slot() const { return detail::cell_access::slot_of(*this); }
  std::vector<job> jobs_;
};

ref<office> with_jobs(runtime& rt, std::vector<office::job> jobs) {
  const int n = static_cast<int>(jobs.size());
  const auto o = rt.spawn<office>(std::move(jobs));
  for (int i = 0; i < n; ++i) o.send(task_for{i});
  return o;
}

}  // namespace

TEST_CASE("offloaded work runs on its pool, and its result comes to a handler of the cell") {
  runtime rt(quiet());
  diary said;
  const auto tell = [&](office& o, std::string what) {
    said.write(o.is_in_own_handler() && is_worker(thread_name()) ? std::move(what) : "elsewhere");
  };
  with_jobs(rt, {[&](office& me) {
                   me.cpu([] { return thread_name(); },
                          [&](result<std::string> r) { tell(me, is_cpu(*r) ? "cpu" : *r); });
                 },
                 [&](office& me) {
                   me.io([] { return thread_name(); }, [&](result<std::string> r) { tell(me, is_io(*r) ? "io" : *r); });
                 },
                 [&](office& me) { me.cpu([] {}, [&](result<void> r) { tell(me, r ? "void" : "error"); }); },
                 [&](office& me) {
                   me.cpu([held = std::make_unique<int>(5)]() mutable { return std::move(held); },
                          [&](result<std::unique_ptr<int>> r) { tell(me, "moved " + std::to_string(**r)); });
                 },
                 [&](office& me) {
                   me.cpu([]() -> result<int> { return fail(errc::not_found, "no such thing"); },
                          [&](result<int> r) { tell(me, to_string(r.error())); });
                 },
                 [&](office& me) {
                   me.cpu([]() -> int { throw std::runtime_error("no luck"); },
                          [&](result<int> r) { tell(me, to_string(r.error())); });
                 },
                 [&](office& me) {
                   me.cpu([]() -> int { throw std::bad_alloc(); },
                          [&](result<int> r) { tell(me, to_string(r.error().code())); });
                 }});
  REQUIRE(said.has(7));
  lines told = said.lines();
  std::sort(told.begin(), told.end());
  CHECK(told == lines{"cell_failed: the offloaded work threw std::runtime_error: no luck", "cpu", "io", "moved 5",
                      "not_found: no such thing", "out_of_memory", "void"});
  CHECK(eventually([&] { return handled_on_pools(rt) == 7; }));
}

TEST_CASE("a cell's end drops what it has offloaded: what has not begun, and what the rest yields, each counted") {
  runtime_options options = quiet();
  options.scheduler.dirty.io_threads = 1;
  runtime rt(options);
  door d;
  diary said;
  std::atomic<int> continuations{0};
  std::atomic<int> works{0};
  const auto job = [&](office& me) {
    me.io(
        [&d, &said, of = counted(works)] {
          said.write("work");
          d.pass();
          return 1;
        },
        [&said, of = counted(continuations)](result<int>) { said.write("then"); });
  };
  const auto o = with_jobs(rt, {job, job, job});
  REQUIRE(said.has(1));
  CHECK(eventually([&] { return rt.metrics().dirty_io.queued == 2; }));
  CHECK(eventually([&] { return continuations == 3; }));
  rt.exit(o, exit_reason::killed());
  CHECK(eventually([&] { return !o.alive() && continuations == 0; }));
  d.open();
  CHECK(eventually([&] { return rt.metrics().offloads_late == 1 && rt.metrics().offloads_skipped == 2; }));
  CHECK(eventually([&] { return works == 0; }));
  CHECK(said.lines() == lines{"work"});
}

TEST_CASE("offloaded work beyond the limit of the queue is refused at once, with a sentence") {
  runtime_options options = quiet();
  options.scheduler.dirty.io_threads = 1;
  options.scheduler.dirty.offload_queue_limit = 2;
  runtime rt(options);
  door d;
  diary said;
  const auto blocks = [&](office& me) {
    me.io(
        [&d, &said] {
          said.write("in");
          d.pass();
        },
        [&](result<void> r) { said.write(r ? "done" : to_string(r.error())); });
  };
  const auto o = rt.spawn<office>(std::vector<office::job>{blocks});
  o.send(task_for{0});
  REQUIRE(said.has(1));
  for (int i = 0; i < 3; ++i) o.send(task_for{0});
  REQUIRE(said.has(2));
  CHECK(said.lines()[1].starts_with("refused: too much offloaded work waits for a thread"));
  CHECK(rt.metrics().dirty_io.refused == 1);
  d.open();
  REQUIRE(said.has(7));
  CHECK(eventually([&] { return rt.metrics().dirty_io.run == 3; }));
}

TEST_CASE("offloaded work may ask cells and wait, since its thread is neither a worker's nor a cell's") {
  runtime rt(quiet(1));
  diary said;
  const auto other = rt.spawn<bystander>();
  with_jobs(rt, {[&](office& me) {
              me.io([&rt, other] { return rt.ask(other, get{}, long_time).value(); },
                    [&](result<int> r) { said.write(std::to_string(*r)); });
            }});
  REQUIRE(said.has(1));
  CHECK(said.lines() == lines{"7"});
}

// ---- the end -------------------------------------------------------------------------------------------------------

TEST_CASE("a shutdown ends cells that wait for a thread without running their handlers, and waits for those that run") {
  runtime rt(one_cpu_thread());
  door d;
  diary said;
  std::vector<ref<clerk>> all;
  for (int i = 0; i < 5; ++i) all.push_back(rt.spawn<clerk>(d, said));
  for (const auto& c : all) c.send(hold{});
  REQUIRE(said.has(1));
  CHECK(eventually([&] { return rt.metrics().dirty_cpu.queued == 4; }));
  shutdown_report report;
  std::thread ends([&] { report = rt.shutdown(long_time); });
  CHECK(eventually([&] { return rt.metrics().cells == 1; }));
  d.open();
  ends.join();
  CHECK(report.complete);
  CHECK(report.stopped == 5);
  CHECK(report.dropped == 4);
  CHECK(said.lines() == lines{"in", "out"});
}

TEST_CASE("a shutdown waits for offloaded work, at the longest until its deadline") {
  auto rt = std::make_unique<runtime>(quiet());
  log_capture log;
  door d;
  diary said;
  with_jobs(*rt, {[&](office& me) {
    me.io(
        [&] {
          said.write("in");
          d.pass();
        },
        [](result<void>) {});
  }});
  REQUIRE(said.has(1));
  CHECK_FALSE(rt->shutdown(1ms).complete);
  CHECK(rt->metrics().cells == 0);
  CHECK(log.with("1 threads of the dirty pools are busy").size() == 1);
  d.open();
  CHECK(rt->shutdown(long_time).complete);
  rt.reset();
}

TEST_CASE("without threads the workers run heavy handlers and offloaded work themselves, and say so once") {
  bool passed = false;
  as_nobody(
      [] {
        runtime_options options = quiet(1);
        log_capture log;
        runtime rt(options);
        diary said;
        const auto o = rt.spawn<office>(std::vector<office::job>{[&said](office& me) {
          me.io([] { return thread_name(); }, [&said](result<std::string> r) { said.write(*r); });
        }});
        const auto c = rt.spawn<clerk>();
        const rlimit none{0, 0};
        if (setrlimit(RLIMIT_NPROC, &none) != 0) return false;
        for (int i = 0; i < 3; ++i) {
          if (!is_worker(rt.ask(c, crunch{}, long_time).value())) return false;
        }
        o.send(task_for{0});
        if (!said.has(1) || !is_worker(said.lines().front())) return false;
        const runtime_metrics m = rt.metrics();
        return m.dirty_cpu.run_by_workers == 3 && m.dirty_io.run_by_workers == 1 && m.dirty_cpu.threads == 0 &&
               log.with("the system refuses to start one").size() == 1 && rt.shutdown(long_time).complete;
      },
      passed);
  CHECK(passed);
}

TEST_CASE("a number of threads that makes no sense is refused") {
  const auto refused = [](auto change) {
    runtime_options options = quiet();
    change(options.scheduler.dirty);
    try {
      runtime rt(options);
    } catch (const runtime_error& e) {
      return e.why().code() == errc::invalid_argument &&
             std::string(e.what()).find("between 1 and") != std::string::npos;
    }
    return false;
  };
  CHECK(refused([](dirty_options& o) { o.cpu_threads = 0; }));
  CHECK(refused([](dirty_options& o) { o.cpu_threads = 1025; }));
  CHECK(refused([](dirty_options& o) { o.io_threads = 0; }));
  CHECK(refused([](dirty_options& o) { o.io_threads = 100'000; }));
  CHECK(refused([](dirty_options& o) { o.offload_queue_limit = 0; }));
  CHECK(refused([](dirty_options& o) { o.offload_queue_limit = 10'000'001; }));
}
