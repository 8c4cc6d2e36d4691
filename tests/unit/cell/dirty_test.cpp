// SPDX-License-Identifier: Apache-2.0
// Handlers that run on the dirty pools. A test sees where by the thread's name, which a user sees in top as well.
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>

#include <karyon/cell/broadcast.hpp>

#include "cell/runtime_core.hpp"
#include "support/log_capture.hpp"
#include "support/temporary_tree.hpp"
#include "unit/cell/cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

std::string thread_name() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}
bool is_worker(const std::string& thread) { return thread.starts_with("karyon.w"); }
bool is_cpu(const std::string& thread) { return thread.starts_with("karyon.c"); }
bool is_io(const std::string& thread) { return thread.starts_with("karyon.io"); }

struct crunch {};   // heavy: computes
struct fetch {};    // heavy: blocks
struct hold {};     // heavy: waits at the door
struct units {};    // heavy: how many units its thread may run on
struct fail_in {};  // heavy
struct exit_in {};  // heavy
struct hoard {};    // heavy: beyond its quota

class clerk : public cell {
public:
  using accepts = signals<crunch, fetch, hold, units, fail_in, exit_in, hoard, get, number>;
  using dirty_cpu = signals<crunch, hold, units, fail_in, exit_in, hoard>;
  using dirty_io = signals<fetch>;

  clerk() = default;
  clerk(const door& d, diary& said) : door_(&d), diary_(&said) {}
  std::string on(crunch) { return thread_name(); }
  std::string on(fetch) { return thread_name(); }
  std::string on(get) { return thread_name(); }
  int on(units) {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
  }
  void on(hold) {
    if (diary_ != nullptr) diary_->write("in");
    door_->pass();
    if (diary_ != nullptr) diary_->write("out");
  }
  void on(fail_in) { throw std::runtime_error("too heavy"); }
  void on(exit_in) { exit(exit_reason::error("why", "not")); }
  void on(hoard) {
    memory_quota(1000);
    static_cast<void>(memory()->allocate(2000));
  }
  void on(number n) { diary_->write(std::to_string(n.value)); }

private:
  const door* door_ = nullptr;
  diary* diary_ = nullptr;
};

class bystander : public cell {
public:
  using accepts = signals<get>;
  int on(get) { return 7; }
};

class waits_or_spins : public cell {
public:
  using accepts = signals<number>;
  using dirty_io = signals<number>;
  explicit waits_or_spins(const door& at) : door_(&at) {}
  void on(number n) {
    if (n.value % 2 == 0) return door_->pass();
    while (!door_->is_open()) std::this_thread::yield();
  }

private:
  const door* door_;
};

class narrow : public cell {
public:
  using accepts = signals<hold, ping>;
  using dirty_io = signals<hold>;
  static constexpr std::size_t mailbox_limit = 2;
  narrow(const door& at, diary& said) : door_(&at), diary_(&said) {}
  void on(hold) {
    diary_->write("in");
    door_->pass();
  }
  void on(ping) { diary_->write("ping"); }

private:
  const door* door_;
  diary* diary_;
};

runtime_options one_cpu_thread() {
  runtime_options options = quiet(1);
  options.scheduler.dirty.cpu_threads = 1;
  return options;
}

std::uint64_t handled_on_pools(const runtime& rt) {
  const runtime_metrics m = rt.metrics();
  return m.dirty_cpu.run + m.dirty_io.run;
}

}  // namespace

TEST_CASE("heavy handlers run on the pool that their class names, all others on workers") {
  runtime rt(quiet());
  const auto c = rt.spawn<clerk>();
  for (int i = 0; i < 20; ++i) {
    CHECK(is_cpu(rt.ask(c, crunch{}, long_time).value()));
    CHECK(is_io(rt.ask(c, fetch{}, long_time).value()));
    CHECK(is_worker(rt.ask(c, get{}, long_time).value()));
  }
  const runtime_metrics m = rt.metrics();
  CHECK(m.dirty_cpu.threads >= 1);
  CHECK(m.dirty_io.threads >= 1);
  CHECK(eventually([&] { return rt.metrics().dirty_cpu.switch_ns > 0 && rt.metrics().dirty_io.switch_ns > 0; }));
  CHECK(eventually([&] { return handled_on_pools(rt) == 40; }));
  CHECK(eventually([&] { return rt.metrics().handled == 60; }));
}

TEST_CASE("a broadcast reaches heavy handlers on their pool") {
  runtime rt(one_cpu_thread());
  door d;
  diary said;
  std::vector<ref<clerk>> all;
  for (int i = 0; i < 3; ++i) all.push_back(rt.spawn<clerk>(d, said));
  CHECK(broadcast(all, hold{}).accepted == 3);
  REQUIRE(said.has(1));
  CHECK(eventually([&] { return rt.metrics().dirty_cpu.queued == 2; }));
  d.open();
  REQUIRE(said.has(6));
  CHECK(said.lines() == lines{"in", "out", "in", "out", "in", "out"});
}

TEST_CASE("a cell that was away is back on its own worker, pinned or not") {
  runtime rt(quiet());
  for (const std::uint32_t w : {0u, 1u}) {
    const auto pinned = rt.spawn_at<clerk>(placement::on_worker(w));
    for (int i = 0; i < 20; ++i) {
      CHECK(rt.ask(pinned, get{}, long_time).value() == "karyon.w" + std::to_string(w));
      CHECK(is_cpu(rt.ask(pinned, crunch{}, long_time).value()));
    }
  }
  const auto c = rt.spawn<clerk>();
  const std::uint32_t home = rt.inspect(c, long_time).value().worker;
  CHECK(is_cpu(rt.ask(c, crunch{}, long_time).value()));
  CHECK(rt.inspect(c, long_time).value().worker == home);
}

TEST_CASE("the threads of the pool for computation may run on every unit of their node, not on their starter's alone") {
  runtime rt(quiet());
  std::set<std::uint32_t> node;
  for (const worker_binding& w : rt.plan().workers) {
    if (w.unit_os_index && w.node == 0) node.insert(*w.unit_os_index);
  }
  bool can_bind = false;  // not where the environment forbids or pretends
  std::thread([&] { can_bind = bind_current_thread(rt.plan().workers.front()).has_value(); }).join();
  const int may = rt.ask(rt.spawn_at<clerk>(placement::on_node(0)), units{}, long_time).value();
  CHECK(may > 0);
  if (can_bind && !node.empty()) CHECK(may == static_cast<int>(node.size()));
}

TEST_CASE("while a heavy handler runs the cell's other signals wait, in their order, and the worker goes on") {
  runtime rt(quiet(1));
  door d;
  diary said;
  const auto c = rt.spawn<clerk>(d, said);
  c.send(number{1});
  c.send(hold{});
  for (int i = 2; i <= 40; ++i) {
    c.send(number{i});
    if (i % 10 == 0) c.send(fetch{});
  }
  REQUIRE(said.has(2));
  const auto other = rt.spawn<bystander>();
  for (int i = 0; i < 100; ++i) CHECK(rt.ask(other, get{}, long_time).value() == 7);
  CHECK(said.size() == 2);
  d.open();
  CHECK(is_worker(rt.ask(c, get{}, long_time).value()));
  lines expected{"1", "in", "out"};
  for (int i = 2; i <= 40; ++i) expected.push_back(std::to_string(i));
  CHECK(said.lines() == expected);
  CHECK(rt.inspect(c, long_time).value().handled == 1 + 1 + 39 + 4 + 1);
}

TEST_CASE("a blocked or spinning pool for I/O does not hold up cells, and its threads are as many as they may be") {
  runtime rt(quiet(1));
  door d;
  std::vector<ref<waits_or_spins>> all;
  for (int i = 0; i < 25; ++i) {
    all.push_back(rt.spawn<waits_or_spins>(d));
    all.back().send(number{i});
  }
  CHECK(eventually([&] { return rt.metrics().dirty_io.running == 10; }));
  const auto other = rt.spawn<bystander>();
  for (int i = 0; i < 100; ++i) CHECK(rt.ask(other, get{}, long_time).value() == 7);
  const runtime_metrics m = rt.metrics();
  CHECK(m.dirty_io.threads == 10);
  CHECK(m.dirty_io.queued == 15);
  d.open();
  CHECK(eventually([&] { return rt.metrics().dirty_io.run == 25; }));
}

TEST_CASE("a heavy handler that fails, exits or goes over its quota ends its cell with that reason") {
  runtime rt(quiet());
  const auto end_by = [&](auto what) {
    const auto c = rt.spawn<clerk>();
    witness w(rt, c);
    c.send(what);
    return w.end();
  };
  CHECK(end_by(fail_in{}) == "down: error: std::runtime_error: too heavy");
  CHECK(end_by(exit_in{}) == "down: error: why: not");
  CHECK(end_by(hoard{}) == "down: memory_limit");
  CHECK(eventually([&] { return rt.metrics().failures == 3; }));
  const auto answer = rt.ask(rt.spawn<clerk>(), fail_in{}, long_time);
  REQUIRE(!answer);
  CHECK(answer.error().code() == errc::cell_failed);
}

TEST_CASE("a cell that is killed while its heavy handler runs ends when the handler returns, and the rest is counted") {
  runtime rt(quiet());
  door d;
  diary said;
  const auto c = rt.spawn<clerk>(d, said);
  witness w(rt, c);
  c.send(hold{});
  REQUIRE(said.has(1));
  for (int i = 0; i < 5; ++i) c.send(number{i});
  rt.exit(c, exit_reason::killed());
  d.open();
  CHECK(w.end() == "down: killed");
  CHECK(said.lines() == lines{"in", "out"});
  CHECK(eventually([&] { return rt.metrics().dropped_dead == 5; }));
}

TEST_CASE("a request to end overtakes a heavy signal whose cell waits for a thread") {
  runtime rt(one_cpu_thread());
  door d;
  diary said;
  const auto first = rt.spawn<clerk>(d, said);
  first.send(hold{});
  REQUIRE(said.has(1));
  const auto second = rt.spawn<clerk>(d, said);
  second.send(hold{});
  CHECK(eventually([&] { return rt.metrics().dirty_cpu.queued == 1; }));
  rt.exit(second, exit_reason::shutdown());
  d.open();
  CHECK(eventually([&] { return !second.alive(); }));
  CHECK(is_worker(rt.ask(first, get{}, long_time).value()));
  CHECK(said.lines() == lines{"in", "out"});
}

TEST_CASE("a bounded mailbox has its limit while a heavy handler runs") {
  runtime rt(quiet());
  door d;
  diary said;
  const auto c = rt.spawn<narrow>(d, said);
  CHECK(c.send(hold{}) == send_result::accepted);
  REQUIRE(said.has(1));
  CHECK(c.send(ping{}) == send_result::accepted);
  CHECK(c.send(ping{}) == send_result::accepted);
  CHECK(c.send(ping{}) == send_result::full);
  d.open();
  REQUIRE(said.has(3));
  CHECK(eventually([&] { return rt.inspect(c, long_time).value().mailbox == 0; }));
  CHECK(c.send(ping{}) == send_result::accepted);
  REQUIRE(said.has(4));
}

namespace {

struct begin {};
struct report {};

/// Does within a heavy handler whatever a cell can do.
class busybody : public cell {
public:
  using accepts = signals<begin, report, number, word>;
  using dirty_cpu = signals<begin>;
  busybody(diary& d, ref<clerk> other) : diary_(&d), other_(other) {}
  void on(begin) {
    ask(other_, get{}, long_time, [this](result<std::string> r) {
      diary_->write(is_worker(thread_name()) && is_worker(*r) ? "answered" : "answered elsewhere");
    });
    ask(other_, hold{}, 1ms, [this](result<void> r) { diary_->write(to_string(r.error().code())); });
    send_after(self(this), number{1}, 1ms);
    cancel(send_after(self(this), number{2}, 0ms));
    every_ = send_every(self(this), word{"tick"}, 1ms);
    const auto child = spawn<clerk>();
    link(child);
    monitor(child);
    child.send(exit_in{});
    trap_exit(true);
    become<quietly>(this);
    const auto blocked = host().ask(child, get{}, long_time);
    diary_->write(to_string(blocked.error().code()));
    diary_->write(rt_place(child) == stats().worker ? "near" : "far");
  }
  void on(report) { diary_->write("reported"); }
  void on(number n) { diary_->write("number " + std::to_string(n.value)); }
  void on(word) {
    if (cancel(every_)) diary_->write("tick");
  }
  void on(const down& d) { diary_->write("down: " + to_string(d.why)); }
  void on(const exit_signal& e) {
    trap_exit(false);
    diary_->write("exit: " + to_string(e.why));
  }

  struct quietly {
    static void on(busybody& b, report) { b.diary_->write("quietly"); }
  };
  using behaviors = karyon::behaviors<quietly>;

private:
  static std::uint32_t rt_place(const ref<clerk>& c) { return detail::handle_access::of(c).slot->home; }
  diary* diary_;
  ref<clerk> other_;
  timer_id every_;
};

}  // namespace

TEST_CASE("what a cell may do, it may do in a heavy handler as well") {
  runtime rt(quiet());
  door d;
  diary none;
  diary said;
  const auto other = rt.spawn<clerk>(d, none);
  const auto b = rt.spawn<busybody>(said, other);
  b.send(begin{});
  b.send(report{});
  REQUIRE(said.has(9));
  lines told = said.lines();
  CHECK(told[0] == "would_block");
  CHECK(told[1] == "near");
  std::sort(told.begin(), told.end());
  CHECK(told == lines{"answered", "down: error: why: not", "exit: error: why: not", "near", "number 1", "quietly",
                      "tick", "timeout", "would_block"});
  d.open();
  CHECK(rt.shutdown(long_time).complete);
  CHECK(said.size() == 9);  // the timer that was cancelled did not fire
}

// ---- handler types that are moved ----------------------------------------------------------------------------------

TEST_CASE("a handler type can be moved to the pool for computation, in one runtime, and back") {
  runtime rt(quiet());
  runtime other(quiet());
  const auto c = rt.spawn<clerk>();
  const auto elsewhere = other.spawn<clerk>();
  auto& site = detail::site_of<clerk, get>;
  CHECK(is_worker(rt.ask(c, get{}, long_time).value()));
  CHECK(rt.moved_handlers().empty());
  CHECK(rt.core().move_to_dirty(site));
  CHECK_FALSE(rt.core().move_to_dirty(site));
  CHECK_FALSE(rt.core().move_to_dirty(detail::site_of<clerk, fetch>));
  CHECK(is_cpu(rt.ask(c, get{}, long_time).value()));
  CHECK(is_worker(other.ask(elsewhere, get{}, long_time).value()));
  REQUIRE(rt.moved_handlers().size() == 1);
  const moved_handler moved = rt.moved_handlers().front();
  CHECK(moved.cell_class.find("clerk") != std::string::npos);
  CHECK(moved.signal.find("get") != std::string::npos);
  CHECK(rt.move_back(moved));
  CHECK_FALSE(rt.move_back(moved));
  CHECK(is_worker(rt.ask(c, get{}, long_time).value()));
  CHECK(site.elsewhere.load() == 0);
  {
    runtime third(quiet());
    CHECK(third.core().move_to_dirty(site));
    CHECK(site.elsewhere.load() == 1);
  }
  CHECK(site.elsewhere.load() == 0);
}

TEST_CASE("only so many handler types are moved") {
  detail::moved_handlers table;
  std::deque<detail::handler_site> sites;
  std::size_t moved = 0;
  for (std::size_t i = 0; i < detail::moved_handlers::sites_max + 10; ++i)
    moved += table.add(sites.emplace_back()) ? 1 : 0;
  CHECK(moved == detail::moved_handlers::sites_max);
  for (std::size_t i = 0; i < sites.size(); ++i) CHECK(table.has(sites[i]) == (i < detail::moved_handlers::sites_max));
  CHECK(table.remove(sites[3]));
  CHECK_FALSE(table.has(sites[3]));
  CHECK(table.add(sites[3]));
}

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
