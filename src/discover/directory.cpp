#include "discover/directory.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "cell/backlog.hpp"
#include "core/log.hpp"
#include "discover/group_store.hpp"
#include "discover/name_store.hpp"
#include "discover/names.hpp"

namespace karyon::detail {

namespace {

const char directory_key = 0;

result<void> check_scope(runtime_core& rt, std::string_view scope) {
  if (auto fine = check_name(scope, "scope"); !fine) return fine;
  if (rt.closing()) return fail(errc::closed, "the runtime is shutting down: no scope is opened any more");
  return {};
}

template <class Store, class... Args>
result<Store*> open_in(std::map<std::string, std::unique_ptr<Store>, std::less<>>& known, std::string_view scope,
                       peer_network* network, Args&&... args) {
  if (const auto found = known.find(scope); found != known.end()) return found->second.get();
  auto made = std::make_unique<Store>(std::forward<Args>(args)...);
  Store* const opened = made.get();
  if (network != nullptr) opened->connect(*network);
  known.emplace(std::string(scope), std::move(made));  // last: one that could not be connected is nobody's
  return opened;
}

template <class Store>
void retire_from(std::map<std::string, std::unique_ptr<Store>, std::less<>>& known,
                 std::vector<std::unique_ptr<Store>>& retired, const Store& s) noexcept {
  const auto found = known.find(s.name());
  if (found == known.end() || found->second.get() != &s) return;
  try {
    retired.reserve(retired.size() + 1);
  } catch (const std::bad_alloc&) {
    return;  // the name stays taken by the stopped one
  }
  retired.push_back(std::move(found->second));
  known.erase(found);
}

}  // namespace

const class_info* class_of(const address& a, bool role) noexcept {
  if (a.slot == nullptr) return nullptr;
  // Looked at before and after: the class was the cell's if it is still there.
  const auto there = [&] { return role ? role_alive(a) : incarnation_alive(a); };
  if (!there()) return nullptr;
  // Acquire pairs with begin_incarnation's release: who reads a later tenant's class sees then that the one meant is gone.
  const class_info* info = a.slot->info.load(std::memory_order_acquire);
  return there() ? info : nullptr;
}

directory::directory(runtime_core& rt) noexcept : runtime_(rt) {}

directory::~directory() {
  for (auto& [name, s] : groups_) s->disconnect();
  for (auto& [name, s] : registries_) s->disconnect();
  // Cells that the runtime has ended without may still have something.
  for (shard& s : shards_) {
    for (const auto& b : s.owned) {
      for (const cell_entry& e : b->entries) {
        for (const cell_record* r = e.first(); r != nullptr; r = r->next_of_slot) {
          for (membership* m = r->first; m != nullptr;) delete std::exchange(m, m->next);
        }
      }
    }
  }
}

directory& directory::of(runtime_core& rt) {
  return static_cast<directory&>(rt.service(&directory_key, [&rt] { return std::make_unique<directory>(rt); }));
}

result<group_store*> directory::open_groups(std::string_view scope, scope_reach reach) {
  if (auto fine = check_scope(runtime_, scope); !fine) return tl::unexpected<error>(std::move(fine).error());
  const std::lock_guard lock(scopes_mutex_);
  return open_in(groups_, scope, network_, *this, std::string(scope), reach);
}

result<name_store*> directory::open_names(std::string_view scope, registry_options options) {
  if (auto fine = check_scope(runtime_, scope); !fine) return tl::unexpected<error>(std::move(fine).error());
  const std::lock_guard lock(scopes_mutex_);
  return open_in(registries_, scope, network_, *this, std::string(scope), std::move(options));
}

void directory::retire(const group_store& s) noexcept {
  const std::lock_guard lock(scopes_mutex_);
  retire_from(groups_, retired_groups_, s);
}

void directory::retire(const name_store& s) noexcept {
  const std::lock_guard lock(scopes_mutex_);
  retire_from(registries_, retired_registries_, s);
}

void directory::network_installed(peer_network& network) noexcept {
  try {
    const std::lock_guard lock(scopes_mutex_);
    network_ = &network;
    for (auto& [name, s] : groups_) s->connect(network);
    for (auto& [name, s] : registries_) s->connect(network);
  } catch (const std::exception& e) {  // no memory, or no thread for what the network tells
    log(log_level::err, std::string("discovery: the scopes are not connected with other nodes: ") + e.what());
  }
}

result<void> directory::check_member(const member& m) const {
  if (!m) return fail(errc::invalid_argument, "an empty handle names no cell");
  if (!m.local()) return fail(errc::invalid_argument, "a cell of another node joins, and gets its names, there");
  if (&core_of(member_access::at(m).slot) != &runtime_) {
    return fail(errc::invalid_argument, "a cell of another runtime can have nothing in a scope of this one");
  }
  if (member_access::class_of(m) == nullptr) return fail(errc::dead, "the cell has ended");
  return {};
}

// ---- what cells have -----------------------------------------------------------------------------------------------

cell_block* directory::find_block(const shard& s, const cell_slot* slot) noexcept {
  const std::uintptr_t base = cell_block::base_of(slot);
  return s.blocks.find(hash_of_block(base), [base](const cell_block& b) { return b.base == base; });
}

cell_block& directory::block_of(shard& s, const cell_slot* slot) {
  if (cell_block* const known = find_block(s, slot)) return *known;
  s.blocks.make_room();
  if (s.owned.size() == s.owned.capacity()) s.owned.reserve(s.owned.size() * 2 + 4);
  // 2^26 blocks are 1 TiB of cells.
  const std::uint32_t ordinal = (last_block_.fetch_add(1, std::memory_order_relaxed) + 1) * std::uint32_t{shard_count} +
                                static_cast<std::uint32_t>(shard_index(slot));
  std::unique_ptr<cell_block> made(new cell_block{cell_block::base_of(slot), ordinal});
  s.blocks.add(hash_of_block(made->base), *made);
  s.owned.push_back(std::move(made));
  return *s.owned.back();
}

cell_record* directory::find(const cell_entry& e, std::uint32_t number, bool role) noexcept {
  cell_record* r = e.first();
  while (r != nullptr && (r->number != number || r->role != role)) r = r->next_of_slot;
  return r;
}

cell_record* directory::find(const shard& s, const address& a, bool role) noexcept {
  cell_block* const b = find_block(s, a.slot);
  return b != nullptr ? find(b->entries[cell_block::index_of(a.slot)], a.number, role) : nullptr;
}

/// The one membership that the entry holds gets a record. Throws std::bad_alloc; nothing has changed then.
void directory::make_list(shard& s, cell_block& b, cell_entry& e) {
  const auto index = static_cast<unsigned>(&e - b.entries.data());
  const std::uint64_t id = b.id_of(index, e.role(), e.number());
  // The group stays as long as somebody sits in it, and it takes this lock to leave.
  group_entry& g = e.group();
  std::unique_ptr<membership> held(
      new membership{nullptr, nullptr, g.home, &g, id, e.place(), membership::kind::group});
  cell_record& r = s.pool.make(b.slot_at(index, e.line()), &e, e.number(), e.role(), id, nullptr, nullptr);
  r.add(*held.release());
  e.hold(&r);
}

cell_record* directory::note(shard& s, const member& m) {
  const address& a = member_access::at(m);
  cell_block& b = block_of(s, a.slot);
  const unsigned index = cell_block::index_of(a.slot);
  cell_entry& e = b.entries[index];
  if (e.sole()) make_list(s, b, e);
  if (cell_record* const known = find(e, a.number, m.role())) return known;
  cell_record& r = s.pool.make(a.slot, &e, a.number, m.role(), b.id_of(index, m.role(), a.number), e.first(), nullptr);
  e.hold(&r);
  // The record is there before the slot is noted, and the cell is looked at last (runtime_service::note_end).
  if (m.role() ? note_role_end(a) : note_end(a)) return &r;
  drop(s, r);
  return nullptr;
}

bool directory::hold(cell_entry& e, group_entry& g, const member& m, std::uint32_t place) noexcept {
  const address& a = member_access::at(m);
  e.hold(g, cell_block::line_of(a.slot), m.role(), a.number, place);
  if (m.role() ? note_role_end(a) : note_end(a)) return true;  // as in note
  e.clear();
  forget_ends(*a.slot);
  return false;
}

bool directory::take_place(shard& s, const address& a, bool role, const group_store& home, const group_entry* g,
                           std::uint32_t& place, std::uint64_t& id) noexcept {
  cell_block* const b = find_block(s, a.slot);
  if (b == nullptr) return false;
  const unsigned index = cell_block::index_of(a.slot);
  cell_entry& e = b->entries[index];
  id = b->id_of(index, role, a.number);
  if (e.sole()) {
    if (!e.sole_of(a.number, role) || &e.group() != g || e.group().home != &home) return false;
    place = e.place();
    e.clear();
    forget_ends(*a.slot);
    return true;
  }
  cell_record* const r = find(e, a.number, role);
  membership* held = r != nullptr ? r->first : nullptr;
  while (held != nullptr && (held->entry != g || held->owner != &home || held->what != membership::kind::group)) {
    held = held->next;
  }
  if (held == nullptr) return false;
  place = held->place;
  r->remove(*held);
  delete held;
  drop_if_idle(s, *r);
  return true;
}

std::uint32_t* directory::place_in(cell_entry& e, const group_entry& g, std::uint32_t number, bool role,
                                   std::uint32_t place) noexcept {
  if (e.sole()) return e.sole_of(number, role) && &e.group() == &g && e.place() == place ? &e.place() : nullptr;
  cell_record* const r = find(e, number, role);
  for (membership* m = r != nullptr ? r->first : nullptr; m != nullptr; m = m->next) {
    if (m->entry == &g && m->what == membership::kind::group && m->place == place) return &m->place;
  }
  return nullptr;
}

void directory::drop_if_idle(shard& s, cell_record& r) noexcept {
  if (r.first == nullptr) drop(s, r);
}

void directory::drop(shard& s, cell_record& r) noexcept {
  cell_record* const head = r.entry->first();
  if (head == &r) {
    r.entry->hold(r.next_of_slot);
  } else {
    cell_record* before = head;
    while (before->next_of_slot != &r) before = before->next_of_slot;
    before->next_of_slot = r.next_of_slot;
  }
  if (r.entry->empty()) forget_ends(*r.slot);
  s.pool.drop(r);
}

void directory::deliver(const membership_owner& scope, std::uint64_t id, arrived_signal& s) {
  const auto ordinal = static_cast<std::uint32_t>(id >> 32u);
  const unsigned index = cell_block::index_in(id);
  shard& where = shards_[ordinal % shard_count];
  address at;
  bool role = false;
  {
    const std::lock_guard lock(where.mutex);
    const auto found = std::lower_bound(where.owned.begin(), where.owned.end(), ordinal,
                                        [](const auto& b, std::uint32_t wanted) { return b->ordinal < wanted; });
    if (found != where.owned.end() && (*found)->ordinal == ordinal) {
      const cell_block& b = **found;
      const cell_entry& e = b.entries[index];
      if (e.sole()) {
        role = e.role();
        const membership_owner* const owner = e.group().home;  // it stays, as in make_list
        if (b.id_of(index, role, e.number()) == id && owner == &scope) at = {b.slot_at(index, e.line()), e.number()};
      }
      const cell_record* r = e.first();
      while (r != nullptr && r->id != id) r = r->next_of_slot;
      const membership* m = r != nullptr ? r->first : nullptr;
      while (m != nullptr && m->owner != &scope) m = m->next;
      if (m != nullptr) {
        at = {r->slot, r->number};
        role = r->role;
      }
    }
  }
  const class_info* const info = class_of(at, role);
  signal* const made = info != nullptr ? s.make_for(*info) : nullptr;
  const bool taken = made != nullptr && ok(role ? deliver_to_role(at.slot, at.number, made)
                                                : karyon::detail::deliver(at.slot, at.number, made));
  ++(taken ? s.delivered : s.undelivered);
}

void directory::ended(const address& which, bool role) noexcept {
  shard& s = shard_of(which.slot);
  // To the very end: what a destructor of the user's calls may wait for these memberships (a scope's stop).
  deferred_discards after_all;
  membership* list = nullptr;
  group_entry* sole = nullptr;  // it stays until the place is left below
  std::uint32_t place = 0;
  {
    const std::lock_guard lock(s.mutex);
    cell_block* const b = find_block(s, which.slot);
    if (b == nullptr) return;
    cell_entry& e = b->entries[cell_block::index_of(which.slot)];
    if (e.sole()) {
      if (!e.sole_of(which.number, role)) return;
      sole = &e.group();
      place = e.place();
      e.clear();
      forget_ends(*which.slot);
    } else {
      cell_record* const r = find(e, which.number, role);
      if (r == nullptr) return;
      list = r->first;
      drop(s, *r);
    }
  }
  if (sole != nullptr) return sole->home->place_left(*sole, place);
  // The oldest first, so that who watches several groups hears of them in the order in which they were joined.
  membership* oldest = nullptr;
  while (list != nullptr) {
    membership* const m = std::exchange(list, list->next);
    m->next = std::exchange(oldest, m);
  }
  while (oldest != nullptr) {
    membership* const m = std::exchange(oldest, oldest->next);
    m->owner->cell_left(*m);
  }
}

cell_locks::cell_locks(directory& d, const member* first, std::size_t n) : directory_(d) {
  for (std::size_t i = 0; i < n; ++i) {
    held_ |= std::uint64_t{1} << directory::shard_index(member_access::at(first[i]).slot);
  }
  for (std::uint64_t left = held_; left != 0; left &= left - 1) {
    directory_.at(static_cast<std::size_t>(std::countr_zero(left))).mutex.lock();
  }
}

cell_locks::~cell_locks() {
  for (std::uint64_t left = held_; left != 0; left &= left - 1) {
    directory_.at(static_cast<std::size_t>(std::countr_zero(left))).mutex.unlock();
  }
}

}  // namespace karyon::detail
