// SPDX-License-Identifier: Apache-2.0
//
// Where workers run, and between which of them work is given away.
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <set>

#include "placement_check.hpp"

namespace karyon::tests::numa {

namespace {

// ---- binding -------------------------------------------------------------------------------------------------------

struct whereabouts {};
struct standing {
  numbers cpus_allowed;
  std::uint32_t cpu = 0;
  std::uint32_t node = 0;
};

/// Asks the kernel about the thread that it runs on.
class observer : public cell {
public:
  using accepts = signals<whereabouts>;
  standing on(whereabouts) {
    const spot s = here();
    return {affinity(), s.cpu, s.node};
  }
};

/// What a pinned cell of each worker is told by the kernel.
std::vector<standing> stand_of_workers(runtime& rt) {
  std::vector<standing> all;
  for (std::uint32_t w = 0; w < rt.workers(); ++w) {
    const auto cell = rt.spawn_at<observer>(placement::on_worker(w));
    all.push_back(rt.ask(cell, whereabouts{}, long_time).value());
  }
  return all;
}

/// The first worker that is not where the plan has it, in words; nothing if all are.
std::string misplaced(const binding_plan& plan, const std::vector<standing>& found) {
  if (plan.workers.size() != found.size()) return "another number of workers";
  for (std::size_t w = 0; w < found.size(); ++w) {
    const worker_binding& planned = plan.workers[w];
    const std::uint32_t unit = planned.unit_os_index.value_or(cpus_max);
    const std::uint32_t node = plan.nodes[planned.node].os_index;
    if (found[w].cpus_allowed == numbers{unit} && found[w].cpu == unit && found[w].node == node) continue;
    return text("; worker ", w, " is planned for unit ", unit, " of node ", node, ", and the kernel has it on unit ",
                found[w].cpu, " of node ", found[w].node, ", free to run on ", list(found[w].cpus_allowed));
  }
  return {};
}

numbers cpus_of(const std::vector<standing>& found) {
  numbers cpus;
  for (const standing& s : found) cpus.push_back(s.cpu);
  return cpus;
}

bool threads_can_be_bound(const ground& g) {
  const numbers before = affinity();
  return std::all_of(g.shape.units().begin(), g.shape.units().end(),
                     [](const processing_unit& u) { return !u.allowed || confine({u.os_index}); }) &&
         confine(before);
}

constexpr std::array orders{
    bind_order::no_spread,
    bind_order::thread_spread,
    bind_order::processor_spread,
    bind_order::spread,
    bind_order::no_node_thread_spread,
    bind_order::no_node_processor_spread,
    bind_order::thread_no_node_processor_spread,
};

}  // namespace

void check_binding(const ground& g, report& r) {
  if (!threads_can_be_bound(g)) return r.not_checked("binding: the system does not let threads be bound");
  for (const bind_order order : orders) {
    runtime rt(options_for(g, {.order = order}));
    const auto found = stand_of_workers(rt);
    const std::string fault = misplaced(rt.plan(), found);
    r.expect(fault.empty(),
             text(to_string(order), ": the workers run on units ", list(cpus_of(found)), ", as planned", fault));
    const numbers cpus = cpus_of(found);
    r.expect(std::set<std::uint32_t>(cpus.begin(), cpus.end()).size() == g.shape.allowed_cores(),
             text(to_string(order), ": each core has one"));
  }
  {
    runtime rt(options_for(g, {.order = bind_order::unbound}));
    const auto found = stand_of_workers(rt);
    const numbers all = affinity();
    r.expect(std::all_of(found.begin(), found.end(), [&](const standing& s) { return s.cpus_allowed == all; }),
             text("unbound: the workers may run on units ", list(all)));
  }
  {
    runtime rt(options_for(g, {.workers = 2 * static_cast<std::uint32_t>(g.shape.allowed_units())}));
    const auto found = stand_of_workers(rt);
    const std::string fault = misplaced(rt.plan(), found);
    r.expect(fault.empty(), text("twice as many workers as units: on ", list(cpus_of(found)), ", as planned", fault));
  }
  for (const auto& [node, cpus] : g.kernel_nodes) {
    runtime rt(options_for(g, {.nodes = {node}}));
    const auto found = stand_of_workers(rt);
    const std::string fault = misplaced(rt.plan(), found);
    r.expect(fault.empty() &&
                 std::all_of(found.begin(), found.end(), [mine = node](const standing& s) { return s.node == mine; }),
             text("node ", node, " alone: the workers run on ", list(cpus_of(found)), fault));
  }
}

// ---- taking over ---------------------------------------------------------------------------------------------------

namespace {

struct hold {};

/// Opened at its end at the latest, so that no runtime waits for who stands before it.
struct gate {
  std::atomic<bool> open{false};
  std::atomic<std::uint32_t> waiting{0};
};
struct gate_keeper {
  gate& g;
  ~gate_keeper() { g.open = true; }
};

/// Does not return while the gate is closed.
class holder : public cell {
public:
  using accepts = signals<hold>;
  explicit holder(gate& g) noexcept : gate_(&g) {}
  void on(hold) {
    gate_->waiting.fetch_add(1);
    while (!gate_->open.load()) ::sched_yield();
  }

private:
  gate* gate_;
};

}  // namespace

void check_take_over(const ground& g, report& r) {
  if (!threads_can_be_bound(g)) return r.not_checked("taking over: the system does not let threads be bound");
  gate closed;
  runtime rt(options_for(g));
  const gate_keeper at_end{closed};
  for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
    rt.spawn_at<holder>(placement::on_worker(rt.plan().nodes[n].workers.front()), closed).send(hold{});
  }
  const bool all_held = eventually([&] { return closed.waiting == rt.nodes(); });
  r.expect(all_held, text("one worker of each node has a handler that does not return"));
  // Those workers answer by another thread.
  const auto meanwhile = stand_of_workers(rt);
  const std::string fault = misplaced(rt.plan(), meanwhile);
  r.expect(fault.empty() && rt.metrics().take_overs >= rt.nodes(),
           text("the threads that took over run on the planned units, ", list(cpus_of(meanwhile)), fault));
  closed.open = true;
  const std::string later = misplaced(rt.plan(), stand_of_workers(rt));
  r.expect(later.empty(), text("and so they do after the handlers' return", later));
}

// ---- stealing ------------------------------------------------------------------------------------------------------

namespace {

/// Where cells of one node have been, by the kernel's word at each signal.
struct tracks {
  explicit tracks(std::uint32_t home) noexcept : node(home) {}
  const std::uint32_t node;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> strayed{0};  // of them, on another node
  std::array<std::atomic<bool>, cpus_max> seen{};

  [[nodiscard]] numbers cpus() const {
    numbers found;
    for (std::uint32_t c = 0; c < cpus_max; ++c) {
      if (seen[c].load(std::memory_order_relaxed)) found.push_back(c);
    }
    return found;
  }
};

struct step {};

/// Always runnable until its tracks are done.
class wanderer : public cell {
public:
  using accepts = signals<step>;
  explicit wanderer(tracks& t) noexcept : tracks_(&t) {}
  void on(step) {
    const spot s = here();
    tracks_->steps.fetch_add(1, std::memory_order_relaxed);
    if (s.node != tracks_->node) tracks_->strayed.fetch_add(1, std::memory_order_relaxed);
    tracks_->seen[s.cpu % cpus_max].store(true, std::memory_order_relaxed);
    if (!tracks_->done.load(std::memory_order_relaxed)) self(this).send(step{});
  }

private:
  tracks* tracks_;
};

/// Sets wanderers going next to itself: all on one worker.
class origin : public cell {
public:
  using accepts = signals<step>;
  explicit origin(tracks& t) noexcept : tracks_(&t) {}
  bool on(step) {
    for (int i = 0; i < 200; ++i) spawn<wanderer>(*tracks_).send(step{});
    return true;
  }

private:
  tracks* tracks_;
};

/// Loads one worker of node `n` of the plan until `enough` holds, whether it came to hold.
template <class Enough>
bool load_one_worker(runtime& rt, std::uint32_t n, tracks& t, const Enough& enough) {
  const auto source = rt.spawn_at<origin>(placement::on_worker(rt.plan().nodes[n].workers.front()), t);
  return rt.ask(source, step{}, long_time).has_value() && eventually(enough);
}

}  // namespace

void check_stealing(const ground& g, report& r) {
  if (!threads_can_be_bound(g)) return r.not_checked("stealing: the system does not let threads be bound");
  constexpr std::uint64_t steps_min = 20'000;
  {
    // Outlives the runtime, whose cells have a pointer to them.
    std::vector<std::unique_ptr<tracks>> all;
    runtime rt(options_for(g));
    bool has_mates = false;
    for (std::uint32_t n = 0; n < rt.nodes(); ++n) {
      const node_binding& node = rt.plan().nodes[n];
      has_mates = has_mates || node.workers.size() > 1;
      numbers cpus;
      for (const std::uint32_t w : node.workers) cpus.push_back(*rt.plan().workers[w].unit_os_index);
      std::sort(cpus.begin(), cpus.end());
      tracks& t = *all.emplace_back(std::make_unique<tracks>(node.os_index));
      // All other workers of the machine have nothing to do, and look for work now and then.
      const bool shared =
          load_one_worker(rt, n, t, [&] { return t.steps > steps_min && t.cpus().size() >= cpus.size(); });
      t.done = true;
      r.expect(shared && t.cpus() == cpus && t.strayed == 0,
               text("node ", node.os_index, ": 200 busy cells of one worker were run ", t.steps.load(),
                    " times, on units ", list(t.cpus()), "; ", t.strayed.load(), " times on another node"));
    }
    const runtime_metrics m = rt.metrics();
    r.expect(m.given_other_node == 0 && (!has_mates || m.given_same_cache + m.given_same_node > 0),
             text("of them ", m.given_same_cache, " were given within a cache, ", m.given_same_node, " within a node, ",
                  m.given_other_node, " to another node"));
  }
  if (g.kernel_nodes.size() == 1) return r.not_checked("stealing across nodes: there is one node");
  tracks t(g.kernel_nodes.begin()->first);
  runtime rt(options_for(g, {.steal_across_nodes = true}));
  const bool strayed = load_one_worker(rt, 0, t, [&] { return t.strayed > 0 && rt.metrics().given_other_node > 0; });
  t.done = true;
  r.expect(strayed, text("with steal_across_nodes such cells got to units ", list(t.cpus()), "; ",
                         rt.metrics().given_other_node, " were given to another node"));
}

}  // namespace karyon::tests::numa
