// SPDX-License-Identifier: Apache-2.0
#include "text/code_graph.hpp"

#include <algorithm>
#include <utility>

#include "text/code_value.hpp"

namespace rhizome {
namespace {

/// An include's path without "./" and "../" at its begin: what is left is the end of the path of the file that is meant.
std::string_view plain_path(std::string_view written) {
  while (written.starts_with("./") || written.starts_with("../")) {
    written.remove_prefix(written.find('/') + 1);
  }
  return written;
}

}  // namespace

/// One transaction of a code_graph. The first refusal stops it; what it noted outside of the store is then taken back.
class code_graph::writer {
public:
  writer(code_graph& graph, transaction& tx, time_us since) : graph_(graph), tx_(tx), since_(since) {}

  vertex new_vertices(std::uint32_t count) {
    auto first = tx_.add_vertices(count);
    return check(first) ? *first : no_vertex;
  }

  vertex new_file(std::string_view path) {
    const auto self = new_vertices(1);
    set(self, graph_.name_key_, std::string{path}, {});
    return self;
  }

  /// Nodes of `now` that have no earlier one begin, the others go on, with another place perhaps.
  std::vector<live_node> begin(vertex file, const syntax& now, const syntax_match* match, const file_record& before,
                               code_change& change) {
    const auto nodes = now.nodes();
    std::vector<live_node> live(nodes.size());
    std::uint32_t begun = 0;
    for (std::uint32_t i = 0; i < nodes.size(); ++i) {
      const auto old = match == nullptr ? no_node : match->earlier[i];
      if (old != no_node) {
        live[i] = before.live[old];
      } else {
        live[i].since = since_;
        ++begun;
      }
    }
    spelled_.assign(now.spellings().size(), no_vertex);
    children_.reserve(begun);
    named_.reserve(begun);
    auto next = begun == 0 ? no_vertex : new_vertices(begun);
    std::vector<std::uint32_t> around;  // the nodes that the current one stands in
    for (std::uint32_t i = 0; i < nodes.size() && !error_; ++i) {
      leave(around, nodes, i);
      const auto old = match == nullptr ? no_node : match->earlier[i];
      if (old != no_node) {
        if (pack(nodes[i]) != pack(before.now->nodes()[old])) {
          set(live[i].self, graph_.syntax_key_, pack(nodes[i]), {since_, end_of_time});
        }
      } else {
        live[i].self = next++;
        const bool top = around.empty() || (match != nullptr && match->earlier[around.back()] != no_node);
        begin_node(file, now, i, around.empty() ? file : live[around.back()].self, top, live[i]);
      }
      around.push_back(i);
    }
    flush();
    change.begun = begun;
    change.kept = static_cast<std::uint32_t>(nodes.size()) - begun;
    return live;
  }

  /// The nodes of the version before that `match` does not keep end; without it, all.
  void end(const file_record& before, const syntax_match* match, code_change& change) {
    const auto nodes = before.now->nodes();
    std::vector<std::uint32_t> around;
    for (std::uint32_t i = 0; i < nodes.size() && !error_; ++i) {
      leave(around, nodes, i);
      if (match == nullptr || !match->kept[i]) {
        ++change.ended;
        const auto& node = before.live[i];
        const interval past{node.since, since_};
        if (around.empty() || (match != nullptr && match->kept[around.back()])) {
          check(tx_.set_valid(graph_.child_, around.empty() ? before.self : before.live[around.back()].self, node.self,
                              past));
        }
        switch (nodes[i].role) {
          case syntax_role::definition: check(tx_.set_valid(graph_.defines_, before.self, node.self, past)); break;
          case syntax_role::call: check(tx_.set_valid(graph_.calls_, node.self, node.name, past)); break;
          case syntax_role::include: check(tx_.set_valid(graph_.includes_, node.self, node.name, past)); break;
          default: break;
        }
      }
      around.push_back(i);
    }
  }

  /// What the file uses from now on: what it used before goes on or ends. Without `now`, all ends.
  std::vector<live_use> use(vertex file, const syntax* now, const std::vector<live_use>& before) {
    std::vector<live_use> uses;
    if (now != nullptr && now->detail() == syntax_detail::outline) {
      for (std::uint32_t i = 0; i < now->spellings().size() && !error_; ++i) {
        uses.push_back({name_of(*now, i), since_});
      }
      std::sort(uses.begin(), uses.end(), [](const live_use& a, const live_use& b) { return a.name < b.name; });
    }
    auto old = before.begin();
    const auto end_old = [&](vertex until) {
      for (; old != before.end() && old->name < until; ++old) {
        check(tx_.set_valid(graph_.uses_, file, old->name, {old->since, since_}));
      }
    };
    for (auto& one : uses) {
      end_old(one.name);
      if (old != before.end() && old->name == one.name) {
        one.since = old->since;
        ++old;
      } else if (!error_) {
        check(tx_.add_arc(graph_.uses_, file, one.name, {since_, end_of_time}));
      }
    }
    end_old(no_vertex);
    return uses;
  }

  result<commit_number> commit() {
    if (error_) {
      tx_.abort();
      forget();
      return tl::unexpected(*error_);
    }
    auto done = tx_.commit();
    if (!done) {
      forget();
    }
    return done;
  }

private:
  /// Leaves the subtrees that end before node i.
  static void leave(std::vector<std::uint32_t>& around, std::span<const syntax_node> nodes, std::uint32_t i) {
    while (!around.empty() && around.back() + nodes[around.back()].size <= i) {
      around.pop_back();
    }
  }

  void begin_node(vertex file, const syntax& now, std::uint32_t i, vertex parent, bool top, live_node& node) {
    const interval from_now{since_, end_of_time};
    if (top) {
      check(tx_.add_arc(graph_.child_, parent, node.self, from_now));
    } else {
      children_.push_back({parent, node.self});
    }
    set(node.self, graph_.syntax_key_, pack(now.nodes()[i]), {});
    switch (now.nodes()[i].role) {
      case syntax_role::none: break;
      case syntax_role::definition:
        node.name = name_of(now, now.nodes()[i].spelling);
        check(tx_.add_arc(graph_.defines_, file, node.self, from_now));
        named_.push_back({node.self, node.name});
        break;
      case syntax_role::call:
        node.name = name_of(now, now.nodes()[i].spelling);
        check(tx_.add_arc(graph_.calls_, node.self, node.name, from_now));
        break;
      case syntax_role::include:
        node.name = spelled(graph_.paths_, plain_path(now.name(i)));
        check(tx_.add_arc(graph_.includes_, node.self, node.name, from_now));
        break;
      case syntax_role::name:
        node.name = name_of(now, now.nodes()[i].spelling);
        named_.push_back({node.self, node.name});
        break;
    }
  }

  void flush() {
    if (!error_ && !children_.empty()) {
      check(tx_.add_arcs(graph_.child_, children_));
    }
    if (!error_ && !named_.empty()) {
      check(tx_.add_arcs(graph_.named_, named_));
    }
  }

  /// Asks for each name of a text once.
  vertex name_of(const syntax& now, std::uint32_t spelling) {
    auto& self = spelled_[spelling];
    if (self == no_vertex) {
      self = spelled(graph_.names_, now.spelling(spelling));
    }
    return self;
  }

  vertex spelled(by_text<vertex>& known, std::string_view text) {
    if (const auto found = known.find(text); found != known.end()) {
      return found->second;
    }
    const auto self = new_vertices(1);
    if (!error_) {
      set(self, graph_.name_key_, std::string{text}, {});
      known.emplace(text, self);
      noted_.emplace_back(&known, text);
    }
    return self;
  }

  void set(vertex v, property_key key, value data, interval valid) {
    if (!error_) {
      check(tx_.set_property(v, key, std::move(data), valid));
    }
  }

  template <class T>
  bool check(const result<T>& done) {
    if (!done && !error_) {
      error_ = done.error();
    }
    return done.has_value();
  }

  void forget() {
    for (const auto& [known, text] : noted_) {
      known->erase(text);
    }
  }

  code_graph& graph_;
  transaction& tx_;
  time_us since_;
  std::optional<error> error_;
  std::vector<arc> children_;
  std::vector<arc> named_;
  std::vector<vertex> spelled_;  // by the number of the name in the text
  std::vector<std::pair<by_text<vertex>*, std::string>> noted_;
};

result<code_graph> code_graph::over(store& graph) {
  if (graph.options().unique_arcs) {
    return fail(errc::invalid_argument,
                "a graph of programs has parallel arcs: make the store with unique_arcs = false");
  }
  auto tx = graph.begin();
  if (!tx) {
    return tl::unexpected(tx.error());
  }
  code_graph made(graph);
  for (const auto& [name, where] :
       {std::pair{"child", &made.child_}, std::pair{"defines", &made.defines_}, std::pair{"named", &made.named_},
        std::pair{"calls", &made.calls_}, std::pair{"includes", &made.includes_}, std::pair{"uses", &made.uses_}}) {
    auto number = tx->name_label(name);
    if (!number) {
      return tl::unexpected(number.error());
    }
    *where = *number;
  }
  for (const auto& [name, where] : {std::pair{"name", &made.name_key_}, std::pair{"syntax", &made.syntax_key_}}) {
    auto number = tx->name_property(name);
    if (!number) {
      return tl::unexpected(number.error());
    }
    *where = *number;
  }
  if (auto done = tx->commit(); !done) {
    return tl::unexpected(done.error());
  }
  return made;
}

result<code_change> code_graph::put(std::string_view path, syntax version, time_us since) {
  const auto found = files_.find(path);
  file_record fresh;
  const file_record& before = found == files_.end() ? fresh : found->second;
  if (found != files_.end() && since <= before.last) {
    return fail(errc::invalid_argument,
                std::string{path} + ": a version can not begin before the last one, nor with it");
  }
  if (before.now && (!(before.now->grammar() == version.grammar()) || before.now->detail() != version.detail())) {
    return fail(errc::invalid_argument,
                std::string{path} + ": its last version is of another language or detail; remove it first");
  }
  auto tx = store_->begin();
  if (!tx) {
    return tl::unexpected(tx.error());
  }
  writer writing(*this, *tx, since);
  code_change change;
  change.file = before.self == no_vertex ? writing.new_file(path) : before.self;
  std::optional<syntax_match> match;
  if (before.now) {
    match = match_syntax(*before.now, version);
  }
  auto live = writing.begin(change.file, version, match ? &*match : nullptr, before, change);
  if (match) {
    writing.end(before, &*match, change);
  }
  auto uses = writing.use(change.file, &version, before.uses);
  version.keep_names_only();
  auto done = writing.commit();
  if (!done) {
    return tl::unexpected(done.error());
  }
  change.commit = *done;
  files_.insert_or_assign(std::string{path},
                          file_record{change.file, since, std::move(version), std::move(live), std::move(uses)});
  return change;
}

result<code_change> code_graph::remove(std::string_view path, time_us since) {
  const auto found = files_.find(path);
  if (found == files_.end() || !found->second.now) {
    return fail(errc::not_found, std::string{path} + ": there is no such file to remove");
  }
  auto& before = found->second;
  if (since <= before.last) {
    return fail(errc::invalid_argument, std::string{path} + ": it can not end before its last version began");
  }
  auto tx = store_->begin();
  if (!tx) {
    return tl::unexpected(tx.error());
  }
  writer writing(*this, *tx, since);
  code_change change;
  change.file = before.self;
  writing.end(before, nullptr, change);
  writing.use(before.self, nullptr, before.uses);
  auto done = writing.commit();
  if (!done) {
    return tl::unexpected(done.error());
  }
  change.commit = *done;
  before.last = since;
  before.now.reset();
  before.live.clear();
  before.uses.clear();
  return change;
}

}  // namespace rhizome
