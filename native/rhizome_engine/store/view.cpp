// SPDX-License-Identifier: Apache-2.0
#include "store/view.hpp"

#include <algorithm>
#include <new>

#include "store/detail/core.hpp"

namespace rhizome {

std::uint32_t view::slow_degree(vertex v) const noexcept {
  const detail::vertex_entry& e = entries_[v];
  auto p = detail::placed::of(e.where.load(std::memory_order_acquire));  // partner: the writer's release of `where`
  const auto* block = at<detail::block_header>(p.block);
  if (p.dirty) {
    const auto* ends = at<detail::ends_head>(block->ends.load(std::memory_order_relaxed));
    std::uint32_t dead = ends->dead.load(std::memory_order_acquire);  // partner: the release in table::mark
    // A death later than t that was counted has stored `changed` before.
    if (e.changed.load(std::memory_order_relaxed) <= at_) return p.count - dead;
  }
  std::uint32_t n = 0;
  walk(look(v), [&n](vertex, commit_number, const interval*) {
    ++n;
    return true;
  });
  return n;
}

std::span<const vertex> view::neighbours(vertex v, std::vector<vertex>& room) const {
  if (auto whole = contiguous(v)) return *whole;
  room.clear();
  for_each(v, [&room](vertex w) { room.push_back(w); });
  return room;
}

std::uint32_t view::count_of(vertex v, vertex target) const noexcept {
  constexpr std::uint32_t step = 16;
  detail::looked l = look(v);
  const vertex* targets = l.block->targets();
  const commit_number* ends = l.dirty ? detail::ends_of(base_, *l.block) : nullptr;
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < l.count; i += step) {
    std::uint32_t length = std::min(step, l.count - i);
    if (length == step) {
      std::uint32_t hit = 0;
      for (std::uint32_t k = 0; k < step; ++k) hit |= targets[i + k] == target ? 1U : 0U;  // vectorised
      if (hit == 0) continue;
    }
    for (std::uint32_t k = i; k < i + length; ++k)
      n += targets[k] == target && (ends == nullptr || detail::load_end(ends[k]) > at_) ? 1 : 0;
  }
  if (!l.past) return n;
  l.count = 0;  // what is left is the history
  walk(l, [&n, target](vertex w, commit_number, const interval*) {
    n += w == target ? 1 : 0;
    return true;
  });
  return n;
}

prepared_view view::prepare() const {
  constexpr vertex ahead = 16;
  constexpr std::size_t unit = detail::unit_bytes / sizeof(vertex);
  auto made = std::make_shared<prepared_view::tables>();
  made->places.resize(std::size_t{vertices_} + 1);
  // In huge pages, and never moved: after many changes these are most of the arcs.
  detail::growing_array<vertex>& lists = made->lists;
  const detail::core& c = snapshot_.inside();
  const std::size_t places = unit * (std::size_t{vertices_} + 1);
  const bool huge = (places + static_cast<std::size_t>(arcs_)) * sizeof(vertex) >= detail::chunk_bytes;
  // arcs_ of a shard are those that leave its vertices, whatever arrives there: of these there are no more than blocks can hold.
  std::size_t listed = static_cast<std::size_t>(arcs_);
  if (c.options.shared != nullptr) listed = c.blocks.reserved() / (sizeof(vertex) + sizeof(commit_number));
  if (!lists.reserve(places + listed, {huge, -1})) throw std::bad_alloc();
  std::size_t used = unit;
  auto add = [&lists, &used](vertex w) {
    if (used >= lists.usable() && !lists.ensure(used + 1)) throw std::bad_alloc();
    lists[used++] = w;
  };
  for (vertex v = 0; v < vertices_; ++v) {
    if (v + ahead < vertices_ && entries_[v + ahead].changed.load(std::memory_order_relaxed) > at_) prefetch(v + ahead);
    detail::looked l = look(v);
    detail::placed place;
    if (l.dirty || (l.past && history_after(l))) {
      std::size_t from = used;
      for_each_of(l, add);
      place = {static_cast<detail::ref>(from / unit - 1), static_cast<std::uint32_t>(used - from), true};
      used = detail::round_up(used, unit);
    } else {
      auto offset = reinterpret_cast<const std::byte*>(l.block) - base_;
      place = {static_cast<detail::ref>(static_cast<std::size_t>(offset) / detail::unit_bytes), l.count, false};
    }
    made->places[v] = place.word();
  }
  return {*this, std::move(made)};
}

bool view::history_after(const detail::looked& l) const noexcept {
  // Acquire pairs with the release of table::trim (`where` has those that came with the block): the batch.
  detail::ref r = l.block->history.load(std::memory_order_acquire);
  return r != 0 && at<detail::history_batch>(r)->latest_end > at_;
}

valid_view::valid_view(view base, interval window)
    : base_(std::move(base)), window_(window), counted_(std::make_shared<std::atomic<std::uint64_t>>(0)) {}

std::uint64_t valid_view::arcs() const noexcept {
  std::uint64_t known = counted_->load(std::memory_order_relaxed);
  if (known != 0) return known - 1;
  std::uint64_t n = 0;
  for (vertex v = 0; v < vertices(); ++v) n += degree(v);
  counted_->store(n + 1, std::memory_order_relaxed);  // all who count come to the same
  return n;
}

}  // namespace rhizome
