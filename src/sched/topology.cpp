// SPDX-License-Identifier: Apache-2.0
#include <karyon/sched/topology.hpp>

#include <algorithm>
#include <cassert>
#include <map>
#include <set>
#include <utility>

namespace karyon {

namespace {

// Gives ids of any kind dense numbers in the order in which they are first seen.
template <class Key>
class dense_numbers {
public:
  std::uint32_t operator()(const Key& key) {
    return numbers_.emplace(key, static_cast<std::uint32_t>(numbers_.size())).first->second;
  }
  [[nodiscard]] std::size_t size() const noexcept { return numbers_.size(); }

private:
  std::map<Key, std::uint32_t> numbers_;
};

std::string counted(std::size_t n, const char* one, const char* many) {
  return std::to_string(n) + ' ' + (n == 1 ? one : many);
}

}  // namespace

const char* to_string(distance d) noexcept {
  switch (d) {
    case distance::same_unit: return "same_unit";
    case distance::same_core: return "same_core";
    case distance::same_cache: return "same_cache";
    case distance::same_node: return "same_node";
    case distance::other_node: return "other_node";
  }
  return "unknown";
}

result<topology> topology::from_units(std::vector<processing_unit> units, std::vector<numa_node> nodes) {
  if (units.empty()) return fail(errc::invalid_argument, "a topology needs at least one processing unit");
  if (nodes.empty()) {
    nodes.emplace_back();
    for (auto& unit : units) unit.node = 0;
  }
  for (auto& node : nodes) node.units = 0;

  // A core or a cache group is identified together with what contains it, so that descriptions which number the cores
  // of each package from 0, as Linux does, mean what they say.
  dense_numbers<std::uint32_t> packages;
  dense_numbers<std::pair<std::uint32_t, std::uint32_t>> cores;
  dense_numbers<std::pair<std::uint32_t, std::uint32_t>> cache_groups;
  std::vector<std::uint32_t> threads_of_core;
  std::set<std::uint32_t> os_indices;
  std::set<std::uint32_t> allowed_cores;

  topology made;
  for (auto& unit : units) {
    if (!os_indices.insert(unit.os_index).second)
      return fail(errc::invalid_argument,
                  "processing unit " + std::to_string(unit.os_index) + " stands twice in the topology");
    if (unit.node >= nodes.size())
      return fail(errc::invalid_argument, "processing unit " + std::to_string(unit.os_index) + " is on node " +
                                              std::to_string(unit.node) + ", but there are only " +
                                              std::to_string(nodes.size()) + " nodes");
    unit.package = packages(unit.package);
    unit.core = cores({unit.package, unit.core});
    unit.cache_group = cache_groups({unit.node, unit.cache_group});
    threads_of_core.resize(cores.size());
    unit.thread = threads_of_core[unit.core]++;
    ++nodes[unit.node].units;
    if (unit.allowed) {
      ++made.allowed_units_;
      allowed_cores.insert(unit.core);
    }
  }
  if (made.allowed_units_ == 0)
    return fail(errc::unsupported, "this process is allowed on none of the " + std::to_string(units.size()) +
                                       " processing units of the topology");
  made.units_ = std::move(units);
  made.nodes_ = std::move(nodes);
  made.cores_ = cores.size();
  made.allowed_cores_ = allowed_cores.size();
  made.packages_ = packages.size();
  made.cache_groups_ = cache_groups.size();
  return made;
}

distance topology::between(std::size_t a, std::size_t b) const noexcept {
  assert(a < units_.size() && b < units_.size() && "a position in units() is expected");
  const auto& x = units_[a];
  const auto& y = units_[b];
  if (a == b) return distance::same_unit;
  if (x.core == y.core) return distance::same_core;
  if (x.cache_group == y.cache_group) return distance::same_cache;
  return x.node == y.node ? distance::same_node : distance::other_node;
}

std::uint32_t topology::memory_node_of(std::uint32_t node) const noexcept {
  assert(node < nodes_.size() && "a position in nodes() is expected");
  if (nodes_[node].memory_bytes != 0) return node;
  const auto own = std::find_if(units_.begin(), units_.end(), [&](const auto& u) { return u.node == node; });
  if (own != units_.end()) {
    const auto near = std::find_if(units_.begin(), units_.end(), [&](const auto& u) {
      return u.package == own->package && nodes_[u.node].memory_bytes != 0;
    });
    if (near != units_.end()) return near->node;
  }
  const auto any = std::find_if(nodes_.begin(), nodes_.end(), [](const auto& n) { return n.memory_bytes != 0; });
  return any == nodes_.end() ? node : static_cast<std::uint32_t>(any - nodes_.begin());
}

std::string topology::describe() const {
  std::string line = counted(packages_, "package", "packages") + ", " + counted(nodes_.size(), "node", "nodes") + ", " +
                     counted(cache_groups_, "last-level cache", "last-level caches") + ", " +
                     counted(cores_, "core", "cores") + ", " +
                     counted(units_.size(), "hardware thread", "hardware threads");
  if (allowed_units_ != units_.size()) line += " (" + std::to_string(allowed_units_) + " allowed)";
  return line;
}

}  // namespace karyon
