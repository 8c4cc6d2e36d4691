#pragma once

// How the tree changes its shape: part of tree.hpp.

#include <algorithm>
#include <memory>

#include <karyon/matrix/detail/tree.hpp>

namespace karyon::detail {

// Orders: split_once, split_base, join_once, lift and fill find their places without a lock. Their acquires of counts and keys pair
// with the releases of the functions that change nodes (nodes.hpp, at table_node::count): who sees a count sees the slots below it, who
// sees a boxed key's address sees the key, and who sees anything of a writer then fails to lock from the version it had looked at.

/// Several locks that are had together or not at all. Nothing waits here: who can not have one gives the others back.
class lock_set {
public:
  lock_set() = default;
  lock_set(const lock_set&) = delete;
  lock_set& operator=(const lock_set&) = delete;
  ~lock_set() {
    while (size_ > 0) locks_[--size_]->unlock_unchanged();
  }
  [[nodiscard]] bool add(version_lock& lock, std::uint64_t version) noexcept {
    if (!lock.try_lock(version)) return false;
    locks_[size_++] = &lock;
    return true;
  }
  /// They are unlocked by hand: what they guard was changed.
  void hand_over() noexcept { size_ = 0; }

private:
  std::array<version_lock*, 3> locks_{};
  std::size_t size_ = 0;
};

/// Puts a new node to the right of `left`. Above a root both hang from a new one.
inline void put_right(route_node& parent, std::uint32_t index, table_node* left, slot_word separator, table_node* right,
                      route_node* new_root) noexcept {
  if (new_root == nullptr) return insert_child(parent, index, separator, right);
  new_root->set_child(0, left);
  insert_child(*new_root, 0, separator, right);
  parent.set_child(0, new_root);
}

/// Makes room where `key` belongs, or parts a base node that is contended. False if the quota does not allow it.
template <class Key, class Value, class Compare>
bool tree<Key, Value, Compare>::split(epoch_pin& pin, const Key& key, split_cause cause) {
  for (unsigned attempt = 0;; ++attempt) {
    const outcome o = split_once(pin, key, cause);
    if (o != outcome::again) return o == outcome::done;
    wait_for_node(attempt);
  }
}

/// Down to the base node; a full route node on the way is split first, so that each parent has room.
template <class Key, class Value, class Compare>
auto tree<Key, Value, Compare>::split_once(epoch_pin& pin, const Key& key, split_cause cause) -> outcome {
  place p;
  p.parent = &anchor_;
  p.parent_version = await_version(anchor_, p.contended);
  for (;;) {
    const std::uint32_t count = p.parent->count.load(std::memory_order_acquire);
    p.index = by_key(key)(*p.parent, count);
    table_node* const child = p.parent->child(p.index);
    const std::uint64_t version = await_version(*child, p.contended);
    if (!p.parent->lock.unchanged(p.parent_version) || version_lock::is_obsolete(version)) return outcome::again;
    if (child->is_base) {
      p.at = static_cast<base*>(child);
      p.version = version;
      return split_base(pin, p, key, cause);
    }
    auto* const n = static_cast<route_node*>(child);
    if (n->count.load(std::memory_order_acquire) == route_node::capacity) return split_route(pin, p, n, version);
    p.parent = n;
    p.parent_version = version;
  }
}

template <class Key, class Value, class Compare>
auto tree<Key, Value, Compare>::split_route(epoch_pin& pin, const place& p, route_node* n, std::uint64_t version)
    -> outcome {
  const bool is_root = p.parent == &anchor_;
  const std::size_t bytes = sizeof(route_node) * (is_root ? 2 : 1);
  charge charged(account_, pin.record().number);
  if (!charged.take(bytes)) return outcome::over_quota;
  auto right = std::make_unique<route_node>();
  auto new_root = is_root ? std::make_unique<route_node>() : nullptr;
  lock_set locks;
  if (!locks.add(p.parent->lock, p.parent_version) || !locks.add(n->lock, version)) return outcome::again;
  locks.hand_over();
  const slot_word separator = halve(*n, *right);
  put_right(*p.parent, p.index, n, separator, right.release(), new_root.release());
  n->lock.unlock();
  p.parent->lock.unlock();
  charged.keep(bytes);
  return outcome::again;  // the base node is still to come
}

template <class Key, class Value, class Compare>
auto tree<Key, Value, Compare>::split_base(epoch_pin& pin, const place& p, const Key& key, split_cause cause)
    -> outcome {
  const position at = look_for(p, key);
  const std::uint32_t count = at.count;
  if (cause == split_cause::full ? count < base::capacity : count < 2) return outcome::done;
  // Keys that come in order would leave each node half empty behind them.
  std::uint32_t first = count / 2;
  if (cause == split_cause::full && at.index == count) first = count - count / 8;
  if (cause == split_cause::full && at.index == 0) first = count / 8;
  const slot_word first_key = p.at->keys[first].load(std::memory_order_acquire);
  if (!p.at->lock.unchanged(p.version)) return outcome::again;

  const bool is_root = p.parent == &anchor_;
  const std::size_t bytes = sizeof(base) + (is_root ? sizeof(route_node) : 0) + keys::bytes_each;
  charge charged(account_, pin.record().number);
  if (!charged.take(bytes)) return outcome::over_quota;
  staged_key<Key> separator;
  separator.make(keys::get(first_key));
  auto right = std::make_unique<base>();
  auto new_root = is_root ? std::make_unique<route_node>() : nullptr;
  lock_set locks;
  if (!locks.add(p.parent->lock, p.parent_version) || !locks.add(p.at->lock, p.version)) return outcome::again;
  locks.hand_over();
  move_entries(*p.at, first, *right);
  put_right(*p.parent, p.index, p.at, separator.hand_over(), right.release(), new_root.release());
  p.at->lock.unlock();
  p.parent->lock.unlock();
  charged.keep(bytes);
  account_.note_split(pin.record().number);
  if (cause == split_cause::contention) account_.note_contention_split(pin.record().number);
  return outcome::done;
}

/// Puts the base node of `key` and a neighbour under the same parent together, if they are small enough. Only a wish: it gives up
/// where others are in its way again and again.
template <class Key, class Value, class Compare>
void tree<Key, Value, Compare>::join(epoch_pin& pin, const Key& key) {
  constexpr unsigned attempts = 16;
  for (unsigned attempt = 0; attempt < attempts; ++attempt) {
    if (join_once(pin, key) == outcome::done) return;
    wait_for_node(attempt);
  }
}

template <class Key, class Value, class Compare>
auto tree<Key, Value, Compare>::join_once(epoch_pin& pin, const Key& key) -> outcome {
  place p;
  if (!descend<false>(by_key(key), p)) return outcome::again;
  if (p.parent == &anchor_) return outcome::done;
  const std::uint32_t separators = p.parent->count.load(std::memory_order_acquire);
  if (separators == 0) return lift(pin, key);
  // Beside a base node that took a lone parent's place there may be route nodes.
  std::uint32_t left_index = p.index;
  if (p.index >= separators || !p.parent->child(p.index + 1)->is_base) {
    if (p.index == 0 || !p.parent->child(p.index - 1)->is_base) return outcome::done;
    left_index = p.index - 1;
  }
  table_node* const left_node = p.parent->child(left_index);
  table_node* const right_node = p.parent->child(left_index + 1);
  if (!left_node->is_base || !right_node->is_base) return outcome::again;  // changed meanwhile
  auto* const left = static_cast<base*>(left_node);
  auto* const right = static_cast<base*>(right_node);
  const slot_word separator = p.parent->keys[left_index].load(std::memory_order_acquire);
  const std::uint64_t left_version = await_version(*left, p.contended);
  const std::uint64_t right_version = await_version(*right, p.contended);
  if (!p.parent->lock.unchanged(p.parent_version)) return outcome::again;
  const std::uint32_t on_left = left->count.load(std::memory_order_acquire);
  const std::uint32_t on_right = right->count.load(std::memory_order_acquire);
  if (on_left != 0 && on_right != 0 && on_left + on_right > base::capacity * 3 / 4) return outcome::done;
  lock_set locks;
  if (!locks.add(p.parent->lock, p.parent_version) || !locks.add(left->lock, left_version) ||
      !locks.add(right->lock, right_version)) {
    return outcome::again;
  }
  locks.hand_over();
  move_entries(*right, 0, *left);
  left->statistic.store(0, std::memory_order_relaxed);
  erase_child(*p.parent, left_index);
  left->lock.unlock();
  right->lock.unlock_obsolete();
  const bool alone = p.parent->count.load(std::memory_order_relaxed) == 0;
  p.parent->lock.unlock();
  keys::retire(pin.record(), separator);
  retire(pin.record(), right);
  give_back(pin, sizeof(base) + keys::bytes_each);
  account_.note_join(pin.record().number);
  return alone ? outcome::again : outcome::done;
}

/// A route node that leads to one node only is none: that one takes its place, with the same bounds, so ranges need not know. Else
/// a table whose keys go up for ever, with the old ones erased, would keep a route node and an empty base node for each that it
/// ever filled. From then on there may be base nodes and route nodes side by side. `done` if there is none on the way to `key`.
template <class Key, class Value, class Compare>
auto tree<Key, Value, Compare>::lift(epoch_pin& pin, const Key& key) -> outcome {
  bool contended = false;
  route_node* above = &anchor_;
  std::uint64_t above_version = await_version(*above, contended);
  for (;;) {
    const std::uint32_t count = above->count.load(std::memory_order_acquire);
    const std::uint32_t i = count != 0 ? by_key(key)(*above, count) : 0;
    table_node* const child = above->child(i);
    const std::uint64_t version = await_version(*child, contended);
    if (!above->lock.unchanged(above_version) || version_lock::is_obsolete(version)) return outcome::again;
    if (child->is_base) return outcome::done;
    auto* const n = static_cast<route_node*>(child);
    if (n->count.load(std::memory_order_acquire) == 0) {
      lock_set locks;
      if (!locks.add(above->lock, above_version) || !locks.add(n->lock, version)) return outcome::again;
      locks.hand_over();
      above->set_child(i, n->child(0));
      n->lock.unlock_obsolete();
      above->lock.unlock();
      retire(pin.record(), n);
      give_back(pin, sizeof(route_node));
      return outcome::again;  // where it is now there may be something to join with
    }
    above = n;
    above_version = version;
  }
}

template <class Key, class Value, class Compare>
void tree<Key, Value, Compare>::destroy_all(table_node* n) noexcept {
  const std::uint32_t count = n->count.load(std::memory_order_relaxed);
  if (n->is_base) {
    auto* const b = static_cast<base*>(n);
    for (std::uint32_t i = 0; i < count; ++i) {
      keys::free(b->keys[i].load(std::memory_order_relaxed));
      values::free(values::load(b->value_at(i)));
    }
    delete b;
    return;
  }
  auto* const r = static_cast<route_node*>(n);
  for (std::uint32_t i = 0; i < count; ++i) keys::free(r->keys[i].load(std::memory_order_relaxed));
  for (std::uint32_t i = 0; i <= count; ++i) destroy_all(r->child(i));
  delete r;
}

/// One level of a tree that is being built, from the left: what is left of it when something throws is freed.
template <class Key, class Value, class Compare>
struct tree<Key, Value, Compare>::level {
  explicit level(tree& o) noexcept : owner(&o) {}
  level(level&& other) noexcept
      : owner(other.owner), nodes(std::exchange(other.nodes, {})), separators(std::exchange(other.separators, {})) {}
  level& operator=(level&& other) noexcept {
    std::swap(nodes, other.nodes);
    std::swap(separators, other.separators);
    return *this;
  }
  ~level() {
    for (table_node* n : nodes) owner->destroy_all(n);
    for (const slot_word s : separators) keys::free(s);
  }
  tree* owner;
  std::vector<table_node*> nodes;
  std::vector<slot_word> separators;  // before each node but the first
};

template <class Key, class Value, class Compare>
template <class Next>
bool tree<Key, Value, Compare>::fill_bases(charge& charged, std::size_t n, const Next& next, level& bottom) {
  constexpr std::size_t each = base::capacity / 8 * 7;  // room for some more, everywhere
  bottom.nodes.reserve(n / each + 1);
  bottom.separators.reserve(n / each + 1);
  for (std::size_t done = 0; done < n;) {
    const std::size_t until = std::min(n, done + each);
    if (!charged.take(sizeof(base) + keys::bytes_each + (until - done) * bytes_per_entry_outside)) return false;
    if (done != 0) bottom.separators.push_back(keys::make(next(done).first));
    auto* const b = new base();
    bottom.nodes.push_back(b);
    for (; done < until; ++done) {
      const auto& [key, value] = next(done);
      staged_key<Key> k;
      k.make(key);
      insert_into(*b, b->count.load(std::memory_order_relaxed), k.look(), values::make(value));
      static_cast<void>(k.hand_over());
    }
  }
  return true;
}

template <class Key, class Value, class Compare>
bool tree<Key, Value, Compare>::add_level(charge& charged, level& below) {
  constexpr std::size_t each = route_node::capacity / 8 * 7;
  const std::size_t all = below.nodes.size();
  level above(*this);
  above.nodes.reserve(all / each + 1);
  above.separators.reserve(all / each + 1);
  // All that may fail comes first: then the nodes go from one level to the other.
  std::vector<std::unique_ptr<route_node>> routes(all / each + (all % each != 0 ? 1 : 0));
  for (auto& r : routes) {
    if (!charged.take(sizeof(route_node))) return false;
    r = std::make_unique<route_node>();
  }
  std::size_t at = 0;
  for (auto& r : routes) {
    if (at != 0) above.separators.push_back(below.separators[at - 1]);
    r->set_child(0, below.nodes[at++]);
    for (std::size_t c = 1; c < each && at < all; ++c, ++at) {
      insert_child(*r, static_cast<std::uint32_t>(c - 1), below.separators[at - 1], below.nodes[at]);
    }
    above.nodes.push_back(r.release());
  }
  below.nodes.clear();
  below.separators.clear();
  below = std::move(above);
  return true;
}

template <class Key, class Value, class Compare>
template <class Next>
result<bool> tree<Key, Value, Compare>::fill(epoch_pin& pin, std::size_t n, const Next& next) {
  bool contended = false;
  const std::uint64_t version = await_version(anchor_, contended);
  table_node* const root = anchor_.child(0);
  const std::uint64_t root_version = await_version(*root, contended);
  if (!root->is_base || root->count.load(std::memory_order_acquire) != 0) return false;
  if (n == 0) return true;
  charge charged(account_, pin.record().number);
  level top(*this);
  if (!fill_bases(charged, n, next, top)) return over_quota();
  while (top.nodes.size() > 1) {
    if (!add_level(charged, top)) return over_quota();
  }
  lock_set locks;
  if (!locks.add(anchor_.lock, version) || !locks.add(root->lock, root_version)) return false;
  locks.hand_over();
  anchor_.set_child(0, top.nodes.front());
  top.nodes.clear();
  root->lock.unlock_obsolete();
  anchor_.lock.unlock();
  retire(pin.record(), root);
  charged.keep(charged.taken());
  give_back(pin, sizeof(base));
  account_.add_entries(pin.record().number, static_cast<std::int64_t>(n));
  return true;
}

}  // namespace karyon::detail
