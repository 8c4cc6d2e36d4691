#include "discover/directory.hpp"

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
  // Acquire, with begin_incarnation's release: who reads a later tenant's class sees then that the one meant is gone.
  const class_info* info = a.slot->info.load(std::memory_order_acquire);
  return there() ? info : nullptr;
}

directory::directory(runtime_core& rt) noexcept : runtime_(rt) {}

directory::~directory() {
  for (auto& [name, s] : groups_) s->disconnect();
  for (auto& [name, s] : registries_) s->disconnect();
}

directory& directory::of(runtime_core& rt) {
  return static_cast<directory&>(rt.service(&directory_key, [&rt] { return std::make_unique<directory>(rt); }));
}

result<group_store*> directory::open_groups(std::string_view scope) {
  if (auto fine = check_scope(runtime_, scope); !fine) return tl::unexpected<error>(std::move(fine).error());
  const std::lock_guard lock(scopes_mutex_);
  return open_in(groups_, scope, network_, *this, std::string(scope));
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

cell_record* directory::find(const shard& s, const address& a, bool role) noexcept {
  cell_record* r = s.slots.find(hash_of_slot(a.slot), [&a](const cell_record& c) { return c.slot == a.slot; });
  while (r != nullptr && (r->number != a.number || r->role != role)) r = r->next_of_slot;
  return r;
}

cell_record* directory::note(shard& s, const member& m) {
  const address& a = member_access::at(m);
  if (cell_record* known = find(s, a, m.role())) return known;
  s.slots.make_room();
  if (s.numbered) s.numbers.make_room();
  const std::uint64_t id = (last_id_.fetch_add(1, std::memory_order_relaxed) + 1) * shard_count + shard_index(a.slot);
  cell_record& r = s.pool.make(a.slot, a.number, m.role(), id, nullptr, nullptr);
  if (s.numbered) s.numbers.add(mixed_bits(id), r);
  const std::uint64_t hash = hash_of_slot(a.slot);
  if (cell_record* head = s.slots.find(hash, [&a](const cell_record& c) { return c.slot == a.slot; })) {
    r.next_of_slot = std::exchange(head->next_of_slot, &r);
  } else {
    s.slots.add(hash, r);
  }
  // The record is there before the slot is noted, and the cell is looked at last (runtime_service::note_end).
  if (m.role() ? note_role_end(a) : note_end(a)) return &r;
  drop(s, r);
  return nullptr;
}

cell_record* directory::find(shard& s, std::uint64_t id) {
  if (!s.numbered) {
    flat_index<cell_record> all;
    s.slots.for_each([&all](cell_record& first) {
      for (cell_record* r = &first; r != nullptr; r = r->next_of_slot) {
        all.make_room();
        all.add(mixed_bits(r->id), *r);
      }
    });
    s.numbers = std::move(all);
    s.numbered = true;
  }
  return s.numbers.find(mixed_bits(id), [id](const cell_record& r) { return r.id == id; });
}

void directory::deliver(const membership_owner& scope, std::uint64_t id, arrived_signal& s) {
  shard& where = shards_[id % shard_count];
  address at;
  bool role = false;
  {
    const std::lock_guard lock(where.mutex);
    if (const cell_record* const r = find(where, id)) {
      const membership* m = r->first;
      while (m != nullptr && m->owner != &scope) m = m->next;
      if (m != nullptr) at = {r->slot, r->number};
      role = r->role;
    }
  }
  const class_info* const info = class_of(at, role);
  signal* const made = info != nullptr ? s.make_for(*info) : nullptr;
  const bool taken = made != nullptr && ok(role ? deliver_to_role(at.slot, at.number, made)
                                                : karyon::detail::deliver(at.slot, at.number, made));
  ++(taken ? s.delivered : s.undelivered);
}

void directory::drop_if_idle(shard& s, cell_record& r) noexcept {
  if (r.first == nullptr) drop(s, r);
}

void directory::drop(shard& s, cell_record& r) noexcept {
  if (s.numbered) s.numbers.remove(mixed_bits(r.id), r);
  const std::uint64_t hash = hash_of_slot(r.slot);
  cell_record* head = s.slots.find(hash, [&r](const cell_record& c) { return c.slot == r.slot; });
  if (head != &r) {
    while (head->next_of_slot != &r) head = head->next_of_slot;
    head->next_of_slot = r.next_of_slot;
  } else {
    s.slots.remove(hash, r);
    if (r.next_of_slot != nullptr) {
      s.slots.add(hash, *r.next_of_slot);  // into the place that has just become free
    } else {
      forget_ends(*r.slot);
    }
  }
  s.pool.drop(r);
}

void directory::ended(const address& which, bool role) noexcept {
  shard& s = shard_of(which.slot);
  // To the very end: what a destructor of the user's calls may wait for these memberships (a scope's stop).
  deferred_discards after_all;
  membership* list = nullptr;
  {
    const std::lock_guard lock(s.mutex);
    cell_record* r = find(s, which, role);
    if (r == nullptr) return;
    list = r->first;
    drop(s, *r);
  }
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
