// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstring>

#include "store/detail/core.hpp"
#include "store/detail/image_format.hpp"
#include "store/image.hpp"

namespace rhizome {
namespace detail {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const T& thing) noexcept {
  return std::as_bytes(std::span(&thing, 1));
}

struct version {
  vertex target;
  commit_number begin;
  commit_number end;
  interval valid;
};

// Writes one store's image as of one commit, t.
class saver {
public:
  saver(const core& c, commit_number t, image_sink& to) : c_(c), t_(t), to_(to) {}

  result<void> save() {
    const commit_row& row = c_.row(t_);
    state_.commit = t_;
    state_.commit_base = c_.options.commit_base;
    state_.horizon = c_.horizon.load(std::memory_order_relaxed);  // its row came with the snapshot; the lease keeps it
    state_.vertices = row.vertices;
    state_.alive = row.alive;
    state_.log_begin = c_.row(state_.horizon).log_end;
    state_.log_end = row.log_end;
    for (auto step : {&saver::lives, &saver::commits, &saver::log, &saver::all_names, &saver::tables, &saver::props}) {
      if (auto done = (this->*step)(); !done) return done;
    }
    if (auto done = to_.begin(state_section); !done) return done;
    return to_.write(bytes_of(state_));
  }

private:
  result<void> lives();
  result<void> commits();
  result<void> log();
  result<void> all_names();
  result<void> names_of(const names& from, std::uint32_t of_property);
  result<void> tables();
  result<void> table_of(label l, direction way);
  result<void> counts(label l);
  result<void> put_vertex(vertex v, const vertex_entry& from);
  void collect(const block_header& block, const placed& p);
  result<void> put_collected(image_entry& entry);
  result<void> put_history();
  result<void> props();
  result<void> chain(image_property like, ref head);
  // A part of the blocks, followed by zeros up to `room` bytes.
  result<void> put(std::span<const std::byte> bytes, std::size_t room);
  [[nodiscard]] ref here() const noexcept { return static_cast<ref>((chunk_bytes + offset_) / unit_bytes); }

  const core& c_;
  const commit_number t_;
  image_sink& to_;
  image_state state_;
  std::uint64_t offset_ = 0;  // in the blocks of all sections
  std::vector<image_entry> entries_;
  std::vector<version> living_, closed_;
  std::vector<std::byte> scratch_;
  std::vector<const property_record*> chain_;
};

result<void> saver::lives() {
  if (auto done = to_.begin(lives_section); !done) return done;
  std::array<std::array<commit_number, 2>, 1024> some;
  for (vertex v = 0; v < state_.vertices;) {
    std::size_t n = 0;
    for (; n < some.size() && v < state_.vertices; ++n, ++v) {
      const commit_number born = c_.lives[v].born.load(std::memory_order_relaxed);
      const commit_number died = c_.lives[v].died.load(std::memory_order_relaxed);
      some[n] = {born > t_ ? 0 : born, died > t_ ? 0 : died};
    }
    if (auto done = to_.write(std::as_bytes(std::span(some).first(n))); !done) return done;
  }
  return {};
}

result<void> saver::commits() {
  if (auto done = to_.begin(commits_section); !done) return done;
  return to_.write(std::as_bytes(std::span(c_.commits.data(), t_ - state_.commit_base + 1)));
}

result<void> saver::log() {
  if (auto done = to_.begin(log_section); !done) return done;
  const std::uint64_t begin = log_section_begin(state_.log_begin);
  return to_.write(std::as_bytes(std::span(c_.log.data() + begin, state_.log_end - begin)));
}

result<void> saver::all_names() {
  if (auto done = to_.begin(names_section); !done) return done;
  if (auto done = names_of(c_.label_names, 0); !done) return done;
  return names_of(c_.property_names, 1);
}

result<void> saver::names_of(const names& from, std::uint32_t of_property) {
  for (const auto& [number, entry] : from.list(t_)) {
    const image_name head{of_property, number, entry.since, static_cast<std::uint32_t>(entry.name.size())};
    if (auto done = to_.write(bytes_of(head)); !done) return done;
    if (auto done = to_.write(std::as_bytes(std::span(entry.name))); !done) return done;
  }
  return {};
}

// --- arcs --------------------------------------------------------------------------------------------------------------------

result<void> saver::tables() {
  for (std::size_t l = 0; l < labels_max; ++l) {
    const auto arcs = static_cast<label>(l);
    if (c_.tables(arcs) == nullptr) continue;
    if (auto done = table_of(arcs, direction::out); !done) return done;
    if (!c_.symmetric()) {
      if (auto done = table_of(arcs, direction::in); !done) return done;
    }
    if (auto done = counts(arcs); !done) return done;
  }
  state_.block_bytes = offset_;
  return {};
}

result<void> saver::counts(label l) {
  const label_tables& from = *c_.tables(l);
  const arcs_row* const rows = from.counts.data();
  const std::size_t at_horizon = from.rows_to(state_.horizon);  // those before its last one may be trimmed meanwhile
  const arcs_row* const first = rows + (at_horizon == 0 ? 0 : at_horizon - 1);
  if (auto done = to_.begin(counts_section(l)); !done) return done;
  return to_.write(std::as_bytes(std::span(first, rows + from.rows_to(t_))));
}

result<void> saver::table_of(label l, direction way) {
  if (auto done = to_.begin(blocks_section(l, way)); !done) return done;
  const vertex_entry* const from = c_.entries(l, way);
  entries_.assign(state_.vertices, {});
  for (vertex v = 0; v < state_.vertices; ++v) {
    if (auto done = put_vertex(v, from[v]); !done) return done;
  }
  offset_ = round_up(offset_, image_page);  // where the next section is placed
  if (auto done = to_.begin(entries_section(l, way)); !done) return done;
  return to_.write(std::as_bytes(std::span(entries_)));
}

result<void> saver::put(std::span<const std::byte> bytes, std::size_t room) {
  offset_ += room;
  if (chunk_bytes + offset_ > std::uint64_t{0xffff'ffff} * unit_bytes) {
    return fail(errc::limit, "the image is longer than references reach");
  }
  if (auto done = to_.write(bytes); !done) return done;
  static constexpr std::array<std::byte, 4096> zeros{};
  for (std::size_t left = room - bytes.size(); left > 0;) {
    const std::size_t part = std::min(left, zeros.size());
    if (auto done = to_.write(std::span(zeros).first(part)); !done) return done;
    left -= part;
  }
  return {};
}

// The writer may change the entry meanwhile: the block that it led to is kept by the snapshot's pin, and what came or ended in it
// after t is told by its number.
result<void> saver::put_vertex(vertex v, const vertex_entry& from) {
  const placed p = placed::of(from.where.load(std::memory_order_acquire));  // partner: the writer's release of `where`
  if (p.block == 0) return {};
  living_.clear();
  closed_.clear();
  collect(*c_.blocks.at<block_header>(p.block), p);
  if (living_.empty() && closed_.empty()) return {};
  return put_collected(entries_[v]);
}

void saver::collect(const block_header& block, const placed& p) {
  const ref valid = block.valid.load(std::memory_order_acquire);  // partner: the release in table::append_valid
  const interval* const intervals = valid == 0 ? nullptr : c_.blocks.at<valid_column>(valid)->at();
  const commit_number* const ends = p.dirty ? ends_of(c_.blocks.base(), block) : nullptr;
  const auto take = [&](vertex target, commit_number begin, commit_number end, const interval* when) {
    if (begin > t_ || end <= state_.horizon) return;
    (end > t_ ? living_ : closed_).push_back({target, begin, end, when == nullptr ? interval{} : *when});
  };
  for (std::uint32_t i = 0; i < p.count; ++i) {
    take(block.targets()[i], block.begins()[i], ends == nullptr ? newest_commit : load_end(ends[i]),
         intervals == nullptr ? nullptr : intervals + i);
  }
  const std::size_t in_block = living_.size();
  // Acquire pairs with the release of table::trim (`where` has those that came with the block): all batches of the chain.
  for (ref r = block.history.load(std::memory_order_acquire); r != 0;) {
    const auto& batch = *c_.blocks.at<history_batch>(r);
    if (batch.latest_end <= state_.horizon) break;
    for (std::uint32_t i = 0; i < batch.count; ++i) {
      const closed_version& was = batch.versions()[i];
      take(was.target, was.begin, was.end, batch.has_valid != 0 ? batch.valid() + i : nullptr);
    }
    r = batch.previous.load(std::memory_order_relaxed);
  }
  if (living_.size() > in_block) {  // what ended after t lives again
    std::stable_sort(living_.begin(), living_.end(),
                     [](const version& a, const version& b) { return a.begin < b.begin; });
  }
  std::stable_sort(closed_.begin(), closed_.end(), [](const version& a, const version& b) { return a.end < b.end; });
}

// {block}{valid column}{history}: each as long as the arena will take it to be when it is freed.
result<void> saver::put_collected(image_entry& entry) {
  const auto count = static_cast<std::uint32_t>(living_.size());
  const std::uint32_t capacity = table::slack(count);
  const bool timed = std::any_of(living_.begin(), living_.end(), [](const version& x) { return !x.valid.always(); });
  const std::size_t block_room = block_bytes(capacity);
  const std::size_t valid_room = timed ? arena::size_class(valid_column::bytes(capacity)) : 0;
  const ref block_at = here();
  const auto valid_at = static_cast<ref>(block_at + block_room / unit_bytes);

  scratch_.assign(block_room, std::byte{0});
  std::array<std::uint32_t, 4> head{capacity, 0, 0, 0};  // as block_header: ends, history, valid
  if (!closed_.empty()) head[2] = static_cast<ref>(valid_at + valid_room / unit_bytes);
  if (timed) head[3] = valid_at;
  std::memcpy(scratch_.data(), head.data(), sizeof head);
  auto* const targets = reinterpret_cast<vertex*>(scratch_.data() + sizeof(block_header));
  for (std::uint32_t i = 0; i < count; ++i) {
    targets[i] = living_[i].target;
    targets[capacity + i] = living_[i].begin;
    entry.changed = std::max(entry.changed, living_[i].begin);
  }
  for (const version& was : closed_) entry.changed = std::max(entry.changed, was.end);
  entry.where = placed{block_at, count, false}.word();
  entry.capacity = capacity;
  if (auto done = put(scratch_, block_room); !done) return done;
  state_.newest_bytes += block_room;

  if (timed) {
    scratch_.assign(valid_column::bytes(capacity), std::byte{0});
    std::array<time_us, 4> bounds{end_of_time, beginning_of_time, end_of_time, beginning_of_time};
    auto* const intervals = reinterpret_cast<interval*>(scratch_.data() + sizeof bounds);
    for (std::uint32_t i = 0; i < count; ++i) {
      const interval& when = intervals[i] = living_[i].valid;
      bounds = {std::min(bounds[0], when.from), std::max(bounds[1], when.from), std::min(bounds[2], when.to),
                std::max(bounds[3], when.to)};
    }
    std::memcpy(scratch_.data(), bounds.data(), sizeof bounds);
    if (auto done = put(scratch_, valid_room); !done) return done;
    state_.valid_bytes += valid_room;
  }
  return closed_.empty() ? result<void>{} : put_history();
}

result<void> saver::put_history() {
  const std::size_t count = closed_.size();
  const bool timed = std::any_of(closed_.begin(), closed_.end(), [](const version& x) { return !x.valid.always(); });
  const std::size_t bytes = history_batch::bytes(count, timed);
  scratch_.assign(bytes, std::byte{0});
  const std::array<std::uint32_t, 4> head{0, static_cast<std::uint32_t>(count), closed_.back().end, timed ? 1U : 0U};
  std::memcpy(scratch_.data(), head.data(), sizeof head);
  auto* const versions = reinterpret_cast<closed_version*>(scratch_.data() + sizeof(history_batch));
  for (std::size_t i = 0; i < count; ++i) versions[i] = {closed_[i].target, closed_[i].begin, closed_[i].end};
  if (timed) {
    auto* const intervals =
        reinterpret_cast<interval*>(scratch_.data() + sizeof(history_batch) + history_batch::versions_bytes(count));
    for (std::size_t i = 0; i < count; ++i) intervals[i] = closed_[i].valid;
  }
  const std::size_t room = arena::size_class(bytes);
  state_.history_bytes += room;
  return put(scratch_, room);
}

// --- properties --------------------------------------------------------------------------------------------------------------

result<void> saver::props() {
  if (auto done = to_.begin(properties_section); !done) return done;
  for (std::uint32_t key = 0; key < property_keys_max; ++key) {
    image_property like;
    like.key = static_cast<property_key>(key);
    if (c_.props.column(like.key) == nullptr) continue;
    for (like.source = 0; like.source < state_.vertices; ++like.source) {
      if (auto done = chain(like, c_.props.head(like.source, like.key)); !done) return done;
    }
  }
  for (std::uint32_t l = 0; l < labels_max; ++l) {
    image_property like;
    like.of_arc = 1;
    like.arc_label = static_cast<label>(l);
    for (const arc_column* column = c_.props.columns(like.arc_label); column != nullptr;
         column = column->next.load(std::memory_order_relaxed)) {
      const ref table = column->table.load(std::memory_order_acquire);  // partner: the release in properties::grow
      if (table == 0) continue;
      const auto& slots = *c_.blocks.at<arc_column::slots>(table);
      like.key = column->key;
      for (std::uint64_t i = 0; i <= slots.mask; ++i) {
        const std::uint64_t key =
            slots.at()[i].key.load(std::memory_order_acquire);  // partner: properties::place's release
        if (key == 0) continue;
        like.source = static_cast<vertex>((key - 1) >> 32);
        like.target = static_cast<vertex>(key - 1);
        // The head's acquire pairs with the releases of properties::set and end: the record and all versions before it.
        if (auto done = chain(like, slots.at()[i].head.load(std::memory_order_acquire)); !done) return done;
      }
    }
  }
  return {};
}

result<void> saver::chain(image_property like, ref head) {
  chain_.clear();
  for (ref r = head; r != 0; r = chain_.back()->previous.load(std::memory_order_relaxed)) {
    chain_.push_back(c_.blocks.at<property_record>(r));
  }
  for (auto record = chain_.rbegin(); record != chain_.rend(); ++record) {
    const property_record& was = **record;
    if (was.begin > t_) break;
    like.begin = was.begin;
    like.kind = was.kind;
    like.valid = was.valid();
    like.length = was.length;
    if (auto done = to_.write(bytes_of(like)); !done) return done;
    if (auto done = to_.write({was.payload(), was.length}); !done) return done;
  }
  return {};
}

}  // namespace
}  // namespace detail

result<void> save(const snapshot& from, image_sink& to) {
  const detail::core& c = from.inside();
  // So that nothing is trimmed while it is written.
  result<lease> held = fail(errc::trimmed, "");
  while (!held) {
    held = from.keep(c.horizon.load(std::memory_order_relaxed));  // keep decides under a lock
    if (!held && held.error().code != errc::trimmed) return tl::unexpected(held.error());
  }
  return detail::saver(c, from.commit(), to).save();
}

}  // namespace rhizome
