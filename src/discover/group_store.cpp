#include "discover/group_store.hpp"

#include <algorithm>
#include <new>

#include "cell/backlog.hpp"
#include "core/log.hpp"
#include "discover/names.hpp"

namespace karyon::detail {

group_store::group_store(directory& d, std::string name) : directory_(d), name_(std::move(name)) {
  std::uint64_t dice = d.runtime().seed();
  for (shard& s : shards_) s.dice = mixed_bits(++dice);
}

group_store::~group_store() { disconnect(); }

void group_store::connect(peer_network& network) {
  connect_as(network, "pg/" + name_, directory_.runtime().seed(), *this,
             [](const group_entry& g, std::vector<replica_op>& ops) {
               for (const place& p : g.local) ops.push_back({true, g.name, p.held->number, 0});
             });
}

// ---- the table -----------------------------------------------------------------------------------------------------

/// The last member goes into its place.
void group_store::take_out(group_entry& g, const membership& m) noexcept {
  place& hole = g.local[m.position];
  hole = g.local.back();
  hole.held->position = m.position;
  g.local.pop_back();
}

void group_store::append_members(const group_entry& g, bool local_only, std::vector<member>& to) {
  to.reserve(to.size() + g.local.size() + (local_only ? 0 : g.remote.size()));
  for (const place& p : g.local) to.push_back(p.as_member());
  if (local_only) return;
  g.remote.for_each([&](const remote_members::place& p) {
    for (std::uint32_t i = 0; i < p.times; ++i) to.push_back(member_access::elsewhere(p.node, p.number, *this));
  });
}

result<void> group_store::check_open() const {
  if (closed_) return fail(errc::closed, "the scope " + name_ + " has been stopped");
  return {};
}

/// Watchers hear of it under the lock, and so in the order in which it happens. What that pushes out of their mailboxes is discarded
/// after the lock (deferred_discards): a destructor of the user's may call the scope.
void group_store::tell(const shard& s, const group_entry& g, bool joined, const member* first,
                       std::size_t n) const noexcept {
  if (closed_) return;  // what was watched is no more
  const auto send = [&](const watcher& w) {
    try {
      deliver(w.at.slot, w.at.number,
              make_signal<payload_signal<group_event>>(
                  w.ops, group_event{{w.held->number}, g.name, joined, std::vector<member>(first, first + n)}));
    } catch (const std::bad_alloc&) {
      log(log_level::err, "discovery: no memory for a group_event: a watcher misses a change");
    }
  };
  for (const watcher& w : g.watchers) send(w);
  for (const watcher& w : s.watchers) send(w);
}

void group_store::replicate(const group_entry& g, bool add, const std::uint64_t* first, std::size_t n) noexcept {
  if (link_ == nullptr || n == 0) return;
  try {
    std::vector<replica_op> ops;
    for (std::size_t i = 0; i < n; ++i) ops.push_back({add, g.name, first[i], 0});
    link_->local(ops);
  } catch (const std::bad_alloc&) {
    log(log_level::err, "discovery: no memory for a change: other nodes are not told of it");
  }
}

// ---- joining and leaving -------------------------------------------------------------------------------------------

result<void> group_store::join(std::string_view group, std::span<const member> who) {
  if (auto fine = check_name(group, "group"); !fine) return fine;
  for (const member& m : who) {
    if (auto fine = directory_.check_member(m); !fine) return fine;
  }
  if (who.empty()) return {};
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  deferred_discards after_unlock;
  // Their cells can not end in between: all of them are members, or none.
  const cell_locks cells(directory_, who.data(), who.size());
  const std::lock_guard lock(s.mutex);
  if (auto open = check_open(); !open) return open;
  group_entry& g = find_or_add(s, group, hash);
  std::size_t done = 0;
  std::uint64_t one_number = 0;
  std::vector<std::uint64_t> numbers;
  const auto undo = [&] {
    for (; done > 0; --done) {
      const place last = g.local.back();
      g.local.pop_back();
      directory::shard& cell = directory_.shard_of(last.at.slot);
      cell_record* r = directory::find(cell, last.at, last.role);
      r->remove(*last.held);
      s.pool.drop(*last.held);
      directory_.drop_if_idle(cell, *r);
    }
    drop_if_idle(s, g);
  };
  try {
    if (who.size() > 1 && link_ != nullptr) numbers.reserve(who.size());
    if (g.local.capacity() < g.local.size() + who.size()) {
      g.local.reserve(std::max(g.local.size() + who.size(), g.local.capacity() * 2));
    }
    for (const member& m : who) {
      const address& a = member_access::at(m);
      directory::shard& cell = directory_.shard_of(a.slot);
      cell_record* r = directory_.note(cell, m);
      if (r == nullptr) {
        undo();
        return fail(errc::dead, "a cell that has ended can not be a member");
      }
      membership* held = nullptr;
      try {
        held = &s.pool.make(nullptr, nullptr, this, &g, r->id, static_cast<std::uint32_t>(g.local.size()),
                            membership::kind::group);
      } catch (const std::bad_alloc&) {
        directory_.drop_if_idle(cell, *r);
        throw;
      }
      r->add(*held);
      g.local.push_back({a, m.role(), member_access::class_of(m), held});
      one_number = r->id;
      if (numbers.capacity() != 0) numbers.push_back(r->id);
      ++done;
    }
  } catch (...) {
    undo();
    throw;
  }
  tell(s, g, true, who.data(), who.size());
  replicate(g, true, who.size() == 1 ? &one_number : numbers.data(), who.size());
  return {};
}

result<void> group_store::leave(std::string_view group, std::span<const member> who) {
  if (auto fine = check_name(group, "group"); !fine) return fine;
  for (const member& m : who) {
    if (!m.local() || !m) return fail(errc::invalid_argument, "only a cell of this node can leave here");
  }
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  std::vector<member> left;
  std::vector<std::uint64_t> numbers;
  left.reserve(who.size());
  numbers.reserve(who.size());
  deferred_discards after_unlock;
  const cell_locks cells(directory_, who.data(), who.size());
  const std::lock_guard lock(s.mutex);
  if (auto open = check_open(); !open) return open;
  group_entry* const g = find_entry(s, group, hash);
  for (const member& m : who) {
    if (g == nullptr) break;
    const address& a = member_access::at(m);
    directory::shard& cell = directory_.shard_of(a.slot);
    cell_record* const r = directory::find(cell, a, m.role());
    if (r == nullptr) continue;
    membership* held = r->first;
    while (held != nullptr && (held->entry != g || held->what != membership::kind::group)) held = held->next;
    if (held == nullptr) continue;
    left.push_back(m);
    numbers.push_back(held->number);
    take_out(*g, *held);
    r->remove(*held);
    s.pool.drop(*held);
    directory_.drop_if_idle(cell, *r);
  }
  if (left.empty()) return fail(errc::not_found, "not a member of " + std::string(group));
  tell(s, *g, false, left.data(), left.size());
  replicate(*g, false, numbers.data(), numbers.size());
  drop_if_idle(s, *g);
  return {};
}

void group_store::cell_left(membership& m) noexcept {
  if (m.what != membership::kind::group) return end_watch(m);
  auto& g = *static_cast<group_entry*>(m.entry);
  shard& s = shard_of(g.hash);
  const std::lock_guard lock(s.mutex);
  const member who = g.local[m.position].as_member();
  take_out(g, m);
  tell(s, g, false, &who, 1);
  replicate(g, false, &m.number, 1);
  s.pool.drop(m);
  drop_if_idle(s, g);
}

// ---- looking -------------------------------------------------------------------------------------------------------

std::vector<member> group_store::members(std::string_view group, bool local_only) {
  std::vector<member> all;
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  if (const group_entry* g = find_entry(s, group, hash)) append_members(*g, local_only, all);
  return all;
}

std::vector<std::string> group_store::groups(bool local_only) {
  std::vector<std::string> all;
  for (shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    s.entries.for_each([&](const group_entry& g) {
      if (!g.local.empty() || (!local_only && !g.remote.empty())) all.push_back(g.name);
    });
  }
  std::sort(all.begin(), all.end());
  return all;
}

result<member> group_store::pick(std::string_view group, pick_by how, bool local_only) {
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  group_entry* const g = find_entry(s, group, hash);
  if (g == nullptr || (g->local.empty() && (local_only || g->remote.empty()))) {
    return fail(errc::not_found, "the group " + std::string(group) + " has no member" +
                                     (local_only ? " on this node" : " that is known here"));
  }
  return choose(s, *g, how, local_only);
}

member group_store::choose(shard& s, group_entry& g, pick_by how, bool local_only) noexcept {
  const std::size_t locals = g.local.size();
  // Of those elsewhere neither load nor distance is known: who asks for these gets one here, if there is one.
  const bool all = !local_only && (locals == 0 || how == pick_by::random || how == pick_by::round_robin);
  const std::size_t n = all ? locals + g.remote.size() : locals;
  const auto throw_dice = [&] { return static_cast<std::size_t>(mixed_bits(++s.dice) % n); };
  if (all) {
    const std::size_t chosen = how == pick_by::round_robin ? g.turn++ % n : throw_dice();
    if (chosen < locals) return g.local[chosen].as_member();
    const remote_members::place& far = g.remote.at(chosen - locals);
    return member_access::elsewhere(far.node, far.number, *this);
  }
  const std::size_t start = throw_dice();
  std::size_t best = start;
  switch (how) {
    case pick_by::random: break;
    case pick_by::round_robin: best = g.turn++ % n; break;
    case pick_by::least_loaded: {
      std::uint64_t least = ~std::uint64_t{0};
      for (std::size_t i = 0; i < std::min<std::size_t>(n, 8) && least != 0; ++i) {
        const std::size_t at = n <= 8 ? (start + i) % n : throw_dice();
        const cell_slot& slot = *g.local[at].at.slot;
        const bool idle = inbox_word::is_idle(slot.inbox.look());
        const std::uint64_t load = idle ? 0 : std::uint64_t{1} + slot.queued.load(std::memory_order_relaxed);
        if (load < least) best = at;
        least = std::min(least, load);
      }
      break;
    }
    case pick_by::nearest: {
      const covered here;
      worker* const mine = worker_at_hand();
      scheduler& workers = directory_.runtime().workers();
      if (mine == nullptr || &mine->owner() != &workers) break;
      for (std::size_t i = 0; i < std::min<std::size_t>(n, 64); ++i) {
        const std::size_t at = (start + i) % n;
        if (workers.at(g.local[at].at.slot->home).node() != mine->node()) continue;
        best = at;
        break;
      }
      break;
    }
  }
  return g.local[best].as_member();
}

// ---- sending -------------------------------------------------------------------------------------------------------

std::vector<member> group_store::receivers(std::string_view group, bool& elsewhere) {
  std::vector<member> all;
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  if (const group_entry* g = find_entry(s, group, hash)) {
    append_members(*g, true, all);
    elsewhere = !g->remote.empty();
  }
  return all;
}

void group_store::send_elsewhere(std::string_view group, const signal& s, group_sent& sent) {
  const std::uint64_t hash = hash_of(group);
  shard& where = shard_of(hash);
  std::vector<std::uint64_t> nodes;
  std::shared_lock<std::shared_mutex> stays;
  peer_link* by = nullptr;
  {
    const std::lock_guard lock(where.mutex);
    if (const group_entry* g = find_entry(where, group, hash)) nodes = g->remote.nodes();
    if (nodes.empty() || link_ == nullptr) return;
    by = link_.get();
    stays = by->stay();
  }
  std::vector<peer_fate> became;
  by->send_to_group(nodes, group, s, became);
  for (const peer_fate f : became) ++(f == peer_fate::sent ? sent.nodes_accepted : sent.nodes_refused);
}

/// What has come for a group is for those that are its members now; they are sent to without the lock, as by process_groups::send.
void group_store::signal_for_group(std::string_view group, arrived_signal& s) {
  bool elsewhere = false;
  const std::vector<member> to = receivers(group, elsewhere);
  if (to.empty()) ++s.undelivered;  // they have left meanwhile
  bulk_sender sender;
  constexpr std::size_t ahead = 12;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (i + ahead < to.size()) bulk_sender::fetch(member_access::at(to[i + ahead]).slot);
    signal* const made = s.make_for(*member_access::class_of(to[i]));
    const bool taken = made != nullptr && ok(sender.send(member_access::at(to[i]), to[i].role(), made));
    ++(taken ? s.delivered : s.undelivered);
  }
}

// ---- watching ------------------------------------------------------------------------------------------------------

result<group_snapshot> group_store::watch(std::string_view group, const member& who, const signal_ops* ops) {
  if (auto fine = check_name(group, "group"); !fine) return tl::unexpected<error>(std::move(fine).error());
  if (auto fine = directory_.check_member(who); !fine) return tl::unexpected<error>(std::move(fine).error());
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  const address& a = member_access::at(who);
  directory::shard& cell = directory_.shard_of(a.slot);
  group_snapshot snapshot;
  const std::lock_guard cell_lock(cell.mutex);
  const std::lock_guard lock(s.mutex);
  if (auto open = check_open(); !open) return tl::unexpected<error>(std::move(open).error());
  cell_record* const r = directory_.note(cell, who);
  if (r == nullptr) return fail(errc::dead, "a cell that has ended can not watch");
  group_entry* g = nullptr;
  try {
    g = &find_or_add(s, group, hash);
    if (!g->local.empty() || !g->remote.empty()) {
      snapshot.groups.push_back({g->name, {}});
      append_members(*g, false, snapshot.groups.back().members);
    }
    g->watchers.reserve(g->watchers.size() + 1);
    snapshot.watch.value = ++last_watch_;
    membership& held = s.pool.make(nullptr, nullptr, this, g, snapshot.watch.value, 0u, membership::kind::group_watch);
    g->watchers.push_back({a, ops, &held});
    r->add(held);
  } catch (...) {
    if (g != nullptr) drop_if_idle(s, *g);
    directory_.drop_if_idle(cell, *r);
    throw;
  }
  return snapshot;
}

result<group_snapshot> group_store::watch_all(const member& who, const signal_ops* ops) {
  if (auto fine = directory_.check_member(who); !fine) return tl::unexpected<error>(std::move(fine).error());
  const address& a = member_access::at(who);
  directory::shard& cell = directory_.shard_of(a.slot);
  group_snapshot snapshot;
  const std::lock_guard cell_lock(cell.mutex);
  const all_shards lock(*this);
  if (auto open = check_open(); !open) return tl::unexpected<error>(std::move(open).error());
  cell_record* const r = directory_.note(cell, who);
  if (r == nullptr) return fail(errc::dead, "a cell that has ended can not watch");
  try {
    for (shard& s : shards_) {
      s.watchers.reserve(s.watchers.size() + 1);
      s.entries.for_each([&](const group_entry& g) {
        if (g.local.empty() && g.remote.empty()) return;
        snapshot.groups.push_back({g.name, {}});
        append_members(g, false, snapshot.groups.back().members);
      });
    }
    std::sort(snapshot.groups.begin(), snapshot.groups.end(),
              [](const auto& x, const auto& y) { return x.name < y.name; });
    snapshot.watch.value = ++last_watch_;
    membership& held =
        shards_[0].pool.make(nullptr, nullptr, this, nullptr, snapshot.watch.value, 0u, membership::kind::scope_watch);
    for (shard& s : shards_) s.watchers.push_back({a, ops, &held});
    r->add(held);
  } catch (...) {
    directory_.drop_if_idle(cell, *r);
    throw;
  }
  return snapshot;
}

/// The watch is out of its cell's list; takes it out of the tables and frees it.
void group_store::end_watch(membership& m) noexcept {
  const auto forget = [&m](std::vector<watcher>& from) {
    const auto found = std::find_if(from.begin(), from.end(), [&m](const watcher& w) { return w.held == &m; });
    if (found != from.end()) from.erase(found);
  };
  if (m.what == membership::kind::group_watch) {
    auto& g = *static_cast<group_entry*>(m.entry);
    shard& s = shard_of(g.hash);
    const std::lock_guard lock(s.mutex);
    forget(g.watchers);
    s.pool.drop(m);
    drop_if_idle(s, g);
    return;
  }
  const all_shards lock(*this);
  for (shard& s : shards_) forget(s.watchers);
  shards_[0].pool.drop(m);
}

result<void> group_store::unwatch(const cell_ref& who, watch_id which) {
  const address& a = handle_access::of(who);
  membership* held = nullptr;
  if (a.slot != nullptr) {
    directory::shard& cell = directory_.shard_of(a.slot);
    const std::lock_guard lock(cell.mutex);
    cell_record* const r = directory::find(cell, a, false);
    if (r != nullptr) held = r->first;
    while (held != nullptr &&
           (held->owner != this || held->number != which.value ||
            (held->what != membership::kind::group_watch && held->what != membership::kind::scope_watch))) {
      held = held->next;
    }
    if (held != nullptr) {
      r->remove(*held);
      directory_.drop_if_idle(cell, *r);
    }
  }
  if (held == nullptr) return fail(errc::not_found, "the cell has no such watch");
  end_watch(*held);
  return {};
}

// ---- other nodes ---------------------------------------------------------------------------------------------------

void group_store::remote_changed(std::span<const replica_change> changes, std::size_t& done) {
  for (const replica_change& change : changes) {
    apply(change);
    ++done;
  }
}

void group_store::apply(const replica_change& change) {
  const std::uint64_t hash = hash_of(change.key);
  shard& s = shard_of(hash);
  deferred_discards after_unlock;
  const std::lock_guard lock(s.mutex);
  if (closed_) return;
  group_entry* const g = change.added ? &find_or_add(s, change.key, hash) : find_entry(s, change.key, hash);
  if (g == nullptr) return;
  std::vector<member> same;     // for who watches
  const auto make_same = [&] {  // first: if it throws, nothing has changed
    if (g->watchers.empty() && s.watchers.empty()) return;
    same.assign(change.times, member_access::elsewhere(change.node, change.member, *this));
  };
  if (change.added) {
    try {
      make_same();
      g->remote.add(change.node, change.member, change.times);
    } catch (const std::bad_alloc&) {
      drop_if_idle(s, *g);
      throw;
    }
  } else {
    make_same();
    if (!g->remote.remove(change.node, change.member, change.times)) return;
  }
  if (!same.empty()) tell(s, *g, change.added, same.data(), same.size());
  drop_if_idle(s, *g);
}

// ---- the end -------------------------------------------------------------------------------------------------------

/// Ends one membership or watch that lies in this shard, of the first group from a place on, which it moves; false if there is none.
bool group_store::stop_one(shard& s, std::size_t& from) noexcept {
  address at;
  bool role = false;
  membership* held = nullptr;
  {
    const std::lock_guard lock(s.mutex);
    const bool all = from == 0;
    group_entry* g = s.entries.next(from);
    while (g != nullptr && g->idle()) {  // it had members elsewhere alone
      drop_if_idle(s, *g);
      g = s.entries.next(from);
    }
    if (g == nullptr && !all) return true;  // once more from the beginning
    if (g != nullptr && !g->local.empty()) {
      at = g->local.back().at;
      role = g->local.back().role;
      held = g->local.back().held;
    } else if (g != nullptr) {
      at = g->watchers.back().at;
      held = g->watchers.back().held;
    } else if (!s.watchers.empty()) {
      at = s.watchers.back().at;
      held = s.watchers.back().held;
    }
  }
  if (held == nullptr) return false;
  {
    directory::shard& cell = directory_.shard_of(at.slot);
    const std::lock_guard lock(cell.mutex);
    cell_record* const r = directory::find(cell, at, role);
    membership* listed = r != nullptr ? r->first : nullptr;
    while (listed != nullptr && listed != held) listed = listed->next;
    if (listed == nullptr) {  // its cell is ending, and brings it here
      ++from;
      return true;
    }
    r->remove(*held);
    directory_.drop_if_idle(cell, *r);
  }
  cell_left(*held);
  return true;
}

void group_store::stop() {
  if (!close_all([](group_entry& g) { g.remote.clear(); })) return;
  for (shard& s : shards_) {
    std::size_t from = 0;
    while (stop_one(s, from)) {
    }
  }
  directory_.retire(*this);
}

}  // namespace karyon::detail
