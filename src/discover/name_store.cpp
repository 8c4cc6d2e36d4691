#include "discover/name_store.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "cell/lifecycle.hpp"
#include "core/log.hpp"
#include "discover/names.hpp"

namespace karyon::detail {

name_store::name_store(directory& d, std::string name, registry_options options)
    : directory_(d), name_(std::move(name)), options_(std::move(options)) {}

name_store::~name_store() { disconnect(); }

void name_store::connect(peer_network& network) {
  connect_as(network, "names/" + name_, ~directory_.runtime().seed(), *this,
             [](const name_entry& e, std::vector<replica_op>& ops) {
               if (e.held != nullptr) ops.push_back({true, e.name, e.held->number, e.time});
             });
}

// ---- the table -----------------------------------------------------------------------------------------------------

void name_store::replicate(const name_entry& e, bool add, std::uint64_t number) noexcept {
  if (link_ == nullptr) return;
  try {
    const replica_op op{add, e.name, number, e.time};
    link_->local({&op, 1});
  } catch (const std::bad_alloc&) {
    log(log_level::err, "discovery: no memory for a change: other nodes are not told of it");
  }
}

/// Under the locks of the cell's shard and of the name's.
void name_store::give(name_entry& e, cell_record& r, const member& who) {
  auto& held = *new membership{nullptr, nullptr, this, &e, r.id, 0, membership::kind::name};
  if (e.held != nullptr) clear_owner(e);  // it has ended, and its end has not come here yet
  r.add(held);
  ++e.memberships;
  e.held = &held;
  e.at = member_access::at(who);
  e.info = member_access::class_of(who);
  e.role = who.role();
  e.time = next_time();
  replicate(e, true, held.number);
}

/// The name is nobody's here any more; the membership, if it is not gone, is its cell's.
void name_store::clear_owner(name_entry& e) noexcept {
  replicate(e, false, e.held->number);
  e.held = nullptr;
  e.at = {};
  e.info = nullptr;
}

/// Under the lock of the name's shard. If it is idle; another one, that has waited, is dropped.
void name_store::drop_soon(shard& s, name_entry& e) noexcept {
  if (!e.idle() || e.leaving) return;
  s.entries.fetch(e.hash);
  e.leaving = true;
  name_entry* const waited = std::exchange(s.leaving[s.left++ % leaving_names::most], &e);
  if (waited == nullptr) return;
  waited->leaving = false;
  drop_if_idle(s, *waited);
}

result<void> name_store::add(std::string_view name, const member& who) {
  if (auto fine = check_name(name, "cell"); !fine) return fine;
  if (auto fine = directory_.check_member(who); !fine) return fine;
  const std::uint64_t hash = hash_of(name);
  shard& s = shard_of(hash);
  const address& a = member_access::at(who);
  directory::shard& cell = directory_.shard_of(a.slot);
  const std::lock_guard cell_lock(cell.mutex);
  const std::lock_guard lock(s.mutex);
  if (closed_) return fail(errc::closed, "the scope " + name_ + " has been stopped");
  name_entry& e = find_or_add(s, name, hash);
  const bool mine = e.held != nullptr && e.at == a && e.role == who.role();
  if (!mine && (e.owned() || !e.elsewhere.empty())) {
    return fail(errc::already_present, "the name " + std::string(name) + " belongs to another cell");
  }
  cell_record* r = nullptr;
  try {
    r = directory_.note(cell, who);
    if (r != nullptr && !mine) give(e, *r, who);
  } catch (...) {
    if (r != nullptr) directory_.drop_if_idle(cell, *r);
    drop_soon(s, e);
    throw;
  }
  if (r != nullptr) return {};
  drop_soon(s, e);
  return fail(errc::dead, "a cell that has ended can not have a name");
}

/// Only if the name is that cell's.
bool name_store::take_away(std::string_view name, const address& at, bool role) {
  const std::uint64_t hash = hash_of(name);
  shard& s = shard_of(hash);
  directory::shard& cell = directory_.shard_of(at.slot);
  const std::lock_guard cell_lock(cell.mutex);
  const std::lock_guard lock(s.mutex);
  name_entry* const e = find_entry(s, name, hash);
  if (e == nullptr || e->held == nullptr || e->at != at || e->role != role) return false;
  cell_record* const r = directory::find(cell, at, role);
  if (r == nullptr) return false;  // it is ending, and its end brings the name here
  membership& held = *e->held;
  clear_owner(*e);
  r->remove(held);
  delete &held;
  --e->memberships;
  directory_.drop_if_idle(cell, *r);
  drop_soon(s, *e);
  return true;
}

result<void> name_store::remove(std::string_view name, const member* who) {
  if (auto fine = check_name(name, "cell"); !fine) return fine;
  const auto nobody = [&] { return fail(errc::not_found, "the name " + std::string(name) + " is nobody's"); };
  if (who != nullptr) {
    if (!*who || !who->local() || !take_away(name, member_access::at(*who), who->role())) {
      return fail(errc::not_found, "the name " + std::string(name) + " is not that cell's");
    }
    return {};
  }
  const std::uint64_t hash = hash_of(name);
  shard& s = shard_of(hash);
  while (true) {
    address at;
    bool role = false;
    {
      const std::lock_guard lock(s.mutex);
      if (closed_) return fail(errc::closed, "the scope " + name_ + " has been stopped");
      const name_entry* const e = find_entry(s, name, hash);
      if (e == nullptr) return nobody();
      if (!e->owned()) {
        if (e->elsewhere.empty()) return nobody();
        if (options_.strict || link_ == nullptr) {
          return fail(errc::refused, "the name " + std::string(name) + " belongs to a cell of node " +
                                         std::to_string(e->elsewhere.front().node) +
                                         ": in a strict registry only that node can remove it");
        }
        for (const remote_claim& c : e->elsewhere) link_->ask_remove(c.node, name);
        return {};
      }
      at = e->at;
      role = e->role;
    }
    if (take_away(name, at, role)) return {};
  }
}

void name_store::cell_left(membership& m) noexcept {
  auto& e = *static_cast<name_entry*>(m.entry);
  shard& s = shard_of(e.hash);
  const std::lock_guard lock(s.mutex);
  if (e.held == &m) clear_owner(e);
  --e.memberships;
  delete &m;
  drop_soon(s, e);
}

result<member> name_store::find(std::string_view name) {
  const std::uint64_t hash = hash_of(name);
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  if (const name_entry* e = find_entry(s, name, hash)) {
    const remote_claim* best = nullptr;
    for (const remote_claim& c : e->elsewhere) {
      if (best == nullptr || claim_wins(c.time, c.node, best->time, best->node)) best = &c;
    }
    const bool here = e->owned();
    if (here && (best == nullptr || claim_wins(e->time, link_ != nullptr ? link_->node() : 0, best->time, best->node)))
      return e->owner();
    if (best != nullptr) return member_access::elsewhere(best->node, best->number, *this);
  }
  return fail(errc::not_found, "the name " + std::string(name) + " is nobody's");
}

std::vector<std::string> name_store::names_of(const member& who) {
  std::vector<std::string> all;
  const address& a = member_access::at(who);
  if (a.slot == nullptr) return all;
  directory::shard& cell = directory_.shard_of(a.slot);
  {
    const std::lock_guard lock(cell.mutex);
    const cell_record* const r = directory::find(cell, a, who.role());
    for (const membership* m = r != nullptr ? r->first : nullptr; m != nullptr; m = m->next) {
      if (m->owner == this) all.push_back(static_cast<const name_entry*>(m->entry)->name);
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::size_t name_store::size() {
  std::size_t n = 0;
  for (shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    s.entries.for_each([&n](const name_entry& e) { n += e.held != nullptr || !e.elsewhere.empty() ? 1 : 0; });
  }
  return n;
}

// ---- other nodes ---------------------------------------------------------------------------------------------------

registry_metrics name_store::metrics() const noexcept {
  const auto read = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  return {read(conflicts_), read(lost_), read(callback_failures_)};
}

std::uint64_t name_store::next_time() noexcept {
  std::uint64_t now = clock_.load(std::memory_order_relaxed);
  while (now < claim_time_max && !clock_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) {
  }
  return std::min(now + 1, claim_time_max);
}

/// Of at most claim_time_max: the replica takes no frame that says more.
void name_store::heard(std::uint64_t time) noexcept {
  std::uint64_t now = clock_.load(std::memory_order_relaxed);
  while (now < time && !clock_.compare_exchange_weak(now, time, std::memory_order_relaxed)) {
  }
}

void name_store::remote_changed(std::span<const replica_change> changes, std::size_t& done) {
  std::vector<conflict> conflicts;
  try {
    for (const replica_change& change : changes) {
      apply(change, conflicts);
      ++done;
    }
  } catch (const std::bad_alloc&) {
    for (const conflict& c : conflicts) resolve(c);
    throw;
  }
  for (const conflict& c : conflicts) resolve(c);
}

void name_store::apply(const replica_change& change, std::vector<conflict>& found) {
  const std::uint64_t hash = hash_of(change.key);
  const remote_claim claim{change.node, change.member, change.time};
  shard& s = shard_of(hash);
  const std::lock_guard lock(s.mutex);
  if (closed_) return;
  heard(change.time);
  if (change.added) {
    name_entry& e = find_or_add(s, change.key, hash);
    // A node has one claim of a name: what follows it is in its place, also where its end is told afterwards.
    const auto known = std::find_if(e.elsewhere.begin(), e.elsewhere.end(),
                                    [&](const remote_claim& c) { return c.node == claim.node; });
    if (known != e.elsewhere.end()) {
      *known = claim;
    } else {
      e.elsewhere.push_back(claim);
    }
    if (e.held != nullptr) found.push_back({change.key, claim});
    return;
  }
  name_entry* const e = find_entry(s, change.key, hash);
  if (e == nullptr) return;
  std::erase_if(e->elsewhere, [&](const remote_claim& c) { return c.node == claim.node && c.number == claim.number; });
  drop_soon(s, *e);
}

name_winner name_store::decide(std::string_view name, const name_claim& first, const name_claim& second) {
  if (options_.on_conflict) {
    try {
      return options_.on_conflict(name, first, second);
    } catch (...) {
      callback_failures_.fetch_add(1, std::memory_order_relaxed);
      log(log_level::err, "discovery: on_conflict has thrown: the later registration keeps the name");
    }
  }
  return claim_wins(first.time, first.node.value, second.time, second.node.value) ? name_winner::first
                                                                                  : name_winner::second;
}

/// Of this node's claim alone: the other node decides on its own, and comes to the same answer.
void name_store::resolve(const conflict& c) {
  const std::uint64_t hash = hash_of(c.name);
  shard& s = shard_of(hash);
  name_claim mine;
  address at;
  bool role = false;
  {
    const std::lock_guard lock(s.mutex);
    const name_entry* const e = find_entry(s, c.name, hash);
    if (e == nullptr || e->held == nullptr || link_ == nullptr) return;
    if (std::find(e->elsewhere.begin(), e->elsewhere.end(), c.theirs) == e->elsewhere.end()) return;  // withdrawn
    mine = {e->owner(), {link_->node()}, e->time};
    at = e->at;
    role = e->role;
  }
  const name_claim theirs{
      member_access::elsewhere(c.theirs.node, c.theirs.number, *this), {c.theirs.node}, c.theirs.time};
  conflicts_.fetch_add(1, std::memory_order_relaxed);
  // In one order on both nodes.
  const bool first = mine.node < theirs.node;
  const name_winner winner = first ? decide(c.name, mine, theirs) : decide(c.name, theirs, mine);
  if (winner == (first ? name_winner::first : name_winner::second)) return;
  if (!take_away(c.name, at, role)) return;
  lost_.fetch_add(1, std::memory_order_relaxed);
  if (!options_.end_loser || role) return;
  try {
    static_cast<void>(send_exit(at, {}, exit_reason(exit_reason::kind::error, "karyon::name_conflict", c.name)));
  } catch (const std::bad_alloc&) {
    static_cast<void>(send_exit(at, {}, exit_reason::killed()));
  }
}

void name_store::asked_to_remove(std::uint64_t, std::string_view key) {
  if (!options_.strict) static_cast<void>(remove(key, nullptr));
}

// ---- the end -------------------------------------------------------------------------------------------------------

void name_store::stop() {
  if (!close_all([](name_entry& e) { e.elsewhere.clear(); })) return;
  struct owned_name {
    std::string name;
    address at;
    bool role;
  };
  for (shard& s : shards_) {
    std::vector<owned_name> all;
    {
      const std::lock_guard lock(s.mutex);
      std::vector<name_entry*> idle;
      s.entries.for_each([&](name_entry& e) {
        if (e.held != nullptr) all.push_back({e.name, e.at, e.role});
        if (e.idle()) idle.push_back(&e);
      });
      for (name_entry*& e : s.leaving) {
        if (e != nullptr) std::exchange(e, nullptr)->leaving = false;
      }
      for (name_entry* e : idle) drop_if_idle(s, *e);
    }
    for (const owned_name& n : all) static_cast<void>(take_away(n.name, n.at, n.role));
  }
  directory_.retire(*this);
}

}  // namespace karyon::detail
