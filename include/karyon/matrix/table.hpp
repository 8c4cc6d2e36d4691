#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/core/result.hpp>
#include <karyon/matrix/detail/faults.hpp>
#include <karyon/matrix/detail/tree.hpp>
#include <karyon/matrix/detail/tree_scan.hpp>
#include <karyon/matrix/detail/tree_structure.hpp>

namespace karyon {

struct table_options {
  /// What the table's nodes, keys and values may take, in bytes; 0 for no quota. Memory that keys and values own themselves (the
  /// characters of a std::string) is not counted. The least is what an empty table has, some 1.2 KB.
  std::uint64_t quota_bytes = 0;
};

/// What a table holds, and how it has adapted. Read beside changes, the numbers are of slightly different moments.
struct table_stats {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;              ///< of nodes, keys and values, as table_options::quota_bytes counts
  std::uint64_t splits = 0;             ///< base nodes parted so far, for whatever cause
  std::uint64_t contention_splits = 0;  ///< of them, those parted because threads met in them
  std::uint64_t joins = 0;              ///< base nodes put together again
};

/// An entry as it was found: copies.
template <class Key, class Value>
struct table_entry {
  Key key;
  Value value;
  friend bool operator==(const table_entry&, const table_entry&) = default;
};

/// Values that any number of threads and cells leave for each other to find, in the order of their keys: what an ETS table of the
/// type ordered_set is to Erlang's processes.
///
/// A contention-adapting search tree (Sagonas and Winblad, "A contention adapting approach to concurrent ordered sets", 2018)
/// with sorted arrays for leaves: where threads meet it parts itself, where they do not it grows together. Reads take no lock and
/// write nothing that others see; writes lock one leaf.
///
/// Threads: every function may be called by any thread at any time, but for constructor and destructor. Each operation is atomic:
/// it takes effect at one moment between its call and its return (it is linearizable), ranges included. Cells may be moved to other
/// workers between two operations: nothing is kept for a thread from one to the next.
///
/// Ownership: the table holds copies of keys and values and gives out copies. Keys and values that are plain bytes of a small size
/// (a key of up to 8, a value of up to 32 bytes) lie in the leaves; each other one in an allocation of its own. What was erased or
/// replaced is destroyed when no reader can see it any more, by whatever thread comes by; what waits for that when
/// the process ends is not. A key that is a pointer is compared as long as readers may see it, so what it points to must outlive
/// the table.
///
/// Errors: `refused` when the quota is reached or when an update function changes its own table. What comparisons, copies and update
/// functions throw leaves the table as it was before. A function that changes the table, and so gives a result, says
/// `cell_failed` then, with the exception's type and text, and `out_of_memory` for std::bad_alloc. Functions that only read let
/// exceptions pass; within `attempt` they say the same. A comparison must not use the table: where that would be a deadlock
/// (in a long range), a change is `refused`, and another long range throws std::logic_error. A thread's first use of any table takes
/// memory once; where there is none, 16 threads at a time go on without, and others are told `out_of_memory`. Code of the user's that
/// ends its thread (pthread_exit) leaves the table as if it had thrown. A comparison must not use a table either whose comparisons
/// use this one: two threads, each in a long range of one of them, would wait for each other, and nobody would be told.
///
/// Cost: O(log n). A lookup among 100,000 entries of 8 bytes touches four lines or so in three levels. Per entry some 24 bytes
/// of such a table.
template <class Key, class Value, class Compare = std::less<Key>>
class table {
  static_assert(std::is_copy_constructible_v<Key> && std::is_copy_constructible_v<Value>,
                "karyon: a table gives out copies of its keys and values");
  static_assert(std::is_nothrow_destructible_v<Key> && std::is_nothrow_destructible_v<Value>);

public:
  using key_type = Key;
  using value_type = Value;
  using entry = table_entry<Key, Value>;

  /// Throws std::bad_alloc.
  explicit table(const table_options& options = {}, Compare compare = Compare())
      : tree_(options.quota_bytes, std::move(compare)) {}
  /// Nobody may use the table any more.
  ~table() = default;
  table(const table&) = delete;
  table& operator=(const table&) = delete;

  // -- reading -------------------------------------------------------------------------------------------------------

  /// The value of a key. No lock, no allocation but what copying the value takes.
  [[nodiscard]] std::optional<Value> lookup(const Key& key) const {
    detail::epoch_pin pin;
    const auto found = tree_.find(key);
    if (!found) return std::nullopt;
    return std::optional<Value>(std::in_place, values::get(*found));
  }
  [[nodiscard]] bool contains(const Key& key) const {
    detail::epoch_pin pin;
    return tree_.find(key).has_value();
  }

  /// The entries with the least and the greatest key.
  [[nodiscard]] std::optional<entry> first() const { return one({}, {}, true); }
  [[nodiscard]] std::optional<entry> last() const { return one({}, {}, false); }
  /// The entry behind `key` and before it, whether or not there is one of this key.
  [[nodiscard]] std::optional<entry> next(const Key& key) const { return one({&key, false}, {}, true); }
  [[nodiscard]] std::optional<entry> prev(const Key& key) const { return one({}, {&key, false}, false); }

  /// The entries with from <= key < to, the first `limit` of them, in order: all as they were at one moment during the call.
  ///
  /// Reads without locks, and anew if writers changed something meanwhile; ranges that are too long for that hold writers (not
  /// readers) off their leaves while they are read. Nothing is held once it returns. O(log n) a leaf. Throws std::bad_alloc.
  [[nodiscard]] std::vector<entry> range(const Key& from, const Key& to, std::size_t limit = no_limit) const {
    return many({&from, true}, {&to, false}, limit);
  }
  /// The same from a key to the end.
  [[nodiscard]] std::vector<entry> range_from(const Key& from, std::size_t limit = no_limit) const {
    return many({&from, true}, {}, limit);
  }
  /// All of it.
  [[nodiscard]] std::vector<entry> snapshot(std::size_t limit = no_limit) const { return many({}, {}, limit); }

  /// `f(*this)` as a result: for look-ups and ranges whose comparisons or copies may throw. Errors: `cell_failed` and `out_of_memory`,
  /// as of the functions that change the table.
  template <class F>
  auto attempt(F&& f) const -> typename detail::as_result<std::invoke_result_t<F&, const table&>>::type {
    return detail::as_errors([&]() -> decltype(auto) { return f(*this); });
  }

  // -- changing ------------------------------------------------------------------------------------------------------

  /// Puts an entry in, in place of one of the same key. True if there was none.
  result<bool> insert(const Key& key, const Value& value) { return put(key, value, true); }
  /// Only if there is none of this key; true if it was put in.
  result<bool> insert_new(const Key& key, const Value& value) { return put(key, value, false); }
  /// Puts in sorted or unsorted entries; of several with one key the last one stays. An empty table is built at once, leaf by
  /// leaf; otherwise they are inserted one by one, and if one can not be those before it stay. How many keys are new.
  result<std::size_t> load(std::vector<std::pair<Key, Value>> entries) {
    return detail::as_errors([&] { return load_from(entries); });
  }

  /// True if there was one.
  result<bool> erase(const Key& key) {
    auto taken = change(key, [](const image&, staged&) { return verdict::remove; });
    if (!taken) return tl::unexpected<error>(std::move(taken).error());
    return taken->has_value();
  }
  /// Erases an entry if `f(value)` says so; whether it did. f as in update.
  template <class F>
  requires std::predicate<F&, const Value&> result<bool> erase_if(const Key& key, F&& f) {
    bool erased = false;
    auto seen = change(key, [&](const image& old, staged&) {
      erased = f(values::get(old));
      return erased ? verdict::remove : verdict::keep;
    });
    if (!seen) return tl::unexpected<error>(std::move(seen).error());
    return seen->has_value() && erased;
  }
  /// Erases an entry and returns its value, to exactly one of those who try.
  result<std::optional<Value>> take(const Key& key) {
    // Copied before it is taken out, and then not moved again: a copy that throws loses nothing.
    result<std::optional<Value>> copy;
    auto taken = change(key, [&](const image& seen, staged&) {
      copy->emplace(values::get(seen));
      return verdict::remove;
    });
    if (!taken) {
      copy = tl::unexpected<error>(std::move(taken).error());
    } else if (!*taken) {
      copy->reset();
    }
    return copy;
  }

  /// Replaces a value by `f(value)`. False if there is none of this key.
  ///
  /// f is called without any lock, and once more if another thread has changed the value meanwhile, so it should do nothing but
  /// compute. It may read this table and use others; what changes this one within it says `refused`.
  template <class F>
  requires std::invocable<F&, const Value&> result<bool> update(const Key& key, F&& f) {
    auto seen = change(key, [&](const image& old, staged& next) {
      next.remake(Value(f(values::get(old))));
      return verdict::exchange;
    });
    if (!seen) return tl::unexpected<error>(std::move(seen).error());
    return seen->has_value();
  }
  /// Adds to a counter, which begins at `initial` if there is none of this key, and returns the sum. Wraps around at the type's
  /// ends. For integers of up to 8 bytes.
  result<Value> update_counter(const Key& key, const Value& amount,
                               const Value& initial = Value()) requires(std::integral<Value> &&
                                                                        !std::same_as<Value, bool>) {
    return detail::as_errors([&]() -> result<Value> {
      detail::epoch_pin pin;
      if (is_nested(pin)) return detail::nested_error();
      for (;;) {
        if (const auto sum = tree_.add(pin, key, amount)) return *sum;
        using wide = std::make_unsigned_t<Value>;
        const auto begin =
            static_cast<Value>(static_cast<wide>(static_cast<wide>(initial) + static_cast<wide>(amount)));
        const auto made = tree_.put(pin, key, begin, false);
        if (!made) return tl::unexpected<error>(made.error());
        if (*made) return begin;
      }
    });
  }
  /// Replaces the value by `desired` if it equals `expected`; whether it did. False also if there is none of this key.
  result<bool> compare_and_set(const Key& key, const Value& expected,
                               const Value& desired) requires std::equality_comparable<Value> {
    bool equal = false;
    auto seen = change(key, [&](const image& old, staged& next) {
      equal = values::get(old) == expected;
      if (!equal) return verdict::keep;
      next.make(desired);
      return verdict::exchange;
    });
    if (!seen) return tl::unexpected<error>(std::move(seen).error());
    return seen->has_value() && equal;
  }

  // -- measuring -----------------------------------------------------------------------------------------------------

  /// How many entries there are. Counted by each thread for itself, so exact while nobody inserts or erases. O(threads).
  [[nodiscard]] std::uint64_t size() const noexcept { return tree_.account().entries(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] table_stats stats() const noexcept {
    const detail::table_account& a = tree_.account();
    return {a.entries(), a.bytes(), a.splits(), a.contention_splits(), a.joins()};
  }

  static constexpr std::size_t no_limit = ~std::size_t{0};

private:
  using tree_type = detail::tree<Key, Value, Compare>;
  using values = typename tree_type::values;
  using keys = typename tree_type::keys;
  using image = typename values::image;
  using staged = detail::staged_value<Value>;
  using verdict = typename tree_type::verdict;
  using bound = typename tree_type::bound;

  [[nodiscard]] bool is_nested(const detail::epoch_pin& pin) const noexcept { return pin.is_within(&tree_, false); }

  result<bool> put(const Key& key, const Value& value, bool replace) {
    return detail::as_errors([&]() -> result<bool> {
      detail::epoch_pin pin;
      if (is_nested(pin)) return detail::nested_error();
      return tree_.put(pin, key, value, replace);
    });
  }
  result<std::size_t> load_from(std::vector<std::pair<Key, Value>>& entries);

  /// The user's code in `decide` runs with this table marked as the one it must not change.
  template <class Decide>
  result<std::optional<image>> change(const Key& key, const Decide& decide) {
    return detail::as_errors([&]() -> result<std::optional<image>> {
      detail::epoch_pin pin;
      if (is_nested(pin)) return detail::nested_error();
      return tree_.change(pin, key, [&](const image& seen, staged& next) {
        const detail::user_code_mark mark(pin.record(), &tree_, false);
        return decide(seen, next);
      });
    });
  }

  [[nodiscard]] std::optional<entry> one(const bound& from, const bound& to, bool upwards) const {
    detail::epoch_pin pin;
    std::vector<typename tree_type::found_entry> found;
    tree_.scan(pin, from, to, upwards, 1, found);
    if (found.empty()) return std::nullopt;
    return entry{keys::get(found[0].key), values::get(found[0].value)};
  }
  [[nodiscard]] std::vector<entry> many(const bound& from, const bound& to, std::size_t limit) const {
    detail::epoch_pin pin;
    std::vector<typename tree_type::found_entry> found;
    tree_.scan(pin, from, to, true, limit, found);
    std::vector<entry> copies;
    copies.reserve(found.size());
    for (const auto& f : found) copies.push_back(entry{keys::get(f.key), values::get(f.value)});
    return copies;
  }

  tree_type tree_;
};

template <class Key, class Value, class Compare>
result<std::size_t> table<Key, Value, Compare>::load_from(std::vector<std::pair<Key, Value>>& entries) {
  const auto before = [this](const auto& a, const auto& b) { return tree_.compare()(a.first, b.first); };
  if (!std::is_sorted(entries.begin(), entries.end(), before)) {
    std::stable_sort(entries.begin(), entries.end(), before);
  }
  // The last one of each key.
  std::size_t kept = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i + 1 < entries.size() && !before(entries[i], entries[i + 1])) continue;
    if (kept != i) entries[kept] = std::move(entries[i]);
    ++kept;
  }
  detail::epoch_pin pin;
  if (is_nested(pin)) return detail::nested_error();
  const auto filled = tree_.fill(pin, kept, [&](std::size_t i) -> const std::pair<Key, Value>& { return entries[i]; });
  if (!filled) return tl::unexpected<error>(filled.error());
  if (*filled) return kept;
  std::size_t fresh = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    const auto made = tree_.put(pin, entries[i].first, entries[i].second, true);
    if (!made) return tl::unexpected<error>(made.error());
    if (*made) ++fresh;
  }
  return fresh;
}

}  // namespace karyon
