// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "text/syntax.hpp"

namespace rhizome {
namespace {

using positions = std::vector<std::uint32_t>;

positions children_of(std::span<const syntax_node> nodes, std::uint32_t parent) {
  positions children;
  for (auto at = parent + 1; at < parent + nodes[parent].size; at += nodes[at].size) {
    children.push_back(at);
  }
  return children;
}

/// Pairs of places in two sequences, ascending in both: the longest such list (by patience sorting).
using pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

pairs longest_ascending(const pairs& candidates) {  // ascending in the second
  std::vector<std::uint32_t> tails;                 // candidate that ends the best list of each length
  std::vector<std::uint32_t> before(candidates.size(), no_node);
  for (std::uint32_t i = 0; i < candidates.size(); ++i) {
    const auto at = std::lower_bound(tails.begin(), tails.end(), i, [&](std::uint32_t a, std::uint32_t b) {
      return candidates[a].first < candidates[b].first;
    });
    if (at != tails.begin()) {
      before[i] = *(at - 1);
    }
    if (at == tails.end()) {
      tails.push_back(i);
    } else {
      *at = i;
    }
  }
  pairs chosen;
  for (auto i = tails.empty() ? no_node : tails.back(); i != no_node; i = before[i]) {
    chosen.push_back(candidates[i]);
  }
  std::reverse(chosen.begin(), chosen.end());
  return chosen;
}

class matcher {
public:
  matcher(const syntax& earlier, const syntax& later) : earlier_(earlier), later_(later) {
    result_.earlier.assign(later.nodes().size(), no_node);
    result_.kept.assign(earlier.nodes().size(), false);
  }

  syntax_match run() {
    open_.emplace_back(0, 0);
    while (!open_.empty()) {
      const auto [old, now] = open_.back();
      open_.pop_back();
      if (equal(old, now)) {
        for (std::uint32_t i = 0; i < later_.nodes()[now].size; ++i) {
          pair(old + i, now + i);
        }
      } else {
        pair(old, now);
        match_children(children_of(earlier_.nodes(), old), children_of(later_.nodes(), now));
      }
    }
    return std::move(result_);
  }

private:
  [[nodiscard]] bool equal(std::uint32_t old, std::uint32_t now) const {
    const auto& a = earlier_.nodes()[old];
    const auto& b = later_.nodes()[now];
    return a.hash == b.hash && a.size == b.size && a.kind == b.kind && a.length == b.length;
  }
  [[nodiscard]] bool alike(std::uint32_t old, std::uint32_t now) const {
    const auto& a = earlier_.nodes()[old];
    const auto& b = later_.nodes()[now];
    return a.kind == b.kind && a.role == b.role && earlier_.name(old) == later_.name(now);
  }
  void pair(std::uint32_t old, std::uint32_t now) {
    result_.earlier[now] = old;
    result_.kept[old] = true;
  }

  void match_children(const positions& old, const positions& now) {
    std::size_t begin = 0;
    auto old_end = old.size();
    auto now_end = now.size();
    while (begin < old_end && begin < now_end && equal(old[begin], now[begin])) {
      open_.emplace_back(old[begin], now[begin]);
      ++begin;
    }
    while (old_end > begin && now_end > begin && equal(old[old_end - 1], now[now_end - 1])) {
      open_.emplace_back(old[--old_end], now[--now_end]);
    }
    // In between: each child's next equal one that is not taken, and of those pairs the longest list in order.
    std::unordered_multimap<std::uint64_t, std::uint32_t> by_hash;
    for (auto i = old_end; i-- > begin;) {
      by_hash.emplace(earlier_.nodes()[old[i]].hash, static_cast<std::uint32_t>(i));
    }
    pairs candidates;
    for (auto i = begin; i < now_end && !by_hash.empty(); ++i) {
      const auto found = by_hash.find(later_.nodes()[now[i]].hash);
      if (found != by_hash.end() && equal(old[found->second], now[i])) {
        candidates.emplace_back(found->second, static_cast<std::uint32_t>(i));
        by_hash.erase(found);
      }
    }
    auto old_at = begin;
    auto now_at = begin;
    for (const auto& [a, b] : longest_ascending(candidates)) {
      match_gap(old, old_at, a, now, now_at, b);
      open_.emplace_back(old[a], now[b]);
      old_at = a + 1;
      now_at = b + 1;
    }
    match_gap(old, old_at, old_end, now, now_at, now_end);
  }

  /// Between two equal children: those that are alike, in order. Looks a bounded way ahead, so that its cost is linear.
  void match_gap(const positions& old, std::size_t old_at, std::size_t old_end, const positions& now,
                 std::size_t now_at, std::size_t now_end) {
    constexpr std::size_t ahead = 64;
    for (; now_at < now_end && old_at < old_end; ++now_at) {
      for (auto i = old_at; i < std::min(old_end, old_at + ahead); ++i) {
        if (alike(old[i], now[now_at])) {
          open_.emplace_back(old[i], now[now_at]);
          old_at = i + 1;
          break;
        }
      }
    }
  }

  const syntax& earlier_;
  const syntax& later_;
  syntax_match result_;
  pairs open_;
};

}  // namespace

void syntax::keep_names_only() {
  std::string names;
  const auto keep = [&](text_slice& name) {
    const auto from = static_cast<std::uint32_t>(names.size());
    names += name.of(*text_);
    name = {from, static_cast<std::uint32_t>(names.size())};
  };
  for (auto& spelling : spellings_) {
    keep(spelling);
  }
  for (auto& node : nodes_) {
    if (node.role == syntax_role::include) {
      keep(node.name);
    } else if (node.role != syntax_role::none) {
      node.name = spellings_[node.spelling];
    } else {
      node.name = {};
    }
  }
  text_ = std::make_shared<const std::string>(std::move(names));
}

syntax_match match_syntax(const syntax& earlier, const syntax& later) { return matcher(earlier, later).run(); }

}  // namespace rhizome
