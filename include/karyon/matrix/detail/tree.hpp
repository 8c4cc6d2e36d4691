#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/core/result.hpp>
#include <karyon/matrix/detail/account.hpp>
#include <karyon/matrix/detail/faults.hpp>
#include <karyon/matrix/detail/nodes.hpp>

namespace karyon::detail {

/// The contention-adapting tree behind karyon::table: base nodes with sorted keys, and route nodes that lead to them.
///
/// A reader walks down and takes no lock: it looks at each node's version before it reads and once more behind it (at the
/// parent's once it has the child's). A writer finds its place in the same way and then locks from exactly the version it has
/// seen, so that what it found still holds. All of the user's code (comparisons, copies, functions) runs before that: nothing but
/// words is moved under a lock. Whoever has a lock never waits for another one, but for ranges, which hold base nodes from left
/// to right. docs/internals/contention-adapting-table.md has the drawings.
///
/// Orders: find, look_for, descend and note_bounds read counts and keys with acquire, which pairs with the releases of the functions that
/// change nodes (nodes.hpp, at table_node::count): who sees a count sees the slots below it, who sees a boxed key's address sees the key.
template <class Key, class Value, class Compare>
class tree {
public:
  using keys = key_slots<Key>;
  using values = value_slots<Value>;
  using image = typename values::image;
  using base = base_node<values::words>;
  static constexpr std::size_t bytes_per_entry_outside = keys::bytes_each + values::bytes_each;

  tree(std::uint64_t quota_bytes, Compare compare) : account_(quota_bytes), compare_(std::move(compare)) {
    anchor_.set_child(0, new base());
    account_.add_bytes(0, static_cast<std::int64_t>(sizeof(base)));
  }
  tree(const tree&) = delete;
  tree& operator=(const tree&) = delete;
  /// Nobody may be inside.
  ~tree() { destroy_all(anchor_.child(0)); }

  /// The value's words, or nothing. While the caller is pinned.
  [[nodiscard]] std::optional<image> find(const Key& key) const {
    for (place p;;) {
      if (!descend<false>(by_key(key), p)) continue;
      const std::uint32_t count = p.at->count.load(std::memory_order_acquire);
      const std::uint32_t i = lower_bound(*p.at, count, key);
      std::optional<image> found;
      if (i < count && !key_below(key, p.at->keys[i].load(std::memory_order_acquire))) {
        found = values::load(p.at->value_at(i));
      }
      if (p.at->lock.unchanged(p.version)) return found;
    }
  }

  /// Puts an entry in place; whether it is new. `replace`: also if there is one of this key.
  result<bool> put(epoch_pin& pin, const Key& key, const Value& value, bool replace) {
    staged_key<Key> new_key;
    staged_value<Value> new_value;
    charge charged(account_, pin.record().number);
    for (place p;;) {
      if (!(replace ? descend<false, true>(by_key(key), p) : descend<false>(by_key(key), p))) continue;
      const auto [i, count, there] = look_for(p, key);
      if (there && !replace) {
        if (!p.at->lock.unchanged(p.version)) continue;
        return false;
      }
      if (!there && count == base::capacity) {
        if (!split(pin, key, split_cause::full)) return over_quota();
        continue;
      }
      new_value.make(value);
      if (there) {
        fetch_for_write(p.at->value_at(i));
        if (!lock(p)) continue;
        exchange_value(pin, p, i, new_value.hand_over());
      } else {
        if (!new_key.is_made()) {
          new_key.make(key);
          if (!charged.take(bytes_per_entry_outside)) return over_quota();
        }
        if (!lock(p)) continue;
        charged.keep(bytes_per_entry_outside);
        insert_into(*p.at, i, new_key.hand_over(), new_value.hand_over());
        p.at->lock.unlock();
        account_.add_entries(pin.record().number, 1);
      }
      adapt(pin, p, key);
      return !there;
    }
  }

  /// What to do with a value that was looked at.
  enum class verdict : std::uint8_t { keep, exchange, remove };

  /// Shows the present value to `decide(const image&, staged_value&)`, and does what it says if the value is then still the same;
  /// otherwise decides anew. Nothing is locked meanwhile, so it may throw. The image it decided on, or nothing if there is no
  /// such key.
  template <class Decide>
  result<std::optional<image>> change(epoch_pin& pin, const Key& key, const Decide& decide) {
    staged_value<Value> next;
    for (place p;;) {
      if (!descend<false, true>(by_key(key), p)) continue;
      position at = look_for(p, key);
      if (at.there) fetch_for_write(p.at->value_at(at.index));
      const image seen = at.there ? values::load(p.at->value_at(at.index)) : image{};
      if (!p.at->lock.unchanged(p.version)) continue;
      if (!at.there) return std::optional<image>();
      const verdict what = decide(seen, next);
      if (what == verdict::keep) return std::optional<image>(seen);
      if (!lock_same(p, key, seen, at.index)) continue;
      if (what == verdict::exchange) {
        exchange_value(pin, p, at.index, next.hand_over());
      } else {
        remove(pin, p, at.index);
      }
      adapt(pin, p, key);
      return std::optional<image>(seen);
    }
  }

  /// Adds to a value that is one word, under the node's lock: for hot counters, which would be decided on again and again.
  /// The sum, or nothing if there is no such key.
  [[nodiscard]] std::optional<Value> add(epoch_pin& pin, const Key& key, const Value& amount) {
    static_assert(!values::boxes);
    for (place p;;) {
      if (!descend<false, true>(by_key(key), p)) continue;
      const position at = look_for(p, key);
      if (!at.there) {
        if (!p.at->lock.unchanged(p.version)) continue;
        return std::nullopt;
      }
      fetch_for_write(p.at->value_at(at.index));
      if (!lock(p)) continue;
      // Unsigned in between: a counter wraps around.
      using wide = std::make_unsigned_t<Value>;
      const Value old = values::get(values::load(p.at->value_at(at.index)));
      const auto sum = static_cast<Value>(static_cast<wide>(static_cast<wide>(old) + static_cast<wide>(amount)));
      values::store(p.at->value_at(at.index), to_words(sum));
      p.at->lock.unlock();
      adapt(pin, p, key);
      return sum;
    }
  }

  [[nodiscard]] const table_account& account() const noexcept { return account_; }
  [[nodiscard]] table_account& account() noexcept { return account_; }
  [[nodiscard]] const Compare& compare() const noexcept { return compare_; }

  // In tree_scan.hpp.
  struct bound {
    const Key* key = nullptr;  // null: none
    bool inclusive = true;
  };
  struct found_entry {
    slot_word key;
    image value;
  };
  /// The first `limit` entries from `from` to `to`, upwards, or the last ones, downwards, as they were at one moment within the call.
  /// While pinned.
  void scan(epoch_pin& pin, const bound& from, const bound& to, bool upwards, std::size_t limit,
            std::vector<found_entry>& found) const;
  /// In tree_structure.hpp: whole nodes from sorted entries, into a tree that has none; false if it has.
  template <class Next>
  result<bool> fill(epoch_pin& pin, std::size_t n, const Next& next);

private:
  struct place {
    route_node* parent = nullptr;
    std::uint64_t parent_version = 0;
    base* at = nullptr;
    std::uint64_t version = 0;
    std::uint32_t index = 0;  // in the parent
    bool contended = false;   // stays: somebody else was met on the way
    std::int8_t wish = 0;     // after a lock: 1 to split, -1 to join
    unsigned refusals = 0;    // locks that were not to be had
    bool has_low = false;
    bool has_high = false;
    slot_word low = 0;  // the separators around the base node
    slot_word high = 0;
  };

  [[nodiscard]] bool key_below(const Key& a, slot_word b) const { return compare_(a, keys::get(b)); }
  [[nodiscard]] bool slot_below(slot_word a, const Key& b) const { return compare_(keys::get(a), b); }

  static constexpr bool is_flat =
      std::is_arithmetic_v<Key> && (std::is_same_v<Compare, std::less<Key>> || std::is_same_v<Compare, std::less<>> ||
                                    std::is_same_v<Compare, std::greater<Key>>);
  template <std::size_t Size, class Before>
  [[nodiscard]] static std::uint32_t search(const std::array<node_slot, Size>& slots, std::uint32_t count,
                                            const Before& before) {
    if constexpr (is_flat) {
      return partition_flat(slots, count, before);
    } else {
      return partition_slots(slots.data(), count, before);
    }
  }
  [[nodiscard]] auto by_key(const Key& key) const {
    return [this, &key](const route_node& n, std::uint32_t count) {
      return search(n.keys, count, [&](slot_word s) { return !key_below(key, s); });
    };
  }
  [[nodiscard]] std::uint32_t lower_bound(const base& n, std::uint32_t count, const Key& key) const {
    return search(n.keys, count, [&](slot_word k) { return slot_below(k, key); });
  }

  struct position {
    std::uint32_t index;
    std::uint32_t count;
    bool there;
  };
  [[nodiscard]] position look_for(const place& p, const Key& key) const {
    const std::uint32_t count = p.at->count.load(std::memory_order_acquire);
    const std::uint32_t i = lower_bound(*p.at, count, key);
    return {i, count, i < count && !key_below(key, p.at->keys[i].load(std::memory_order_acquire))};
  }

  /// The version of a node that nobody is changing just now.
  [[nodiscard]] static std::uint64_t await_version(const table_node& n, bool& contended) noexcept {
    std::uint64_t v = n.lock.look();
    for (unsigned attempt = 0; version_lock::is_locked(v); v = n.lock.look()) {
      contended = true;
      wait_for_node(attempt++);
    }
    return v;
  }

  /// Down to a base node; `pick(node, count)` says by which child. False if the tree changed on the way: try again.
  /// `Bounds`: and between which separators it lies. `Write`: the caller means to lock it.
  template <bool Bounds, bool Write = false, class Pick>
  [[nodiscard]] bool descend(const Pick& pick, place& p) const {
    auto* n = const_cast<route_node*>(&anchor_);
    std::uint64_t version = await_version(*n, p.contended);
    p.has_low = p.has_high = false;
    for (;;) {
      const std::uint32_t count = n->count.load(std::memory_order_acquire);
      const std::uint32_t i = count != 0 ? pick(*n, count) : 0;  // 0: below the anchor
      const route_node::link link = n->link_to(i);
      table_node* const child = route_node::node_of(link);
      if constexpr (Write) {
        if (route_node::leads_to_base(link)) fetch_for_write(child);
      }
      if constexpr (Bounds) note_bounds(*n, i, count, p);
      const std::uint64_t child_version = await_version(*child, p.contended);
      // Unchanged at this moment: the child is where it was found, and so is its version.
      if (!n->lock.unchanged(version) || version_lock::is_obsolete(child_version)) return false;
      if (child->is_base) {
        p.parent = n;
        p.parent_version = version;
        p.at = static_cast<base*>(child);
        p.version = child_version;
        p.index = i;
        return true;
      }
      n = static_cast<route_node*>(child);
      version = child_version;
    }
  }

  static void note_bounds(const route_node& n, std::uint32_t i, std::uint32_t count, place& p) noexcept {
    if (i > 0) {
      p.low = n.keys[i - 1].load(std::memory_order_acquire);
      p.has_low = true;
    }
    if (i < count) {
      p.high = n.keys[i].load(std::memory_order_acquire);
      p.has_high = true;
    }
  }

  /// Locks the base node as it was seen, and keeps its statistic.
  [[nodiscard]] bool lock(place& p) noexcept {
    if (!p.at->lock.try_lock(p.version)) {
      p.contended = true;
      wait_for_node(p.refusals++);
      return false;
    }
    count_lock(p);
    return true;
  }
  void count_lock(place& p) noexcept {
    const std::int32_t s = p.at->statistic.load(std::memory_order_relaxed) + (p.contended ? contended_lock : free_lock);
    p.wish = 0;
    if (s > split_above) p.wish = 1;
    if (s < join_below) p.wish = -1;
    p.at->statistic.store(p.wish != 0 ? 0 : s, std::memory_order_relaxed);
    p.contended = false;
  }
  /// Locks it if this key still has this value, though other keys may have changed; `i` is where it is then.
  [[nodiscard]] bool lock_same(place& p, const Key& key, const image& seen, std::uint32_t& i) {
    while (!lock(p)) {
      if (!descend<false>(by_key(key), p)) return false;
      const position at = look_for(p, key);
      if (!at.there || values::load(p.at->value_at(at.index)) != seen) return false;
      i = at.index;
    }
    return true;
  }

  /// As much is held as before, so it asks no quota.
  void exchange_value([[maybe_unused]] epoch_pin& pin, place& p, std::uint32_t i, const image& fresh) noexcept {
    if constexpr (values::boxes) {
      const image old = values::load(p.at->value_at(i));
      values::store(p.at->value_at(i), fresh);
      p.at->lock.unlock();
      values::retire(pin.record(), old);
    } else {
      values::store(p.at->value_at(i), fresh);  // not read before: nothing waits for its line
      p.at->lock.unlock();
    }
  }
  void remove(epoch_pin& pin, place& p, std::uint32_t i) noexcept {
    const slot_word key = p.at->keys[i].load(std::memory_order_relaxed);
    const image old = values::load(p.at->value_at(i));
    erase_from(*p.at, i);
    const std::uint32_t left = p.at->count.load(std::memory_order_relaxed);
    const bool calm = p.at->statistic.load(std::memory_order_relaxed) <= 0;
    if (p.wish == 0 && calm && left <= base::capacity / 4 && left % 8 == 0) p.wish = -1;
    p.at->lock.unlock();
    keys::retire(pin.record(), key);
    values::retire(pin.record(), old);
    if constexpr (bytes_per_entry_outside != 0) give_back(pin, bytes_per_entry_outside);
    account_.add_entries(pin.record().number, -1);
  }

  /// Bytes that are taken, and given back unless they were put to use.
  class charge {
  public:
    charge(table_account& account, std::uint32_t thread) noexcept : account_(&account), thread_(thread) {}
    charge(const charge&) = delete;
    charge& operator=(const charge&) = delete;
    ~charge() {
      if (taken_ != 0) account_->add_bytes(thread_, -static_cast<std::int64_t>(taken_));
    }
    [[nodiscard]] bool take(std::size_t n) noexcept {
      if (n == 0) return true;
      if (!account_->take_bytes(thread_, n)) return false;
      taken_ += n;
      return true;
    }
    void keep(std::size_t n) noexcept { taken_ -= n; }
    [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

  private:
    table_account* account_;
    std::uint32_t thread_;
    std::size_t taken_ = 0;
  };

  void give_back(epoch_pin& pin, std::size_t n) noexcept {
    if (n != 0) account_.add_bytes(pin.record().number, -static_cast<std::int64_t>(n));
  }
  [[nodiscard]] auto over_quota() const { return quota_error(account_.quota_bytes()); }

  // In tree_structure.hpp.
  enum class split_cause : std::uint8_t { full, contention };
  enum class outcome : std::uint8_t { done, again, over_quota };
  [[nodiscard]] bool split(epoch_pin& pin, const Key& key, split_cause cause);
  [[nodiscard]] outcome split_once(epoch_pin& pin, const Key& key, split_cause cause);
  [[nodiscard]] outcome split_route(epoch_pin& pin, const place& p, route_node* n, std::uint64_t version);
  [[nodiscard]] outcome split_base(epoch_pin& pin, const place& p, const Key& key, split_cause cause);
  void join(epoch_pin& pin, const Key& key);
  [[nodiscard]] outcome join_once(epoch_pin& pin, const Key& key);
  [[nodiscard]] outcome lift(epoch_pin& pin, const Key& key);
  void adapt(epoch_pin& pin, const place& p, const Key& key) {
    if (p.wish == 0) [[likely]]
      return;
    // The write is done: where there is no memory for a better shape it stays as it is.
    try {
      if (p.wish > 0) {
        static_cast<void>(split(pin, key, split_cause::contention));
      } else {
        join(pin, key);
      }
    } catch (...) {
      if (thread_is_ending()) throw;  // by a comparison
    }
  }
  struct level;
  template <class Next>
  [[nodiscard]] bool fill_bases(charge& charged, std::size_t n, const Next& next, level& bottom);
  [[nodiscard]] bool add_level(charge& charged, level& below);
  void destroy_all(table_node* n) noexcept;

  // In tree_scan.hpp.
  struct visited {
    base* node;
    std::uint64_t version;
  };
  /// checked: of one moment, or it says false; guessed: of many moments; held: of one moment, as others are kept from changing it.
  enum class scan_mode : std::uint8_t { checked, guessed, held };
  static constexpr std::size_t no_limit = ~std::size_t{0};
  [[nodiscard]] bool scan_once(const bound& from, const bound& to, bool upwards, std::size_t limit, scan_mode mode,
                               std::vector<found_entry>& found, std::vector<visited>& path) const;
  void scan_held(epoch_pin& pin, const bound& from, const bound& to, std::size_t limit,
                 std::vector<found_entry>& found) const;
  static void turn_round(std::size_t limit, std::vector<found_entry>& found);

  table_account account_;
  [[no_unique_address]] Compare compare_;
  route_node anchor_;  // has one child, the root, and is never split or joined
};

}  // namespace karyon::detail
