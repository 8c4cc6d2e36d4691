// SPDX-License-Identifier: Apache-2.0
#include "unit/cell/dirty_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

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

TEST_CASE("the pool for computation of a node has a thread for each core of the node, if nothing else is said") {
  const topology machine = topology::from_synthetic("pack:1 numa:2 l3:1 core:3 pu:1").value();
  runtime_options options = quiet(0);
  options.machine = &machine;
  runtime rt(options);
  door d;
  diary said;
  for (const std::uint32_t node : {0u, 0u, 0u, 0u, 0u, 1u}) {
    rt.spawn_at<clerk>(placement::on_node(node), d, said).send(hold{});
  }
  CHECK(eventually([&] {
    const auto m = rt.metrics().dirty_cpu;
    return m.running == 3 + 1 && m.queued == 2;
  }));
  CHECK(rt.metrics().dirty_cpu.threads == 3 + 1);
  d.open();
  REQUIRE(said.has(12));
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
  std::deque<detail::handler_site> sites;
  detail::moved_handlers table;  // refers to them to its end
  std::size_t moved = 0;
  for (std::size_t i = 0; i < detail::moved_handlers::sites_max + 10; ++i)
    moved += table.add(sites.emplace_back()) ? 1 : 0;
  CHECK(moved == detail::moved_handlers::sites_max);
  for (std::size_t i = 0; i < sites.size(); ++i) CHECK(table.has(sites[i]) == (i < detail::moved_handlers::sites_max));
  CHECK(table.remove(sites[3]));
  CHECK_FALSE(table.has(sites[3]));
  CHECK(table.add(sites[3]));
}
