// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.hpp"

#include <algorithm>
#include <unordered_map>

#include "store/detail/core.hpp"
#include "store/view.hpp"

namespace rhizome {

// --- handles -----------------------------------------------------------------------------------------------------------------

lease::lease(const lease& other) noexcept : core_(other.core_), from_(other.from_) {
  if (core_ == nullptr) return;
  core_->keep();
  std::lock_guard lock(core_->lease_mutex);
  ++core_->leases[from_];
}

lease::~lease() {
  if (core_ == nullptr) return;
  core_->drop_lease(from_);
  detail::core::drop(core_);
}

snapshot::snapshot(const snapshot& other) noexcept : slot_(other.slot_), commit_(other.commit_) {
  if (slot_ != nullptr) slot_->refs.fetch_add(1, std::memory_order_relaxed);  // `other` holds one meanwhile
}

snapshot::~snapshot() {
  // Pairs with itself in the other droppers: who is the last drops the pin when all of them have read.
  if (slot_ == nullptr || slot_->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  detail::core* c = slot_->owner;
  detail::pins::drop(*slot_);
  detail::core::drop(c);
}

// --- the time --------------------------------------------------------------------------------------------------------------

result<void> snapshot::check_time(commit_number t) const {
  if (t > commit_) return fail(errc::invalid_argument, "the commit is later than the snapshot");
  if (t < inside().options.commit_base) return fail(errc::trimmed, "the commit is before the store's first");
  if (t < inside().horizon.load(std::memory_order_relaxed))
    return fail(errc::trimmed, "the history of that commit was trimmed");
  return {};
}

result<lease> snapshot::keep(commit_number t) const {
  if (auto fine = check_time(t); !fine) return tl::unexpected<error>(fine.error());
  if (auto taken = slot_->owner->take_lease(t); !taken) return tl::unexpected<error>(taken.error());
  return lease(slot_->owner, t);
}

vertex snapshot::vertices(commit_number t) const noexcept { return inside().row(std::min(t, commit_)).vertices; }
vertex snapshot::alive() const noexcept { return inside().row(commit_).alive; }

bool snapshot::alive(vertex v, commit_number t) const noexcept {
  t = std::min(t, commit_);
  return v < inside().row(t).vertices && inside().lives[v].alive(t);
}

commit_number snapshot::commit_at(time_us t) const noexcept {
  const detail::core& c = inside();
  // Row 0 is before the first commit. Where the horizon moves on meanwhile, rows before it become zero: a commit that was trimmed is found.
  std::size_t low = c.horizon.load(std::memory_order_relaxed) - c.options.commit_base;
  std::size_t high = commit_ - c.options.commit_base;
  if (low > 0 && t < c.commits[low].time) return static_cast<commit_number>(low - 1) + c.options.commit_base;
  while (low < high) {
    std::size_t middle = (low + high + 1) / 2;
    if (c.commits[middle].time <= t) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return static_cast<commit_number>(low) + c.options.commit_base;
}

result<time_us> snapshot::time_of(commit_number n) const {
  const detail::core& c = inside();
  if (n > commit_) return fail(errc::invalid_argument, "the commit is later than the snapshot");
  if (n <= c.options.commit_base) return fail(errc::invalid_argument, "the commit is before the store's first");
  // Acquire, so that the look at the horizon comes after it. Its partner is no store: the system makes forgotten rows zero, by a call of
  // store::trim that comes after it has moved the horizon on.
  time_us at = std::atomic_ref<time_us>(c.commits[n - c.options.commit_base].time).load(std::memory_order_acquire);
  // A trim moves the horizon on before it forgets rows: what was read before this look at the horizon is the row.
  if (n < c.horizon.load(std::memory_order_relaxed))
    return fail(errc::trimmed, "the history of that commit was trimmed");
  return at;
}

// --- arcs ------------------------------------------------------------------------------------------------------------------

view snapshot::newest(label arcs, direction way) const noexcept {
  const detail::core& c = inside();
  const detail::label_tables* t = arcs < labels_max ? c.tables(arcs) : nullptr;
  return {*this,
          nullptr,
          c.entries(arcs, way),
          c.blocks.base(),
          commit_,
          vertices(),
          t == nullptr ? 0 : t->arcs_at(commit_)};
}

result<view> snapshot::as_of(commit_number t, label arcs, direction way) const {
  if (arcs >= labels_max) return fail(errc::invalid_argument, "the label is not below labels_max");
  if (t == commit_) return newest(arcs, way);
  auto held = keep(t);
  if (!held) return tl::unexpected<error>(held.error());
  const detail::core& c = inside();
  const detail::label_tables* tables = c.tables(arcs);
  return view(*this, std::make_shared<const lease>(std::move(*held)), c.entries(arcs, way), c.blocks.base(), t,
              vertices(t), tables == nullptr ? 0 : tables->arcs_at(t));
}

result<valid_view> snapshot::valid_at(time_us at, label arcs, direction way) const {
  return as_of_valid_at(commit_, at, arcs, way);
}

result<valid_view> snapshot::valid_during(interval window, label arcs, direction way) const {
  return as_of_valid_during(commit_, window, arcs, way);
}

result<valid_view> snapshot::as_of_valid_at(commit_number t, time_us at, label arcs, direction way) const {
  auto base = as_of(t, arcs, way);
  if (!base) return tl::unexpected<error>(base.error());
  if (at == end_of_time) --at;  // nothing ends in the last microsecond: what is true in it has no end
  return valid_view(std::move(*base), {at, at + 1});
}

result<valid_view> snapshot::as_of_valid_during(commit_number t, interval window, label arcs, direction way) const {
  if (window.empty()) return fail(errc::invalid_argument, "the window is empty: `from` has to be before `to`");
  auto base = as_of(t, arcs, way);
  if (!base) return tl::unexpected<error>(base.error());
  return valid_view(std::move(*base), window);
}

std::vector<arc_version> snapshot::history(label arcs, vertex source, vertex target) const {
  std::vector<arc_version> out;
  // In a shard that has not got the source the arc is looked for from its target.
  const bool here = inside().has(source);
  versions_of(arcs, here ? source : target, here ? direction::out : direction::in,
              [&](vertex to, const arc_version& version) {
                if (to == (here ? target : source)) out.push_back(version);
              });
  std::sort(out.begin(), out.end(), [](const arc_version& a, const arc_version& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  return out;
}

std::vector<neighbour_version> snapshot::history_of(vertex v, label arcs, direction way) const {
  std::vector<neighbour_version> out;
  versions_of(arcs, v, way, [&out](vertex neighbour, const arc_version& version) {
    out.push_back({neighbour, version});
  });
  std::sort(out.begin(), out.end(), [](const neighbour_version& a, const neighbour_version& b) {
    if (a.version.begin != b.version.begin) return a.version.begin < b.version.begin;
    if (a.version.end != b.version.end) return a.version.end < b.version.end;
    return a.neighbour < b.neighbour;
  });
  return out;
}

std::uint64_t snapshot::versions(vertex v, label arcs, direction way) const noexcept {
  if (arcs >= labels_max || v >= vertices()) return 0;
  const detail::core& c = inside();
  auto p = detail::placed::of(
      c.entries(arcs, way)[v].where.load(std::memory_order_acquire));  // partner: the writer's release of `where`
  std::uint64_t count = p.count;
  const auto* block = c.blocks.at<detail::block_header>(p.block);
  // Acquire pairs with the release of table::trim, as in versions_of. Batches are few: the writer merges those that are no larger than
  // what comes after them.
  for (detail::ref r = block->history.load(std::memory_order_acquire); r != 0;) {
    const auto& batch = *c.blocks.at<detail::history_batch>(r);
    count += batch.count;
    r = batch.previous.load(std::memory_order_relaxed);
  }
  return count;
}

std::optional<vertex_times> snapshot::times_of(vertex v) const noexcept {
  if (v >= vertices()) return std::nullopt;
  const detail::vertex_life& life = inside().lives[v];
  commit_number born = life.born.load(std::memory_order_relaxed);
  commit_number died = life.died.load(std::memory_order_relaxed);
  if (born == 0 || born > commit_) return std::nullopt;
  return vertex_times{born, died == 0 || died > commit_ ? newest_commit : died};
}

template <class F>
void snapshot::versions_of(label arcs, vertex v, direction way, F&& f) const {
  if (arcs >= labels_max || v >= vertices()) return;
  const detail::core& c = inside();
  const detail::vertex_entry& e = c.entries(arcs, way)[v];
  auto p = detail::placed::of(e.where.load(std::memory_order_acquire));  // partner: the writer's release of `where`
  const auto* block = c.blocks.at<detail::block_header>(p.block);
  auto add = [&](vertex to, commit_number begin, commit_number end, const interval* valid) {
    if (begin > commit_) return;
    f(to, arc_version{begin, end > commit_ ? newest_commit : end, valid == nullptr ? interval{} : *valid});
  };
  // Acquire pairs with the release of table::trim (`where` has those that came with the block): all batches of the chain.
  for (detail::ref r = block->history.load(std::memory_order_acquire); r != 0;) {
    const auto& batch = *c.blocks.at<detail::history_batch>(r);
    for (std::uint32_t i = 0; i < batch.count; ++i) {
      const detail::closed_version& was = batch.versions()[i];
      add(was.target, was.begin, was.end, batch.has_valid != 0 ? batch.valid() + i : nullptr);
    }
    r = batch.previous.load(std::memory_order_relaxed);
  }
  detail::ref valid = block->valid.load(std::memory_order_acquire);  // partner: the release in table::append_valid
  const interval* intervals = valid == 0 ? nullptr : c.blocks.at<detail::valid_column>(valid)->at();
  const commit_number* ends = p.dirty ? detail::ends_of(c.blocks.base(), *block) : nullptr;
  for (std::uint32_t i = 0; i < p.count; ++i) {
    add(block->targets()[i], block->begins()[i], ends == nullptr ? newest_commit : detail::load_end(ends[i]),
        intervals == nullptr ? nullptr : intervals + i);
  }
}

// --- properties ------------------------------------------------------------------------------------------------------------

result<value> snapshot::property(vertex v, property_key key, std::optional<commit_number> t,
                                 std::optional<time_us> at) const {
  if (key >= property_keys_max) return fail(errc::invalid_argument, "the property key is not below property_keys_max");
  commit_number when = t.value_or(commit_);
  std::optional<lease> held;
  if (when != commit_) {
    auto kept = keep(when);
    if (!kept) return tl::unexpected<error>(kept.error());
    held = std::move(*kept);
  }
  if (!alive(v, when)) return fail(errc::not_found, "the vertex is not there at that time");
  return inside().props.at(v, key, when, at);
}

result<value> snapshot::property(label arcs, vertex source, vertex target, property_key key,
                                 std::optional<commit_number> t) const {
  if (arcs >= labels_max) return fail(errc::invalid_argument, "the label is not below labels_max");
  if (key >= property_keys_max) return fail(errc::invalid_argument, "the property key is not below property_keys_max");
  commit_number when = t.value_or(commit_);
  auto graph = as_of(when, arcs);
  if (!graph) return tl::unexpected<error>(graph.error());
  const detail::core& c = inside();
  // In a shard that has not got the source the arc, which is symmetric, is looked for from its target.
  auto [from, to] = c.has(source) ? std::pair{source, target} : std::pair{target, source};
  if (from >= graph->vertices() || (c.has(to) && to >= graph->vertices()) || !graph->contains(from, to))
    return fail(errc::not_found, "the arc is not there at that time");
  auto [s, d] = detail::arc_key(inside(), source, target);
  return inside().props.at(arcs, s, d, key, when);
}

value snapshot::property_of_shown(label arcs, vertex source, vertex target, property_key key, commit_number t) const {
  auto [s, d] = detail::arc_key(inside(), source, target);
  return inside().props.at(arcs, s, d, key, t);
}

bool snapshot::newest_answers(vertex v, property_key key, commit_number t, std::optional<time_us> at) const noexcept {
  return key >= property_keys_max || v >= vertices() || inside().props.newest_answers(v, key, t, at);
}

std::vector<property_version> snapshot::history(vertex v, property_key key) const {
  if (key >= property_keys_max || v >= vertices()) return {};
  return inside().props.history(v, key, commit_);
}

std::vector<property_version> snapshot::history(label arcs, vertex source, vertex target, property_key key) const {
  if (arcs >= labels_max || key >= property_keys_max) return {};
  auto [s, t] = detail::arc_key(inside(), source, target);
  return inside().props.history(arcs, s, t, key, commit_);
}

// --- the log ---------------------------------------------------------------------------------------------------------------

result<log_slice> snapshot::log(commit_number after, commit_number to) const {
  if (after > to || to > commit_)
    return fail(errc::invalid_argument, "the commits are not in order, or later than the snapshot");
  auto held = keep(after);
  if (!held) return tl::unexpected<error>(held.error());
  const detail::core& c = inside();
  std::size_t from = c.row(after).log_end;
  return log_slice(std::span<const log_entry>(c.log.data() + from, c.row(to).log_end - from), std::move(*held));
}

namespace {

struct arc_name {
  label arc_label;
  vertex source, target;
  friend bool operator==(const arc_name&, const arc_name&) = default;
};
struct arc_name_hash {
  std::size_t operator()(const arc_name& a) const noexcept {
    std::uint64_t mixed =
        ((std::uint64_t{a.source} << 32) | a.target) + std::uint64_t{a.arc_label} * 0x9e37'79b9'7f4a'7c55ULL;
    return static_cast<std::size_t>((mixed * 0xff51'afd7'ed55'8ccdULL) >> 20);
  }
};
/// What happened to one thing between the two times: how often it came less how often it went, and where it was seen first.
struct balance {
  std::size_t first = 0;
  std::int64_t came = 0;
  bool touched_before = false;  // it was there before its first change
};

}  // namespace

result<std::vector<difference>> snapshot::diff(commit_number from, commit_number to) const {
  auto slice = log(std::min(from, to), std::max(from, to));
  if (!slice) return tl::unexpected<error>(slice.error());
  bool back = to < from;
  std::unordered_map<arc_name, balance, arc_name_hash> seen;
  std::vector<arc_name> order;
  auto note = [&](const arc_name& name, std::int64_t came) {
    auto [it, fresh] = seen.try_emplace(name);
    if (fresh) {
      it->second.first = order.size();
      it->second.touched_before = came <= 0;
      order.push_back(name);
    }
    it->second.came += came;
  };
  for (const log_entry& e : slice->entries()) {
    auto [s, t] = detail::arc_key(inside(), e.source, e.target);
    switch (e.kind()) {
      case change_kind::add_arc: note({e.arc_label, s, t}, 1); break;
      case change_kind::remove_arc: note({e.arc_label, s, t}, -1); break;
      case change_kind::set_valid: note({e.arc_label, s, t}, 0); break;
      case change_kind::add_vertex: note({labels_max, e.source, no_vertex}, 1); break;
      case change_kind::remove_vertex: note({labels_max, e.source, no_vertex}, -1); break;
      default: break;
    }
  }
  std::vector<difference> out;
  for (const arc_name& name : order) {
    const balance& b = seen.at(name);
    bool is_vertex = name.arc_label == labels_max;
    difference d{change_kind::set_valid, is_vertex ? label{0} : name.arc_label, name.source, name.target};
    std::int64_t came = back ? -b.came : b.came;
    if (came != 0) {
      d.kind = is_vertex ? (came > 0 ? change_kind::add_vertex : change_kind::remove_vertex)
                         : (came > 0 ? change_kind::add_arc : change_kind::remove_arc);
      for (std::int64_t i = came < 0 ? -came : came; i > 0; --i) out.push_back(d);
    } else if (!is_vertex && b.touched_before && inside().options.unique_arcs) {
      if (valid_of(name.arc_label, name.source, name.target, from) !=
          valid_of(name.arc_label, name.source, name.target, to))
        out.push_back(d);
    }
  }
  return out;
}

interval snapshot::valid_of(label arcs, vertex source, vertex target, commit_number t) const {
  for (const arc_version& v : history(arcs, source, target))
    if (v.begin <= t && t < v.end) return v.valid;
  return {};
}

std::optional<label> snapshot::find_label(std::string_view name) const {
  return inside().label_names.find(name, commit_);
}
std::optional<property_key> snapshot::find_property(std::string_view name) const {
  return inside().property_names.find(name, commit_);
}

}  // namespace rhizome
