// SPDX-License-Identifier: Apache-2.0
#include "store/sharded.hpp"

#include <algorithm>

#include "store/detail/core.hpp"
#include "store/detail/refusals.hpp"
#include "store/detail/transaction_state.hpp"

namespace rhizome {

using detail::finished;

// --- reading -----------------------------------------------------------------------------------------------------------------

sharded_view::sharded_view(std::shared_ptr<const std::vector<view>> held, unsigned bits) noexcept
    : held_(std::move(held)), parts_(held_->data()), bits_(bits) {
  for (std::size_t i = 0; i < held_->size(); ++i) {
    arcs_ += parts_[i].arcs();
    if (parts_[i].vertices() > 0) vertices_ = static_cast<vertex>((std::uint64_t{i} << bits_) + parts_[i].vertices());
  }
}

bool sharded_snapshot::alive(vertex v) const noexcept {
  if (!how_.has(v)) return false;
  unsigned k = how_.shard_of(v);
  return shard(k).alive(how_.in(k, v));
}

sharded_view sharded_snapshot::newest(label arcs, direction way) const {
  auto views = std::make_shared<std::vector<view>>();
  views->reserve(parts_->size());
  for (const snapshot& part : *parts_) views->push_back(part.newest(arcs, way));
  return {std::move(views), how_.bits};
}

result<sharded_view> sharded_snapshot::as_of(time_us t, label arcs, direction way) const {
  auto views = std::make_shared<std::vector<view>>();
  views->reserve(parts_->size());
  for (const snapshot& part : *parts_) {
    auto one = part.as_of(part.commit_at(t), arcs, way);
    if (!one) return tl::unexpected<error>(one.error());
    views->push_back(std::move(*one));
  }
  return sharded_view(std::move(views), how_.bits);
}

result<value> sharded_snapshot::property(vertex v, property_key key) const {
  if (!how_.has(v)) return fail(errc::not_found, "the vertex is not there");
  unsigned k = how_.shard_of(v);
  return shard(k).property(how_.in(k, v), key);
}

result<value> sharded_snapshot::property(label arcs, vertex source, vertex target, property_key key) const {
  if (!how_.has(source) || !how_.has(target)) return fail(errc::not_found, "the vertex is not there");
  bool other = shard(0).inside().symmetric() && target < source;
  unsigned k = how_.shard_of(other ? target : source);
  return shard(k).property(arcs, how_.in(k, source), how_.in(k, target), key, std::nullopt);
}

// --- changes -----------------------------------------------------------------------------------------------------------------

result<transaction*> sharded_transaction::part(unsigned shard) const {
  if (!open_) return finished();
  std::optional<transaction>& there = parts_[shard];
  if (!there) there = transaction(std::make_unique<transaction::state>(reads_.shard(shard)));
  return &*there;
}

bool sharded_transaction::alive(vertex v) const {
  if (!open_ || !reads_.how_.has(v)) return false;
  unsigned k = reads_.how_.shard_of(v);
  return parts_[k] ? parts_[k]->alive(reads_.how_.in(k, v)) : reads_.alive(v);
}

result<void> sharded_transaction::check(vertex source, vertex target) const {
  if (!open_) return finished();
  if (!alive(source) || !alive(target)) return fail(errc::not_found, "the vertex is not there");
  return {};
}

template <class F>
result<void> sharded_transaction::at_both(vertex source, vertex target, F&& f) {
  if (auto fine = check(source, target); !fine) return fine;
  const detail::sharding& how = reads_.how_;
  unsigned from = how.shard_of(source);
  unsigned to = how.shard_of(target);
  auto first = part(from);
  auto second = part(to);
  if (!first || !second) return finished();
  result<void> done = f(**first, how.in(from, source), how.in(from, target));
  if (!done || from == to) return done;
  done = f(**second, how.in(to, source), how.in(to, target));
  if (!done) abort();  // the halves agree, so nothing but memory can make them differ
  return done;
}

template <class F>
result<void> sharded_transaction::in_bulk(std::span<const arc> list, F&& f) {
  const detail::sharding& how = reads_.how_;
  std::vector<std::vector<arc>> lists(how.count);
  for (const arc& a : list) {
    if (auto fine = check(a.source, a.target); !fine) return fine;
    unsigned from = how.shard_of(a.source);
    unsigned to = how.shard_of(a.target);
    lists[from].push_back({how.in(from, a.source), how.in(from, a.target)});
    if (to != from) lists[to].push_back({how.in(to, a.source), how.in(to, a.target)});
  }
  for (unsigned k = 0; k < how.count; ++k) {
    if (lists[k].empty()) continue;
    auto there = part(k);
    if (!there) return tl::unexpected<error>(there.error());
    if (auto done = f(**there, std::span<const arc>(lists[k])); !done) {
      abort();
      return done;
    }
  }
  return {};
}

result<vertex> sharded_transaction::add_vertices(unsigned shard, vertex count) {
  if (shard >= reads_.how_.count) return fail(errc::invalid_argument, "there is no such shard");
  auto there = part(shard);
  if (!there) return tl::unexpected<error>(there.error());
  auto first = (*there)->add_vertices(count);
  if (!first) return first;
  return *first + reads_.how_.first(shard);
}

result<void> sharded_transaction::remove_vertex(vertex v) {
  if (auto fine = check(v, v); !fine) return fine;
  const detail::sharding& how = reads_.how_;
  unsigned mine = how.shard_of(v);
  auto there = part(mine);
  if (!there) return tl::unexpected<error>(there.error());
  transaction& tx = **there;
  for (label l : tx.labels()) {
    for (direction way : {direction::out, direction::in}) {
      if (way == direction::in && reads_.shard(mine).inside().symmetric()) continue;
      std::vector<vertex> others;  // the other ends that lie elsewhere; the halves here go with the vertex
      tx.for_each(l, how.in(mine, v), way, [&](vertex w) {
        w += how.first(mine);
        if (how.shard_of(w) != mine) others.push_back(w);
      });
      for (vertex w : others) {
        unsigned k = how.shard_of(w);
        auto other = part(k);
        if (!other) return tl::unexpected<error>(other.error());
        vertex source = how.in(k, way == direction::out ? v : w);
        vertex target = how.in(k, way == direction::out ? w : v);
        if (auto gone = (*other)->remove_arc(l, source, target); !gone) {
          abort();
          return gone;
        }
      }
    }
  }
  return tx.remove_vertex(how.in(mine, v));
}

result<void> sharded_transaction::add_arc(label arcs, vertex source, vertex target, interval valid) {
  return at_both(source, target, [&](transaction& tx, vertex s, vertex t) { return tx.add_arc(arcs, s, t, valid); });
}

result<void> sharded_transaction::add_arcs(label arcs, std::span<const arc> list, on_duplicate then) {
  return in_bulk(list, [&](transaction& tx, std::span<const arc> mine) { return tx.add_arcs(arcs, mine, then); });
}

result<void> sharded_transaction::remove_arc(label arcs, vertex source, vertex target) {
  return at_both(source, target, [&](transaction& tx, vertex s, vertex t) { return tx.remove_arc(arcs, s, t); });
}

result<void> sharded_transaction::remove_arcs(label arcs, std::span<const arc> list, on_missing then) {
  return in_bulk(list, [&](transaction& tx, std::span<const arc> mine) { return tx.remove_arcs(arcs, mine, then); });
}

result<void> sharded_transaction::set_valid(label arcs, vertex source, vertex target, interval valid) {
  return at_both(source, target, [&](transaction& tx, vertex s, vertex t) { return tx.set_valid(arcs, s, t, valid); });
}

result<void> sharded_transaction::set_property(vertex v, property_key key, value data, interval valid) {
  if (auto fine = check(v, v); !fine) return fine;
  unsigned k = reads_.how_.shard_of(v);
  auto there = part(k);
  if (!there) return tl::unexpected<error>(there.error());
  return (*there)->set_property(reads_.how_.in(k, v), key, std::move(data), valid);
}

// With the source, or in a symmetric store with the end of the smaller id, so that it is found from either.
result<void> sharded_transaction::set_property(label arcs, vertex source, vertex target, property_key key, value data) {
  if (auto fine = check(source, target); !fine) return fine;
  bool other = reads_.shard(0).inside().symmetric() && target < source;
  unsigned k = reads_.how_.shard_of(other ? target : source);
  auto there = part(k);
  if (!there) return tl::unexpected<error>(there.error());
  return (*there)->set_property(arcs, reads_.how_.in(k, source), reads_.how_.in(k, target), key, std::move(data));
}

result<label> sharded_transaction::name_label(std::string_view name) {
  auto there = part(0);
  if (!there) return tl::unexpected<error>(there.error());
  return (*there)->name_label(name);
}

result<property_key> sharded_transaction::name_property(std::string_view name) {
  auto there = part(0);
  if (!there) return tl::unexpected<error>(there.error());
  return (*there)->name_property(name);
}

bool sharded_transaction::contains(label arcs, vertex source, vertex target) const {
  if (!check(source, target)) return false;
  unsigned k = reads_.how_.shard_of(source);
  auto there = part(k);
  return there && (*there)->contains(arcs, reads_.how_.in(k, source), reads_.how_.in(k, target));
}

void sharded_transaction::abort() noexcept {
  open_ = false;
  for (auto& there : parts_)
    if (there) there->abort();
}

// --- commit ------------------------------------------------------------------------------------------------------------------

result<void> sharded_transaction::commit() {
  if (!open_) return finished();
  open_ = false;
  std::vector<touched_part> touched;
  for (unsigned k = 0; k < parts_.size(); ++k)
    if (parts_[k] && parts_[k]->size() > 0) touched.push_back({k, &*parts_[k]});
  result<void> done;
  if (touched.size() == 1) {
    auto one = touched.front().changes->commit();
    if (!one) done = tl::unexpected<error>(one.error());
  } else if (!touched.empty()) {
    done = commit_all(touched);
  }
  abort();  // those that are not finished give up their pins
  return done;
}

/// All or none: every shard has checked its part before the first is written to, and all parts become visible in one go. The writers stay
/// locked until all logs are synced, so a transaction that only some of the logs have is the last one in each of these.
result<void> sharded_transaction::commit_all(std::span<const touched_part> touched) {
  std::vector<std::unique_lock<std::mutex>> writers;  // in the order of shards, so that no two wait for each other
  for (const touched_part& one : touched) writers.emplace_back(one.changes->state_->c->writer);
  struct at_the_end {
    std::span<const touched_part> parts;
    ~at_the_end() {
      for (const touched_part& one : parts) one.changes->state_->c->shrink();
    }
  } const after{touched};  // while the writers are locked
  auto now = validate_all(touched);
  if (!now) return tl::unexpected<error>(now.error());
  std::vector<touched_part> left;  // a bulk may have had nothing to do
  for (const touched_part& one : touched)
    if (one.changes->state_->live_ops > 0) left.push_back(one);
  if (auto written = write_all(left, *now); !written) {
    for (const touched_part& one : left) {
      detail::core& c = *one.changes->state_->c;
      c.broken = written.error();
      c.last = c.visible.load(std::memory_order_relaxed);  // what was applied beyond it stays unseen for good
    }
    return written;
  }
  {
    std::lock_guard lock(cut_->showing);
    for (const touched_part& one : left) one.changes->state_->c->show();
  }
  for (const touched_part& one : left) one.changes->state_->c->settle();
  return {};
}

/// Gives the time of the commit.
result<time_us> sharded_transaction::validate_all(std::span<const touched_part> touched) const {
  time_us now = 0;
  try {  // nothing is written so far
    for (const touched_part& one : touched) {
      detail::core& c = *one.changes->state_->c;
      if (c.closed.load(std::memory_order_relaxed)) return fail(errc::read_only, "the store is closed");
      if (c.broken) return fail(errc::read_only, "the store takes no more writes since: " + c.broken->text);
      if (auto fine = c.validate(*one.changes->state_); !fine) return tl::unexpected<error>(fine.error());
      now = std::max({now, c.now_us(), c.row(c.last).time});
    }
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "the system has no memory for the commit");
  }
  return cut_->stamp(now);
}

result<void> sharded_transaction::write_all(std::span<const touched_part> touched, time_us now) {
  std::vector<commit_sink*> sinks;
  try {  // from the first log that is told on, whatever fails leaves the shards read-only
    std::vector<commit_part> others;
    for (const touched_part& one : touched) {
      detail::core& c = *one.changes->state_->c;
      if (c.options.sink == nullptr) continue;
      others.clear();
      for (const touched_part& other : touched)
        if (other.shard != one.shard) others.push_back({other.shard, other.changes->state_->c->last + 1});
      if (auto told = c.tell_sink(*one.changes->state_, c.last + 1, now, others); !told) return told;
    }
    for (const touched_part& one : touched) {
      detail::core& c = *one.changes->state_->c;
      if (!c.apply(*one.changes->state_, c.last + 1, now)) throw std::bad_alloc();
      if (c.options.sink != nullptr) sinks.push_back(c.options.sink);
    }
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "memory ran out within a commit of several shards: they are read-only");
  }
  for (commit_sink* sink : sinks)
    if (auto safe = sink->sync(); !safe) return safe;
  return {};
}

// --- the whole of it -----------------------------------------------------------------------------------------------------------

result<detail::sharding> detail::make_sharding(vertex vertices_max, unsigned count) {
  if (count == 0) return fail(errc::invalid_argument, "a sharded store of no shard");
  sharding how{static_cast<unsigned>(std::bit_width(vertices_max)), count};
  if (how.bits > 31 || std::uint64_t{count} << how.bits > std::uint64_t{1} << 32)
    return fail(errc::invalid_argument, "the shards have more than 2^32 ids: make vertices_max or count smaller");
  return how;
}

result<sharded_store> sharded_store::make(const sharded_options& options) {
  auto how = detail::make_sharding(options.each.vertices_max, options.count);
  if (!how) return tl::unexpected<error>(how.error());
  if (options.each.sink != nullptr || options.each.commit_base != 0)
    return fail(errc::invalid_argument,
                "a sharded store keeps no log and continues none: leave sink and commit_base out");
  auto shared = std::make_shared<detail::cut>();
  shared->how = *how;
  std::vector<store> owned;
  for (unsigned k = 0; k < options.count; ++k) {
    store_options each = options.each;
    each.shared = shared.get();
    each.shard = k;
    if (!options.nodes.empty()) each.numa_node = options.nodes[k % options.nodes.size()];
    auto one = store::make(each);
    if (!one) return tl::unexpected<error>(one.error());
    owned.push_back(std::move(*one));
  }
  std::vector<store*> parts;
  for (store& one : owned) parts.push_back(&one);
  sharded_store made = over(std::move(parts), std::move(shared), *how);
  made.owned_ = std::move(owned);  // which stay where they are
  return made;
}

sharded_store sharded_store::over(std::vector<store*> parts, std::shared_ptr<detail::cut> shared,
                                  detail::sharding how) {
  for (store* part : parts) {
    detail::core& c = part->inside();
    static_cast<void>(shared->stamp(c.row(c.last).time));  // what is there already is not after what is to come
  }
  return sharded_store(std::move(parts), std::move(shared), how);
}

result<sharded_snapshot> sharded_store::now() const {
  auto pinned = std::make_shared<std::vector<snapshot>>();
  pinned->reserve(parts_.size());
  {
    std::lock_guard lock(cut_->showing);
    for (const store* part : parts_) {
      auto one = part->now();
      if (!one) return tl::unexpected<error>(one.error());
      pinned->push_back(std::move(*one));
    }
  }
  return sharded_snapshot(std::move(pinned), how_);
}

result<sharded_transaction> sharded_store::begin() const {
  auto reads = now();
  if (!reads) return tl::unexpected<error>(reads.error());
  return sharded_transaction(std::move(*reads), cut_.get());
}

result<void> sharded_store::trim(time_us before) {
  for (store* part : parts_) {
    auto reads = part->now();
    if (!reads) return tl::unexpected<error>(reads.error());
    commit_number to = reads->commit_at(before);
    if (auto done = part->trim(std::max(to, part->horizon())); !done) return tl::unexpected<error>(done.error());
  }
  return {};
}

}  // namespace rhizome
