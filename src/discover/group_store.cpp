#include "discover/group_store.hpp"

#include <algorithm>
#include <new>

#include "cell/backlog.hpp"
#include "core/log.hpp"
#include "discover/names.hpp"

namespace karyon::detail {

std::size_t group_entry::size(bool local_only) const noexcept {
  std::size_t n = local.size();
  if (!local_only) remote.for_each([&n](const remote_members::place& p) { n += p.times; });
  return n;
}

std::uint32_t group_entry::kind_of(const class_info* c) {
  // The newest first: who joins is mostly of the class of whoever joined before.
  for (std::size_t i = classes.size(); i-- > 0;) {
    if (classes[i] == c) return static_cast<std::uint32_t>(i);
  }
  if (classes.size() == member_place::classes_max) throw std::bad_alloc();
  classes.push_back(c);
  return static_cast<std::uint32_t>(classes.size() - 1);
}

group_store::group_store(directory& d, std::string name, scope_reach reach)
    : directory_(d), name_(std::move(name)), reach_(reach) {
  std::uint64_t dice = d.runtime().seed();
  for (shard& s : shards_) s.dice = mixed_bits(++dice);
}

group_store::~group_store() { disconnect(); }

void group_store::connect(peer_network& network) {
  if (reach_ == scope_reach::this_node) return;
  connect_as(network, "pg/" + name_, directory_.runtime().seed(), *this,
             [](const group_entry& g, std::vector<replica_op>& ops) {
               g.local.for_each([&](const member_place& m) { ops.push_back({true, g.name, m.id(), 0}); });
             });
}

// ---- the table -----------------------------------------------------------------------------------------------------

void group_store::append_members(const group_entry& g, bool local_only, std::vector<member>& to) {
  to.reserve(to.size() + g.local.size() + (local_only ? 0 : g.remote.size()));
  g.local.for_each([&](const member_place& m) { to.push_back(g.as_member(m)); });
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

/// Under the locks of the cell's shard and of the group's, with room for it: one membership more. What other nodes know the cell by. Throws
/// std::bad_alloc; nothing has changed then.
result<std::uint64_t> group_store::put(group_entry& g, const member& m) {
  const address& a = member_access::at(m);
  directory::shard& cell = directory_.shard_of(a.slot);
  cell_block& b = directory_.block_of(cell, a.slot);
  const unsigned index = cell_block::index_of(a.slot);
  cell_entry& e = b.entries[index];
  const member_place sits{&b, a.number, member_place::pack(g.kind_of(member_access::class_of(m)), m.role(), a.slot)};
  const auto dead = [] { return fail(errc::dead, "a cell that has ended can not be a member"); };
  if (e.empty()) {
    const std::uint32_t at = g.local.take(sits);
    if (directory_.hold(e, g, m, at)) return sits.id();
    g.local.release(at);
    return dead();
  }
  cell_record* const r = directory_.note(cell, m);
  if (r == nullptr) return dead();
  try {
    std::unique_ptr<membership> held(new membership{nullptr, nullptr, this, &g, r->id, 0, membership::kind::group});
    held->place = g.local.take(sits);
    r->add(*held.release());
  } catch (...) {
    directory_.drop_if_idle(cell, *r);
    throw;
  }
  return r->id;
}

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
  if (g.home == nullptr) g.home = this;
  std::size_t done = 0;
  std::uint64_t one_number = 0;
  std::vector<std::uint64_t> numbers;
  const auto undo = [&] {
    while (done > 0) {
      const member& last = who[--done];
      const address& a = member_access::at(last);
      std::uint32_t at = 0;
      if (directory_.take_place(directory_.shard_of(a.slot), a, last.role(), *this, &g, at, one_number))
        g.local.release(at);
    }
    drop_if_idle(s, g);
  };
  try {
    if (who.size() > 1 && link_ != nullptr) numbers.reserve(who.size());
    g.local.make_room(who.size());
    for (const member& m : who) {
      const result<std::uint64_t> number = put(g, m);
      if (!number) {
        undo();
        return tl::unexpected<error>(number.error());
      }
      one_number = *number;
      if (numbers.capacity() != 0) numbers.push_back(*number);
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
    std::uint32_t at = 0;
    std::uint64_t number = 0;
    if (!directory_.take_place(directory_.shard_of(a.slot), a, m.role(), *this, g, at, number)) continue;
    g->local.release(at);
    left.push_back(m);
    numbers.push_back(number);
  }
  if (left.empty()) return fail(errc::not_found, "not a member of " + std::string(group));
  tell(s, *g, false, left.data(), left.size());
  replicate(*g, false, numbers.data(), numbers.size());
  for (std::size_t i = 0; i < left.size(); ++i) close_up(*g, cells.held());
  drop_if_idle(s, *g);
  return {};
}

/// Two moves for each who leaves are enough. Locks of cells come before that of the group, which is held, so that they are only
/// tried for: a member whose shard is busy is moved another time, for which there are two moves more.
void group_store::close_up(group_entry& g, std::uint64_t cells_held) noexcept {
  for (int moves = 0; moves < 4 && g.local.sparse(); ++moves) {
    const std::uint32_t last = g.local.end() - 1;
    const member_place sits = g.local.at(last);
    const std::size_t shard_of_cell = sits.block->ordinal % shard_count;
    std::unique_lock<std::mutex> lock;
    if ((cells_held >> shard_of_cell & 1u) == 0) {
      lock = std::unique_lock(directory_.at(shard_of_cell).mutex, std::try_to_lock);
      if (!lock.owns_lock()) return;
    }
    std::uint32_t* const known = directory::place_in(sits.entry(), g, sits.number, sits.role(), last);
    if (known == nullptr) return;  // its cell is just ending, and brings this place here
    *known = g.local.move_last();
  }
}

void group_store::place_left(group_entry& g, std::uint32_t place) noexcept {
  shard& s = shard_of(g.hash);
  const std::lock_guard lock(s.mutex);
  const member_place sat = g.local.at(place);
  const member who = g.as_member(sat);
  const std::uint64_t number = sat.id();
  g.local.release(place);
  tell(s, g, false, &who, 1);
  replicate(g, false, &number, 1);
  close_up(g, 0);
  drop_if_idle(s, g);
}

void group_store::cell_left(membership& m) noexcept {
  if (m.what != membership::kind::group) return end_watch(m);
  place_left(*static_cast<group_entry*>(m.entry), m.place);
  delete &m;
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

std::size_t group_store::size(std::string_view group, bool local_only) {
  const std::uint64_t hash = hash_of(group);
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  const group_entry* const g = find_entry(s, group, hash);
  return g != nullptr ? g->size(local_only) : 0;
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
    auto* const held =
        new membership{nullptr, nullptr, this, g, snapshot.watch.value, 0, membership::kind::group_watch};
    g->watchers.push_back({a, ops, held});
    r->add(*held);
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
    auto* const held =
        new membership{nullptr, nullptr, this, nullptr, snapshot.watch.value, 0, membership::kind::scope_watch};
    for (shard& s : shards_) s.watchers.push_back({a, ops, held});
    r->add(*held);
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
    delete &m;
    drop_if_idle(s, g);
    return;
  }
  const all_shards lock(*this);
  for (shard& s : shards_) forget(s.watchers);
  delete &m;
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
  const membership* watch = nullptr;
  group_entry* g = nullptr;
  {
    const std::lock_guard lock(s.mutex);
    const bool all = from == 0;
    g = s.entries.next(from);
    while (g != nullptr && g->idle()) {  // it had members elsewhere alone
      drop_if_idle(s, *g);
      g = s.entries.next(from);
    }
    if (g == nullptr && !all) return true;  // once more from the beginning
    if (g != nullptr && !g->local.empty()) {
      const member_place& last = g->local.at(g->local.end() - 1);
      at = last.at();
      role = last.role();
    } else {
      const std::vector<watcher>& watchers = g != nullptr ? g->watchers : s.watchers;
      if (watchers.empty()) return false;
      at = watchers.back().at;
      watch = watchers.back().held;
    }
  }
  std::uint32_t place = 0;
  membership* listed = nullptr;
  {
    directory::shard& cell = directory_.shard_of(at.slot);
    const std::lock_guard lock(cell.mutex);
    if (watch == nullptr) {
      // The group may have gone meanwhile; one of this scope that lies where it did is as good.
      std::uint64_t number = 0;
      if (!directory_.take_place(cell, at, role, *this, g, place, number)) {
        ++from;
        g = nullptr;
      }
    } else {
      cell_record* const r = directory::find(cell, at, role);
      listed = r != nullptr ? r->first : nullptr;
      while (listed != nullptr && listed != watch) listed = listed->next;
      if (listed != nullptr) {
        r->remove(*listed);
        directory_.drop_if_idle(cell, *r);
      } else {
        ++from;
      }
    }
  }
  // What was not found is its cell's, which is ending, and brings it here.
  if (watch == nullptr && g != nullptr) place_left(*g, place);
  if (listed != nullptr) cell_left(*listed);
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
