// SPDX-License-Identifier: Apache-2.0
//
// Making a store of an image. The checksums of its file hold, which says that somebody wrote these bytes, not that they are an image: so
// each number is looked at before anything follows it. Blocks have to lie exactly where `save` would have put them, one after the
// other, so that no two can share bytes.
#include <algorithm>
#include <cstring>

#include "store/detail/core.hpp"
#include "store/detail/image_format.hpp"
#include "store/image.hpp"

namespace rhizome {
namespace detail {
namespace {

template <class T>
std::span<const T> entries_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

// No image is as long, and numbers up to it can be added and multiplied without a second thought.
constexpr std::uint64_t count_max = std::uint64_t{1} << 48;

result<void> wrong(const char* what) { return fail(errc::corrupt, std::string("the image can not be one: ") + what); }
result<void> no_memory() { return fail(errc::out_of_memory, "the system has no memory for the image"); }

class loader {
public:
  loader(core& c, const image_source& from, const image_state& state) : c_(c), from_(from), state_(state) {}

  result<void> load() {
    c_.next_vertex.store(state_.vertices, std::memory_order_relaxed);
    c_.horizon.store(state_.horizon, std::memory_order_relaxed);  // nobody else has the store yet
    for (auto step : {&loader::lives, &loader::commits, &loader::log, &loader::blocks, &loader::tables,
                      &loader::names_again, &loader::properties_again}) {
      if (auto done = (this->*step)(); !done) return done;
    }
    c_.vertices = state_.vertices;
    c_.alive = state_.alive;
    c_.log_begin = state_.log_begin;
    c_.rows_begin = std::size_t{state_.horizon} - state_.commit_base;
    c_.log_size = state_.log_end;
    c_.last = state_.commit;
    c_.visible.store(state_.commit, std::memory_order_seq_cst);
    return {};
  }

private:
  /// Whether an arc may end there: at a vertex of the store or, in a shard, at one of another shard.
  [[nodiscard]] bool end_of_arc(vertex v) const { return v < state_.vertices || (!c_.has(v) && c_.may_end_at(v)); }
  /// Whether it was there at n, if it is one of the store's: whoever reads the graph of a time has no place for vertices that came later.
  [[nodiscard]] bool was_there(vertex v, commit_number n) const {
    return v >= state_.vertices || c_.lives[v].born.load(std::memory_order_relaxed) - 1U < n;  // 0: never
  }
  result<void> lives();
  result<void> commits();
  result<void> log();
  result<void> check_log() const;
  result<void> blocks();
  result<void> tables();
  result<void> table_of(label l, direction way, std::uint64_t& arcs);
  result<void> counts(label l, std::uint64_t arcs);
  const char* check_vertex(const vertex_entry& entry, std::uint64_t end);
  const char* check_valid(const block_header& block, std::uint32_t count, std::uint64_t end);
  const char* check_history(const block_header& block, commit_number changed, std::uint64_t end);
  result<void> names_again();
  result<void> properties_again();
  result<void> property(const image_property& was, std::span<const std::byte> payload);

  /// Places a section over an array that has room for it.
  result<void> place(image_section what, void* at, std::size_t entries) {
    return entries == 0 ? result<void>{} : from_.place(what, at);
  }
  [[nodiscard]] bool has(image_section what, std::uint64_t entries) const noexcept {
    return from_.section(what).size() / what.entry_bytes == entries;
  }
  [[nodiscard]] std::uint64_t offset_of(ref r) const noexcept { return std::uint64_t{r} * unit_bytes - chunk_bytes; }

  core& c_;
  const image_source& from_;
  const image_state& state_;
  std::uint64_t offset_ = 0;                            // of the blocks checked so far, as in saver
  std::uint64_t newest_ = 0, history_ = 0, valid_ = 0;  // of these
};

result<void> loader::lives() {
  if (!has(lives_section, state_.vertices)) return wrong("lives are missing");
  if (!c_.grow_tables()) return no_memory();
  if (auto done = place(lives_section, c_.lives.data(), state_.vertices); !done) return done;
  vertex alive = 0;
  for (vertex v = 0; v < state_.vertices; ++v) {
    const commit_number born = c_.lives[v].born.load(std::memory_order_relaxed);
    const commit_number died = c_.lives[v].died.load(std::memory_order_relaxed);
    if (born > state_.commit || died > state_.commit || (died != 0 && (born == 0 || died < born))) {
      return wrong("a vertex's life");
    }
    if (born != 0 && died == 0) ++alive;
    c_.last_removal = std::max(c_.last_removal, died);
  }
  return alive == state_.alive ? result<void>{} : wrong("the number of vertices");
}

result<void> loader::commits() {
  const std::uint64_t count = std::uint64_t{state_.commit} - state_.commit_base + 1;
  if (!has(commits_section, count)) return wrong("commits are missing");
  if (!c_.commits.ensure(count)) return no_memory();
  if (auto done = place(commits_section, c_.commits.data(), count); !done) return done;
  const std::uint64_t first = std::uint64_t{state_.horizon} - state_.commit_base;  // nobody reads those before it
  const commit_row* before = &c_.commits[first];
  for (std::uint64_t i = first + 1; i < count; before = &c_.commits[i++]) {
    const commit_row& row = c_.commits[i];
    if (row.time < before->time || row.log_end < before->log_end || row.vertices < before->vertices) {
      return wrong("commits out of order");
    }
  }
  if (before->log_end != state_.log_end || before->vertices != state_.vertices || before->alive != state_.alive ||
      c_.row(state_.horizon).log_end != state_.log_begin) {
    return wrong("the commit table");
  }
  for (vertex v = 0; v < state_.vertices; ++v) {
    const commit_number born = c_.lives[v].born.load(std::memory_order_relaxed);
    if (born != 0 && v >= c_.row(std::max(born, state_.horizon)).vertices) return wrong("when a vertex came to be");
  }
  return {};
}

result<void> loader::log() {
  const std::uint64_t begin = log_section_begin(state_.log_begin);
  if (!has(log_section, state_.log_end - begin)) return wrong("the commit log is missing");
  if (!c_.log.ensure(state_.log_end)) return no_memory();
  if (auto done = place(log_section, c_.log.data() + begin, state_.log_end - begin); !done) return done;
  return check_log();
}

result<void> loader::check_log() const {
  commit_number commit = state_.horizon;
  for (std::uint64_t i = state_.log_begin; i < state_.log_end; ++i) {
    while (i >= c_.row(commit).log_end) ++commit;
    const log_entry& entry = c_.log[i];
    const change_kind kind = entry.kind();
    const bool names_vertex = kind <= change_kind::set_arc_property;
    const bool names_arc = names_vertex && kind != change_kind::add_vertex && kind != change_kind::remove_vertex &&
                           kind != change_kind::set_vertex_property;
    if (entry.commit != commit || kind < change_kind::add_vertex || kind > change_kind::name_property ||
        entry.arc_label >= labels_max || entry.key() >= property_keys_max ||
        (names_vertex && !(names_arc ? end_of_arc(entry.source) : entry.source < state_.vertices)) ||
        (names_arc && !end_of_arc(entry.target))) {
      return wrong("the commit log");
    }
  }
  return {};
}

// --- arcs --------------------------------------------------------------------------------------------------------------------

result<void> loader::blocks() {
  if (state_.block_bytes == 0) return {};
  std::array<std::size_t, memory_uses> used{};
  used[static_cast<std::size_t>(memory_use::newest)] = state_.newest_bytes;
  used[static_cast<std::size_t>(memory_use::history)] = state_.history_bytes;
  used[static_cast<std::size_t>(memory_use::valid)] = state_.valid_bytes;
  const ref first = c_.blocks.adopt(state_.block_bytes, used);
  if (first == 0) return no_memory();
  return std::size_t{first} * unit_bytes == chunk_bytes ? result<void>{} : wrong("the place of its blocks");
}

result<void> loader::tables() {
  for (std::size_t i = 0; i < labels_max; ++i) {
    const auto l = static_cast<label>(i);
    if (from_.section(counts_section(l)).empty() && from_.section(entries_section(l, direction::out)).empty()) continue;
    if (c_.make_tables(l) == nullptr) return no_memory();
    std::uint64_t out = 0;
    if (auto done = table_of(l, direction::out, out); !done) return done;
    if (!c_.symmetric()) {
      std::uint64_t in = 0;
      if (auto done = table_of(l, direction::in, in); !done) return done;
      if (in != out && c_.options.shared == nullptr) return wrong("arcs that have one end");
    }
    if (auto done = counts(l, out); !done) return done;
  }
  if (newest_ != state_.newest_bytes || history_ != state_.history_bytes || valid_ != state_.valid_bytes) {
    return wrong("what its blocks are used for");
  }
  return offset_ == state_.block_bytes ? result<void>{} : wrong("the number of its blocks");
}

result<void> loader::counts(label l, std::uint64_t arcs) {
  label_tables& tables = *c_.tables(l);
  const auto rows = entries_of<arcs_row>(from_.section(counts_section(l)));
  if (!tables.counts.ensure(rows.size() + 1)) return no_memory();
  commit_number before = 0;
  for (const arcs_row& row : rows) {
    if (row.commit <= before || row.commit > state_.commit) return wrong("the numbers of arcs");
    before = row.commit;
  }
  if (arcs != (rows.empty() ? 0 : rows.back().arcs)) return wrong("the number of arcs");
  std::copy(rows.begin(), rows.end(), tables.counts.data());
  tables.arcs = arcs;
  tables.counts_size.store(rows.size(), std::memory_order_relaxed);  // nobody else has the store yet
  return {};
}

result<void> loader::table_of(label l, direction way, std::uint64_t& arcs) {
  table& into = *c_.side(l, way);
  const std::uint64_t bytes = from_.section(blocks_section(l, way)).size();
  if (!has(entries_section(l, way), state_.vertices)) return wrong("entries are missing");
  if (bytes > state_.block_bytes || offset_ > state_.block_bytes - bytes) return wrong("the length of its blocks");
  if (state_.vertices == 0) return {};
  if (auto done = place(entries_section(l, way), &into.entry(0), state_.vertices); !done) return done;
  if (auto done = place(blocks_section(l, way), c_.blocks.base() + chunk_bytes + offset_, bytes); !done) return done;
  const std::uint64_t end = offset_ + bytes;
  std::vector<vertex> with_history;
  bool has_valid = false;
  for (vertex v = 0; v < state_.vertices; ++v) {
    const vertex_entry& entry = into.entry(v);
    if (const char* const why = check_vertex(entry, end)) return wrong(why);
    const placed p = placed::of(entry.where.load(std::memory_order_relaxed));
    if (p.block == 0) continue;
    const auto& block = *c_.blocks.at<block_header>(p.block);
    arcs += p.count;
    if (block.history.load(std::memory_order_relaxed) != 0) with_history.push_back(v);
    has_valid = has_valid || block.valid.load(std::memory_order_relaxed) != 0;
  }
  if (offset_ != end) return wrong("bytes between its blocks");
  offset_ = round_up(offset_, image_page);
  into.adopted(std::move(with_history), has_valid);
  into.set_horizon(state_.horizon);
  return {};
}

// Whether an entry's block is the next one of the section that goes to `end`; then it is behind it. nullptr: it is.
const char* loader::check_vertex(const vertex_entry& entry, std::uint64_t end) {
  const std::uint64_t word = entry.where.load(std::memory_order_relaxed);
  const commit_number changed = entry.changed.load(std::memory_order_relaxed);
  if (word == 0) return changed == 0 && entry.shape == 0 ? nullptr : "an entry without a block";
  const placed p = placed::of(word);
  if (p.dirty || p.block < chunk_bytes / unit_bytes || offset_of(p.block) != offset_) return "the place of a block";
  if (p.count > entry.shape || (entry.shape & apart_bit) != 0 || entry.shape % 2 != 0 || changed > state_.commit)
    return "an entry";
  const std::uint64_t bytes = block_bytes(entry.shape);
  if (bytes > end - offset_) return "the length of a block";
  const auto& block = *c_.blocks.at<block_header>(p.block);
  if (block.shape != entry.shape || block.ends.load(std::memory_order_relaxed) != 0) return "a block's head";
  offset_ += bytes;
  newest_ += bytes;
  commit_number last = 1;
  bool fine = true;
  for (std::uint32_t i = 0; i < p.count; ++i) {
    fine = fine && end_of_arc(block.targets()[i]) && block.begins()[i] >= last &&
           was_there(block.targets()[i], block.begins()[i]);
    last = block.begins()[i];
  }
  if (!fine || (p.count > 0 && last > changed)) return "a block's arcs";
  if (const char* const why = check_valid(block, p.count, end)) return why;
  return check_history(block, changed, end);
}

const char* loader::check_valid(const block_header& block, std::uint32_t count, std::uint64_t end) {
  const ref r = block.valid.load(std::memory_order_relaxed);
  if (r == 0) return nullptr;
  const std::uint64_t bytes = arena::size_class(valid_column::bytes(block.capacity()));
  if (r < chunk_bytes / unit_bytes || offset_of(r) != offset_ || bytes > end - offset_)
    return "the place of valid times";
  offset_ += bytes;
  valid_ += bytes;
  const auto& column = *c_.blocks.at<valid_column>(r);
  const time_us from_min = column.from_min.load(std::memory_order_relaxed);
  const time_us from_max = column.from_max.load(std::memory_order_relaxed);
  const time_us to_min = column.to_min.load(std::memory_order_relaxed);
  const time_us to_max = column.to_max.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < count; ++i) {
    const interval& when = column.at()[i];
    if (when.empty() || when.from < from_min || when.from > from_max || when.to < to_min || when.to > to_max) {
      return "valid times";
    }
  }
  return nullptr;
}

const char* loader::check_history(const block_header& block, commit_number changed, std::uint64_t end) {
  const ref r = block.history.load(std::memory_order_relaxed);
  if (r == 0) return nullptr;
  if (r < chunk_bytes / unit_bytes || offset_of(r) != offset_ || sizeof(history_batch) > end - offset_) {
    return "the place of a history";
  }
  const auto& batch = *c_.blocks.at<history_batch>(r);
  const std::uint64_t bytes = arena::size_class(history_batch::bytes(batch.count, batch.has_valid != 0));
  if (batch.previous.load(std::memory_order_relaxed) != 0 || batch.count == 0 || batch.has_valid > 1 ||
      bytes > end - offset_) {
    return "a history's head";
  }
  offset_ += bytes;
  history_ += bytes;
  commit_number last = state_.horizon + 1;
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    const closed_version& was = batch.versions()[i];
    if (!end_of_arc(was.target) || was.begin == 0 || was.begin > was.end || was.end < last ||
        !was_there(was.target, was.begin)) {
      return "a history";
    }
    if (batch.has_valid != 0 && batch.valid()[i].empty()) return "a history's valid times";
    last = was.end;
  }
  return last == batch.latest_end && last <= changed ? nullptr : "a history's end";
}

// --- names and properties ------------------------------------------------------------------------------------------------------

result<void> loader::names_again() {
  for (auto left = from_.section(names_section); !left.empty();) {
    image_name head;
    if (left.size() < sizeof head) return wrong("a name");
    std::memcpy(&head, left.data(), sizeof head);
    left = left.subspan(sizeof head);
    if (head.of_property > 1 || head.number > 0xFFFF || head.since > state_.commit || head.length == 0 ||
        head.length > left.size()) {
      return wrong("a name's head");
    }
    const std::string_view name(reinterpret_cast<const char*>(left.data()), head.length);
    names& into = head.of_property != 0 ? c_.property_names : c_.label_names;
    if (!into.set(static_cast<std::uint16_t>(head.number), name, head.since))
      return wrong("a name that is there twice");
    left = left.subspan(head.length);
  }
  return {};
}

result<void> loader::properties_again() {
  for (auto left = from_.section(properties_section); !left.empty();) {
    image_property head;
    if (left.size() < sizeof head) return wrong("a property");
    std::memcpy(&head, left.data(), sizeof head);
    left = left.subspan(sizeof head);
    if (head.length > left.size()) return wrong("the length of a property");
    if (auto done = property(head, left.first(static_cast<std::size_t>(head.length))); !done) return done;
    left = left.subspan(static_cast<std::size_t>(head.length));
  }
  return {};
}

result<void> loader::property(const image_property& was, std::span<const std::byte> payload) {
  const bool arc = was.of_arc != 0;
  const bool number = was.kind == 1 || was.kind == 2;
  if (was.of_arc > 1 || was.kind > 3 || was.arc_label >= labels_max || was.key >= property_keys_max || was.begin == 0 ||
      was.begin > state_.commit ||
      !(arc ? end_of_arc(was.source) && end_of_arc(was.target) : was.source < state_.vertices) || was.valid.empty() ||
      (number && payload.size() != 8) || (was.kind == 0 && !payload.empty())) {
    return wrong("a property's head");
  }
  const commit_number before =
      arc ? c_.props.changed(was.arc_label, was.source, was.target, was.key) : c_.props.changed(was.source, was.key);
  if (was.begin < before) return wrong("properties out of order");
  value data;
  if (was.kind == 1) std::memcpy(&data.emplace<std::int64_t>(), payload.data(), 8);
  if (was.kind == 2) std::memcpy(&data.emplace<double>(), payload.data(), 8);
  if (was.kind == 3) data.emplace<std::string>(reinterpret_cast<const char*>(payload.data()), payload.size());
  const bool set = arc ? c_.props.set(was.arc_label, was.source, was.target, was.key, data, was.begin)
                       : c_.props.set(was.source, was.key, data, was.valid, was.begin);
  return set ? result<void>{} : no_memory();
}

}  // namespace
}  // namespace detail

result<store> load(const image_source& from, const store_options& options) {
  const auto bytes = from.section(detail::state_section);
  if (bytes.size() != sizeof(detail::image_state)) return tl::unexpected(detail::wrong("it has no state").error());
  detail::image_state state;
  std::memcpy(&state, bytes.data(), sizeof state);
  if (state.version != detail::image_version) {
    return fail(errc::wrong_version, "the image has format " + std::to_string(state.version) + ", not " +
                                         std::to_string(detail::image_version));
  }
  if (state.commit != from.commit() || state.commit >= newest_commit - 1 || state.commit_base > state.horizon ||
      state.horizon > state.commit || state.log_begin > state.log_end || state.alive > state.vertices ||
      state.log_end > detail::count_max || state.block_bytes > detail::count_max) {
    return tl::unexpected(detail::wrong("its state").error());
  }
  if (state.vertices > options.vertices_max) {
    return fail(errc::limit, "the image has " + std::to_string(state.vertices) + " vertices: raise vertices_max");
  }
  store_options with_base = options;
  with_base.commit_base = state.commit_base;
  auto made = store::make(with_base);
  if (!made) return made;
  if (auto done = detail::loader(made->inside(), from, state).load(); !done) return tl::unexpected(done.error());
  return made;
}

}  // namespace rhizome
