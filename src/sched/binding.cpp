// SPDX-License-Identifier: Apache-2.0
#include <karyon/sched/binding.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <numeric>
#include <set>
#include <utility>

namespace karyon {

namespace {

struct order_name {
  bind_order order;
  const char* letters;
  const char* name;
};

constexpr std::array<order_name, 9> order_names{{
    {bind_order::unbound, "u", "unbound"},
    {bind_order::no_spread, "ns", "no_spread"},
    {bind_order::thread_spread, "ts", "thread_spread"},
    {bind_order::processor_spread, "ps", "processor_spread"},
    {bind_order::spread, "s", "spread"},
    {bind_order::no_node_thread_spread, "nnts", "no_node_thread_spread"},
    {bind_order::no_node_processor_spread, "nnps", "no_node_processor_spread"},
    {bind_order::thread_no_node_processor_spread, "tnnps", "thread_no_node_processor_spread"},
    {bind_order::default_bind, "db", "default_bind"},
}};

// Where a unit stands at each level of the machine, counted within the level above: the first core of every package has
// core 0. Sorting by thread first, say, thus walks over the first hardware threads of all cores before the second ones.
enum level : std::uint8_t { thread, core, die, package, node, levels };
using position = std::array<std::uint32_t, levels>;

// The levels of each order, most significant first. `die` is a NUMA node inside a package that has several.
constexpr std::array<level, levels> significance(bind_order order) {
  switch (order) {
    case bind_order::thread_spread: return {thread, node, package, die, core};
    case bind_order::processor_spread: return {thread, die, core, node, package};
    case bind_order::spread: return {thread, core, die, package, node};
    case bind_order::no_node_thread_spread: return {node, thread, package, core, die};
    case bind_order::no_node_processor_spread: return {node, thread, core, package, die};
    case bind_order::thread_no_node_processor_spread: return {thread, node, core, package, die};
    case bind_order::unbound:
    case bind_order::no_spread: break;
  }
  return {node, package, die, core, thread};
}

// Numbers things from 0 within each group, in the order in which they come.
class numbers_within {
public:
  using key = std::pair<std::uint32_t, std::uint32_t>;
  std::uint32_t operator()(key group, std::uint32_t thing) {
    auto& members = groups_[group];
    return members.emplace(thing, static_cast<std::uint32_t>(members.size())).first->second;
  }

private:
  std::map<key, std::map<std::uint32_t, std::uint32_t>> groups_;
};

// The positions of the given units (indices into units()), counted among these alone.
std::vector<position> positions_of(const topology& machine, const std::vector<std::uint32_t>& chosen) {
  std::map<std::uint32_t, std::set<std::uint32_t>> nodes_of_package;
  for (auto i : chosen) nodes_of_package[machine.units()[i].package].insert(machine.units()[i].node);

  numbers_within nodes;
  numbers_within packages;
  numbers_within dies;
  numbers_within cores;
  numbers_within threads;
  std::uint32_t runs = 0;
  std::vector<position> found;
  found.reserve(chosen.size());
  for (auto i : chosen) {
    const auto& unit = machine.units()[i];
    // Either a node holds packages, which are counted within it, or a package holds nodes; such ones are counted as long
    // as they follow one another.
    const bool package_is_outer = nodes_of_package[unit.package].size() > 1;
    if (!package_is_outer) ++runs;
    position p{};
    p[node] = nodes({0, 0}, unit.node);
    p[package] = package_is_outer ? packages({runs, 1}, unit.package) : packages({unit.node, 0}, unit.package);
    p[die] = package_is_outer ? dies({unit.package, 0}, unit.node) : 0;
    p[core] = cores({unit.package, unit.node}, unit.core);
    p[thread] = threads({unit.core, 0}, unit.os_index);
    found.push_back(p);
  }
  return found;
}

// The units of the plan in binding order. With `spare_threads_last`, the second hardware threads of all cores come
// after all first ones, whatever the order says.
std::vector<std::uint32_t> ordered_units(const topology& machine, const std::vector<std::uint32_t>& chosen,
                                         bind_order order, bool spare_threads_last) {
  const auto positions = positions_of(machine, chosen);
  const auto by = significance(order);
  std::vector<std::size_t> sequence(chosen.size());
  std::iota(sequence.begin(), sequence.end(), std::size_t{0});
  std::stable_sort(sequence.begin(), sequence.end(), [&](std::size_t a, std::size_t b) {
    const auto& x = positions[a];
    const auto& y = positions[b];
    if (spare_threads_last && x[thread] != y[thread]) return x[thread] < y[thread];
    for (level l : by)
      if (x[l] != y[l]) return x[l] < y[l];
    return false;
  });
  std::vector<std::uint32_t> units;
  units.reserve(sequence.size());
  for (auto s : sequence) units.push_back(chosen[s]);
  return units;
}

result<std::vector<std::uint32_t>> choose_units(const topology& machine,
                                                const std::vector<std::uint32_t>& node_os_indices) {
  std::set<std::uint32_t> wanted;
  for (auto os_index : node_os_indices) {
    const auto& nodes = machine.nodes();
    const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const auto& n) { return n.os_index == os_index; });
    if (found == nodes.end())
      return fail(errc::invalid_argument, "this machine has no NUMA node " + std::to_string(os_index));
    wanted.insert(static_cast<std::uint32_t>(found - nodes.begin()));
  }
  std::vector<std::uint32_t> chosen;
  for (std::uint32_t i = 0; i < machine.units().size(); ++i) {
    const auto& unit = machine.units()[i];
    if (unit.allowed && (wanted.empty() || wanted.contains(unit.node))) chosen.push_back(i);
  }
  if (chosen.empty())
    return fail(errc::unsupported, "the NUMA nodes asked for have no processing unit that this process may use");
  return chosen;
}

std::uint32_t count_workers(const topology& machine, const std::vector<std::uint32_t>& chosen,
                            const binding_options& options) {
  if (options.workers != 0) return options.workers;
  std::set<std::uint32_t> places;
  for (auto i : chosen) places.insert(options.use_hardware_threads ? i : machine.units()[i].core);
  return std::min(static_cast<std::uint32_t>(places.size()), workers_max);
}

// Lets each worker list the others, nearest first, beginning after itself among equals. `units` has each worker's
// place.
void plan_stealing(const topology& machine, const std::vector<std::uint32_t>& units, bool bound, bool across_nodes,
                   std::vector<worker_binding>& workers) {
  const auto count = static_cast<std::uint32_t>(workers.size());
  std::array<std::vector<std::uint32_t>, 5> at;
  for (std::uint32_t self = 0; self < count; ++self) {
    for (auto& ring : at) ring.clear();
    for (std::uint32_t step = 1; step < count; ++step) {
      const std::uint32_t other = (self + step) % count;
      const auto far = bound ? machine.between(units[self], units[other]) : distance::same_cache;
      at[static_cast<std::size_t>(far)].push_back(other);
    }
    auto& worker = workers[self];
    const auto take = [&](distance d) {
      const auto& ring = at[static_cast<std::size_t>(d)];
      worker.steal_order.insert(worker.steal_order.end(), ring.begin(), ring.end());
    };
    take(distance::same_unit);
    take(distance::same_core);
    take(distance::same_cache);
    worker.steal_same_cache = static_cast<std::uint32_t>(worker.steal_order.size());
    take(distance::same_node);
    if (across_nodes) worker.steal_remote = at[static_cast<std::size_t>(distance::other_node)];
  }
}

void place_workers(const topology& machine, const std::vector<std::uint32_t>& units, binding_plan& plan) {
  std::set<std::uint32_t> used;
  for (auto u : units) used.insert(machine.units()[u].node);
  std::map<std::uint32_t, std::uint32_t> plan_node;
  for (auto n : used) {
    plan_node.emplace(n, static_cast<std::uint32_t>(plan.nodes.size()));
    node_binding home{.os_index = machine.nodes()[n].os_index};
    if (machine.nodes().size() > 1) home.memory_os_index = machine.nodes()[machine.memory_node_of(n)].os_index;
    plan.nodes.push_back(std::move(home));
  }
  for (std::uint32_t w = 0; w < units.size(); ++w) {
    const auto& unit = machine.units()[units[w]];
    auto& worker = plan.workers[w];
    worker.unit_os_index = unit.os_index;
    worker.core = unit.core;
    worker.cache_group = unit.cache_group;
    worker.node = plan_node.at(unit.node);
    plan.nodes[worker.node].workers.push_back(w);
  }
}

}  // namespace

const char* to_string(bind_order order) noexcept {
  for (const auto& known : order_names)
    if (known.order == order) return known.name;
  return "unknown";
}

result<bind_order> parse_bind_order(std::string_view text) {
  std::string valid;
  for (const auto& known : order_names) {
    if (text == known.name || text == known.letters) return known.order;
    valid += (valid.empty() ? "" : ", ") + std::string(known.name) + " (" + known.letters + ")";
  }
  return fail(errc::invalid_argument, "\"" + std::string(text) + "\" is no binding order; there are " + valid);
}

result<binding_plan> make_binding_plan(const topology& machine, const binding_options& options) {
  if (options.workers > workers_max)
    return fail(errc::invalid_argument, std::to_string(options.workers) + " workers are asked for; at most " +
                                            std::to_string(workers_max) + " make sense");
  const auto chosen = choose_units(machine, options.nodes);
  if (!chosen) return tl::unexpected(chosen.error());

  binding_plan plan;
  plan.order = options.order;
  plan.workers.resize(count_workers(machine, *chosen, options));
  const bool bound = options.order != bind_order::unbound;
  std::vector<std::uint32_t> units;
  if (bound) {
    const auto sequence = ordered_units(machine, *chosen, options.order, !options.use_hardware_threads);
    for (std::size_t w = 0; w < plan.workers.size(); ++w) units.push_back(sequence[w % sequence.size()]);
    place_workers(machine, units, plan);
  } else {
    node_binding everywhere{.os_index = machine.nodes()[machine.units()[chosen->front()].node].os_index,
                            .workers = std::vector<std::uint32_t>(plan.workers.size())};
    std::iota(everywhere.workers.begin(), everywhere.workers.end(), 0U);
    plan.nodes.push_back(std::move(everywhere));
  }
  plan_stealing(machine, units, bound, options.steal_across_nodes, plan.workers);
  return plan;
}

}  // namespace karyon
