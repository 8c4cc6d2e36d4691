// SPDX-License-Identifier: Apache-2.0
#include "store/store.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "store/detail/core.hpp"
#include "store/detail/transaction_state.hpp"

namespace rhizome {
namespace detail {

core::core(const store_options& o)
    : options(o),
      readers(this),
      props(blocks, readers, options),
      visible(o.commit_base),
      horizon(o.commit_base),
      last(o.commit_base) {}

core::~core() {
  std::unique_ptr<transaction_room>(spare.load(std::memory_order_acquire)).reset();  // partner: let_go
  for (auto& l : labels) std::unique_ptr<label_tables>(l.load(std::memory_order_relaxed)).reset();
}

std::size_t label_tables::rows_to(commit_number t) const noexcept {
  std::size_t size = counts_size.load(std::memory_order_acquire);  // partner: the release in core::apply
  const arcs_row* rows =
      counts.data();  // those that were trimmed read as of commit 0, or as they were: in order either way
  const arcs_row* after =
      std::upper_bound(rows, rows + size, t, [](commit_number n, const arcs_row& r) { return n < r.commit; });
  return static_cast<std::size_t>(after - rows);
}

std::uint64_t label_tables::arcs_at(commit_number t) const noexcept {
  std::size_t count = rows_to(t);
  return count == 0 ? 0 : counts[count - 1].arcs;
}

void label_tables::trim(commit_number horizon) noexcept {
  std::size_t count = rows_to(horizon);
  if (count <= counts_begin + 1) return;
  counts.discard(counts_begin, count - 1);
  counts_begin = count - 1;
}

std::size_t core::log_bytes() const noexcept {
  std::size_t bytes = (log_size - log_begin) * sizeof(log_entry) +
                      (std::size_t{last} - options.commit_base + 1 - rows_begin) * sizeof(commit_row);
  for (const label_tables* t : used)
    bytes += (t->counts_size.load(std::memory_order_relaxed) - t->counts_begin) * sizeof(arcs_row);
  return bytes;
}

bool core::may_end_at(vertex v) {
  if (options.shared == nullptr || v == no_vertex) return false;
  const sharding& how = options.shared->how;
  const vertex id = v + how.first(options.shard);  // modulo 2^32
  if (!how.has(id) || how.shard_of(id) == options.shard) return false;
  if (strangers.empty()) strangers.resize(how.count);
  vertex& most = strangers[how.shard_of(id)];
  most = std::max(most, how.in(how.shard_of(id), id) + 1);
  return true;
}

const vertex_entry* core::entries(label l, direction way) const noexcept {
  const table* t = l < labels_max ? side(l, way) : nullptr;
  return t == nullptr ? nothing.data() : t->entries();
}

table* core::side(label l, direction way) const noexcept {
  label_tables* t = tables(l);
  if (t == nullptr) return nullptr;
  return way == direction::in && !symmetric() ? &t->in : &t->out;
}

result<void> core::take_lease(commit_number t) {
  std::lock_guard lock(lease_mutex);
  if (t < horizon.load(std::memory_order_relaxed)) return fail(errc::trimmed, "the history of that commit was trimmed");
  ++leases[t];
  keep();
  return {};
}

void core::drop_lease(commit_number t) noexcept {
  std::lock_guard lock(lease_mutex);
  auto it = leases.find(t);
  if (--it->second == 0) leases.erase(it);
}

// --- names -----------------------------------------------------------------------------------------------------------------

std::optional<std::uint16_t> names::number(std::string_view name) {
  std::lock_guard lock(mutex_);
  if (auto it = numbers_.find(std::string(name)); it != numbers_.end()) return it->second;
  std::size_t number = 0;
  while (next_ < entries_.size() && !entries_[next_].name.empty()) ++next_;
  number = next_;
  if (number >= limit_) return std::nullopt;
  if (number == entries_.size()) entries_.emplace_back();
  entries_[number].name = name;
  numbers_.emplace(name, static_cast<std::uint16_t>(number));
  return static_cast<std::uint16_t>(number);
}

std::optional<std::uint16_t> names::find(std::string_view name, commit_number at) const {
  std::lock_guard lock(mutex_);
  auto it = numbers_.find(std::string(name));
  if (it == numbers_.end() || entries_[it->second].since > at) return std::nullopt;
  return it->second;
}

bool names::seen(std::uint16_t number, commit_number at) const {
  std::lock_guard lock(mutex_);
  return number < entries_.size() && entries_[number].since <= at;
}

bool names::set(std::uint16_t number, std::string_view name, commit_number n) {
  std::lock_guard lock(mutex_);
  if (number >= limit_) return false;
  if (number >= entries_.size()) entries_.resize(std::size_t{number} + 1);
  entry& e = entries_[number];
  if (e.name.empty()) {
    if (!numbers_.emplace(name, number).second) return false;
    e.name = name;
  }
  if (e.name != name) return false;
  e.since = std::min(e.since, n);
  return true;
}

std::vector<std::pair<std::uint16_t, names::entry>> names::list(commit_number at) const {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<std::uint16_t, entry>> out;
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].since <= at) out.emplace_back(static_cast<std::uint16_t>(i), entries_[i]);
  return out;
}

}  // namespace detail

// --- store -----------------------------------------------------------------------------------------------------------------

result<store> store::make(const store_options& options) {
  if (options.memory_limit_bytes < (std::size_t{1} << 20))
    return fail(errc::invalid_argument, "memory_limit_bytes is below 1 MiB");
  if (options.memory_limit_bytes > std::size_t{1} << 44)
    return fail(errc::invalid_argument, "memory_limit_bytes is above 16 TiB");
  if (options.vertices_max == 0 || options.vertices_max >= no_vertex)
    return fail(errc::invalid_argument, "vertices_max is 0 or not below no_vertex");
  if (options.numa_node < -1 || options.numa_node >= detail::nodes_max)
    return fail(errc::invalid_argument, "numa_node is neither -1 nor a node below 1024");
  if (options.commit_base >= newest_commit - 1)
    return fail(errc::invalid_argument, "commit_base leaves no number for a commit");
  auto c = std::make_unique<detail::core>(options);
  detail::paging huge{options.huge_pages, options.numa_node};
  // Addresses alone: the log's places are never given out twice, so trimming it gives back memory and not addresses. 2^32 changes.
  std::size_t log_bytes = std::max(options.memory_limit_bytes * 2, std::size_t{64} << 30);
  bool reserved = c->blocks.reserve(options.memory_limit_bytes * 4, huge) &&
                  c->commits.reserve(log_bytes / sizeof(detail::commit_row), huge) &&
                  c->log.reserve(log_bytes / sizeof(log_entry), huge) && c->lives.reserve(options.vertices_max, huge) &&
                  c->nothing.reserve(options.vertices_max, {}) && c->commits.ensure(1) && c->nothing.ensure(1) &&
                  c->lives.ensure(1);
  if (!reserved) return fail(errc::out_of_memory, "the system has no addresses or memory for the store");
  return store(c.release());
}

store::store(store&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}

store& store::operator=(store&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

store::~store() {
  if (core_ == nullptr) return;
  {
    std::lock_guard lock(core_->writer);  // waits for a commit that is under way
    core_->closed.store(true, std::memory_order_relaxed);
  }
  detail::core::drop(core_);
}

const store_options& store::options() const noexcept { return core_->options; }

result<snapshot> store::now() const {
  commit_number at = 0;
  core_->keep();
  detail::pins::slot* slot = core_->readers.take(core_->visible, at);
  if (slot == nullptr) {
    detail::core::drop(core_);
    return fail(errc::out_of_memory, "no memory for one more pin");
  }
  return snapshot(slot, at);
}

result<transaction> store::begin() {
  auto reads = now();
  if (!reads) return tl::unexpected<error>(reads.error());
  return transaction(std::make_unique<transaction::state>(std::move(*reads)));
}

std::vector<result<commit_number>> store::commit_group(std::span<transaction> group) {
  std::vector<transaction::state*> states;
  states.reserve(group.size());
  for (transaction& tx : group) {
    transaction::state* s = tx.state_.get();
    states.push_back(s != nullptr && s->c == core_ ? s : nullptr);
  }
  std::vector<result<commit_number>> outcomes;
  {
    std::lock_guard lock(core_->writer);
    outcomes = core_->commit(states);
  }
  for (transaction::state* s : states)
    if (s != nullptr && !s->open) s->let_go();
  return outcomes;
}

bool store::busy() const noexcept { return core_->long_work.load(std::memory_order_relaxed) != 0; }
/// Acquire pairs with core::show: who sees a commit sees what was done before it.
commit_number store::newest() const noexcept { return core_->visible.load(std::memory_order_acquire); }
commit_number store::horizon() const noexcept { return core_->horizon.load(std::memory_order_relaxed); }

result<lease> store::keep(commit_number t) const {
  if (t > newest()) return fail(errc::invalid_argument, "the commit was not made yet");
  if (t < core_->options.commit_base) return fail(errc::trimmed, "the commit is before the store's first");
  if (auto taken = core_->take_lease(t); !taken) return tl::unexpected<error>(taken.error());
  return lease(core_, t);
}

result<void> store::writable() const {
  std::lock_guard lock(core_->writer);
  if (core_->broken) return tl::unexpected<error>(*core_->broken);
  return {};
}

result<void> store::replay(const commit_record& record) {
  std::lock_guard lock(core_->writer);
  return core_->replay(record);
}

}  // namespace rhizome
