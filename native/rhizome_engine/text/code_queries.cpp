// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "text/code_graph.hpp"
#include "text/code_value.hpp"

namespace rhizome {
namespace {

tl::unexpected<error> no_file(std::string_view path) {
  return fail(errc::not_found, "there was never a file " + std::string{path});
}

/// The order of siblings. Those without length may share a place.
bool stands_before(const code_node& a, const code_node& b) {
  return std::tie(a.offset, a.length, a.kind) < std::tie(b.offset, b.length, b.kind);
}

template <class T>
void sort_unique(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

}  // namespace

/// The graph at one moment.
class code_graph::reader {
public:
  static result<reader> at(const code_graph& graph, const code_moment& when) {
    auto now = graph.store_->now();
    if (!now) {
      return tl::unexpected(now.error());
    }
    return reader(graph, std::move(*now), when);
  }

  [[nodiscard]] std::vector<vertex> out(label arcs, vertex v) { return ends(arcs, direction::out, v); }
  [[nodiscard]] std::vector<vertex> in(label arcs, vertex v) { return ends(arcs, direction::in, v); }

  [[nodiscard]] std::string name(vertex v) const {
    const auto found = snapshot_.property(v, graph_.name_key_, when_.recorded);
    const auto* text = found ? std::get_if<std::string>(&*found) : nullptr;
    return text == nullptr ? std::string{} : *text;
  }
  [[nodiscard]] std::optional<code_node> node(vertex v) const {
    const auto found = snapshot_.property(v, graph_.syntax_key_, when_.recorded, when_.valid);
    const auto* packed = found ? std::get_if<std::int64_t>(&*found) : nullptr;
    return packed == nullptr ? std::nullopt : std::optional(unpack(*packed));
  }
  /// What a definition or an identifier is called.
  [[nodiscard]] std::string name_of(vertex v) {
    for (const auto arcs : {graph_.named_, graph_.calls_, graph_.includes_}) {
      if (const auto names = out(arcs, v); !names.empty()) {
        return name(names.front());
      }
    }
    return {};
  }

  /// The file that a node stands in, and the innermost definition around it; nothing when it was not there.
  [[nodiscard]] std::optional<code_place> place_of(vertex v) {
    code_place place;
    for (auto parents = in(graph_.child_, v); !parents.empty(); parents = in(graph_.child_, v)) {
      v = parents.front();
      if (place.definition.empty() && !in(graph_.defines_, v).empty()) {
        place.definition = name_of(v);
      }
    }
    if (node(v)) {
      return std::nullopt;  // the top of a subtree that no file holds at that time
    }
    place.file = name(v);
    return place;
  }

  /// Each in order, and once.
  [[nodiscard]] std::vector<std::string> defined_in(vertex file) {
    std::vector<std::string> names;
    for (const auto definition : out(graph_.defines_, file)) {
      names.push_back(name_of(definition));
    }
    sort_unique(names);
    return names;
  }
  [[nodiscard]] std::vector<code_place> callers(std::string_view name) {
    std::vector<code_place> found;
    if (const auto known = graph_.names_.find(name); known != graph_.names_.end()) {
      for (const auto call : in(graph_.calls_, known->second)) {
        if (auto place = place_of(call)) {
          found.push_back(std::move(*place));
        }
      }
    }
    sort_unique(found);
    return found;
  }
  [[nodiscard]] std::vector<std::string> includers(std::string_view path) {
    std::vector<std::string> found;
    for (auto ending = path;;) {
      if (const auto known = graph_.paths_.find(ending); known != graph_.paths_.end()) {
        for (const auto include : in(graph_.includes_, known->second)) {
          if (auto place = place_of(include)) {
            found.push_back(std::move(place->file));
          }
        }
      }
      const auto slash = ending.find('/');
      if (slash == std::string_view::npos) {
        break;
      }
      ending.remove_prefix(slash + 1);
    }
    sort_unique(found);
    return found;
  }

private:
  reader(const code_graph& graph, snapshot now, const code_moment& when)
      : graph_(graph), snapshot_(std::move(now)), when_(when) {}

  std::vector<vertex> ends(label arcs, direction way, vertex v) {
    auto found = views_.find({arcs, way});
    if (found == views_.end()) {
      auto made = snapshot_.as_of_valid_at(when_.recorded.value_or(snapshot_.commit()), when_.valid, arcs, way);
      if (!made) {
        return {};
      }
      found = views_.emplace(std::pair{arcs, way}, std::move(*made)).first;
    }
    std::vector<vertex> targets;
    if (v < found->second.vertices()) {
      found->second.for_each(v, [&](vertex target) { targets.push_back(target); });
    }
    return targets;
  }

  const code_graph& graph_;
  snapshot snapshot_;
  code_moment when_;
  std::map<std::pair<label, direction>, valid_view> views_;
};

std::optional<time_us> code_graph::last_change(std::string_view path) const {
  const auto file = files_.find(path);
  return file == files_.end() ? std::nullopt : std::optional(file->second.last);
}

result<std::vector<std::string>> code_graph::defined_in(std::string_view path, const code_moment& at) const {
  const auto file = files_.find(path);
  if (file == files_.end()) {
    return no_file(path);
  }
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  return reading->defined_in(file->second.self);
}

result<std::vector<std::string>> code_graph::definers(std::string_view name, const code_moment& at) const {
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  std::vector<std::string> found;
  if (const auto known = names_.find(name); known != names_.end()) {
    for (const auto definition : reading->in(named_, known->second)) {
      for (const auto file : reading->in(defines_, definition)) {
        found.push_back(reading->name(file));
      }
    }
  }
  sort_unique(found);
  return found;
}

result<std::vector<code_place>> code_graph::callers(std::string_view name, const code_moment& at) const {
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  return reading->callers(name);
}

result<std::vector<std::string>> code_graph::users(std::string_view name, const code_moment& at) const {
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  std::vector<std::string> found;
  if (const auto known = names_.find(name); known != names_.end()) {
    for (const auto file : reading->in(uses_, known->second)) {
      found.push_back(reading->name(file));
    }
    for (const auto arcs : {named_, calls_}) {  // of files that are kept with all their nodes
      for (const auto node : reading->in(arcs, known->second)) {
        if (auto place = reading->place_of(node)) {
          found.push_back(std::move(place->file));
        }
      }
    }
  }
  sort_unique(found);
  return found;
}

result<std::vector<std::string>> code_graph::includers(std::string_view path, const code_moment& at) const {
  if (files_.find(path) == files_.end()) {
    return no_file(path);
  }
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  return reading->includers(path);
}

result<std::vector<code_effect>> code_graph::impact(std::string_view path, const code_moment& at) const {
  const auto changed = files_.find(path);
  if (changed == files_.end()) {
    return no_file(path);
  }
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  std::vector<code_effect> touched;
  std::set<std::string, std::less<>> seen{std::string{path}};
  std::vector<std::string> ring{std::string{path}};
  for (std::uint32_t distance = 1; !ring.empty(); ++distance) {
    std::vector<std::string> next;
    for (const auto& file : ring) {
      for (auto& one : reading->includers(file)) {
        if (seen.insert(one).second) {
          touched.push_back({one, distance, true});
          next.push_back(std::move(one));
        }
      }
    }
    ring = std::move(next);
  }
  for (const auto& name : reading->defined_in(changed->second.self)) {
    for (const auto& place : reading->callers(name)) {  // not followed: what a call gives back is the caller's own
      if (seen.insert(place.file).second) {
        touched.push_back({place.file, 1, false});
      }
    }
  }
  std::stable_sort(touched.begin(), touched.end(),
                   [](const code_effect& a, const code_effect& b) { return a.distance < b.distance; });
  return touched;
}

result<std::vector<code_node>> code_graph::nodes_of(std::string_view path, const code_moment& at) const {
  const auto file = files_.find(path);
  if (file == files_.end()) {
    return no_file(path);
  }
  auto reading = reader::at(*this, at);
  if (!reading) {
    return tl::unexpected(reading.error());
  }
  std::vector<code_node> found;
  std::vector<std::pair<vertex, code_node>> open;
  const auto push_children = [&](vertex parent, std::uint32_t depth) {
    const auto first = open.size();
    for (const auto child : reading->out(child_, parent)) {
      if (auto node = reading->node(child)) {
        node->depth = depth;
        node->name = reading->name_of(child);
        open.emplace_back(child, std::move(*node));
      }
    }
    std::sort(open.begin() + static_cast<std::ptrdiff_t>(first), open.end(), [](const auto& a, const auto& b) {
      return stands_before(b.second, a.second);
    });  // the last one is taken first
  };
  push_children(file->second.self, 0);
  while (!open.empty()) {
    auto [self, node] = std::move(open.back());
    open.pop_back();
    const auto depth = node.depth + 1;
    found.push_back(std::move(node));
    push_children(self, depth);
  }
  return found;
}

}  // namespace rhizome
