#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <karyon/cell/ref.hpp>
#include <karyon/cell/sendable.hpp>
#include <karyon/matrix/table.hpp>

namespace karyon {

class runtime;

template <class Key, class Value, class Compare>
class table_ref;

namespace detail {

/// A table of whatever types, as its keeper sees it.
struct owned_table_body : retired {
  explicit owned_table_body(std::uint64_t n) noexcept : number(n) {}
  virtual ~owned_table_body() = default;
  /// Sends `table_inherited` to the new owner.
  virtual send_result tell(const cell_ref& heir, const cell_ref& from, const std::string& data) = 0;
  const std::uint64_t number;  // tells it from others that had the slot before
  struct owned_table_slot* slot = nullptr;
  cell_ref keeper;  // both constant once others see it
};

/// Where a table_ref points: never unmapped.
struct owned_table_slot {
  std::atomic<owned_table_body*> body{nullptr};
  owned_table_slot* next_free = nullptr;
};

struct kept_table {
  cell_ref owner;
  cell_ref heir;
  std::string heir_data;
};

[[nodiscard]] KARYON_API std::uint64_t next_table_number() noexcept;
/// Gives the body a slot and a keeper, which owns it from then on; if it fails or throws it is still the caller's.
[[nodiscard]] KARYON_API result<owned_table_slot*> keep_table(runtime& rt, owned_table_body& body, kept_table how);
/// What can be asked of a keeper. False if the table is gone.
KARYON_API bool give_table_away(const owned_table_slot& slot, std::uint64_t number, const cell_ref& to,
                                std::string data);
KARYON_API bool set_table_heir(const owned_table_slot& slot, std::uint64_t number, const cell_ref& heir,
                               std::string data);
KARYON_API bool end_table(const owned_table_slot& slot, std::uint64_t number);
[[nodiscard]] KARYON_API tl::unexpected<error> table_gone();

template <class Key, class Value, class Compare>
struct typed_table_body final : owned_table_body {
  typed_table_body(std::uint64_t n, const table_options& options, Compare compare)
      : owned_table_body(n), entries(options, std::move(compare)) {
    destroy = [](retired* r) noexcept { delete static_cast<typed_table_body*>(r); };
  }
  send_result tell(const cell_ref& heir, const cell_ref& from, const std::string& data) override;
  table<Key, Value, Compare> entries;
};

}  // namespace detail

/// Names a table that belongs to a cell, and reads and changes it.
///
/// A plain value of two words, which may be sent in signals: so it is how cells come to share a table. Holding one to a table
/// that has ended is safe for as long as the process lives; then every function says `dead`. Any thread may use it, at any time;
/// the table is not destroyed while a call is in it. The functions are those of karyon::table, their errors included.
template <class Key, class Value, class Compare = std::less<Key>>
class table_ref {
public:
  using table_type = table<Key, Value, Compare>;

  table_ref() noexcept = default;

  /// Calls `f(table)`, which may do several things to it (they are not atomic together), and returns what it returns. Meanwhile
  /// nothing that was erased or replaced is freed, in any table of the process: f should be short. What it throws comes back as
  /// `cell_failed`, or `out_of_memory`; so with look-ups and ranges.
  template <class F>
  auto use(F&& f) const -> typename detail::as_result<std::invoke_result_t<F&, table_type&>>::type {
    using answer = typename detail::as_result<std::invoke_result_t<F&, table_type&>>::type;
    return detail::as_errors([&]() -> answer {  // a thread's first pin takes memory as well
      if (slot_ == nullptr) return detail::table_gone();
      const detail::epoch_pin pin;
      // Acquire pairs with the release of the keeper (table_keeper's constructor): who finds the body sees its number and the table.
      // While pinned it is not destroyed, though its owner may end.
      detail::owned_table_body* const body = slot_->body.load(std::memory_order_acquire);
      if (body == nullptr || body->number != number_) return detail::table_gone();
      table_type& entries = static_cast<detail::typed_table_body<Key, Value, Compare>*>(body)->entries;
      if constexpr (std::is_void_v<std::invoke_result_t<F&, table_type&>>) {
        f(entries);
        return {};
      } else {
        return f(entries);
      }
    });
  }

  [[nodiscard]] auto lookup(const Key& key) const {
    return use([&](table_type& t) { return t.lookup(key); });
  }
  [[nodiscard]] auto first() const {
    return use([](table_type& t) { return t.first(); });
  }
  [[nodiscard]] auto last() const {
    return use([](table_type& t) { return t.last(); });
  }
  [[nodiscard]] auto next(const Key& key) const {
    return use([&](table_type& t) { return t.next(key); });
  }
  [[nodiscard]] auto prev(const Key& key) const {
    return use([&](table_type& t) { return t.prev(key); });
  }
  [[nodiscard]] auto range(const Key& from, const Key& to, std::size_t limit = table_type::no_limit) const {
    return use([&](table_type& t) { return t.range(from, to, limit); });
  }
  [[nodiscard]] auto snapshot() const {
    return use([](table_type& t) { return t.snapshot(); });
  }
  [[nodiscard]] auto size() const {
    return use([](table_type& t) { return t.size(); });
  }
  auto insert(const Key& key, const Value& value) const {
    return use([&](table_type& t) { return t.insert(key, value); });
  }
  auto insert_new(const Key& key, const Value& value) const {
    return use([&](table_type& t) { return t.insert_new(key, value); });
  }
  auto erase(const Key& key) const {
    return use([&](table_type& t) { return t.erase(key); });
  }
  template <class F>
  auto erase_if(const Key& key, F&& f) const {
    return use([&](table_type& t) { return t.erase_if(key, f); });
  }
  auto take(const Key& key) const {
    return use([&](table_type& t) { return t.take(key); });
  }
  template <class F>
  auto update(const Key& key, F&& f) const {
    return use([&](table_type& t) { return t.update(key, f); });
  }
  auto update_counter(const Key& key, const Value& amount, const Value& initial = Value()) const {
    return use([&](table_type& t) { return t.update_counter(key, amount, initial); });
  }
  auto compare_and_set(const Key& key, const Value& expected, const Value& desired) const {
    return use([&](table_type& t) { return t.compare_and_set(key, expected, desired); });
  }

  /// Whether there is the table right now. May throw std::bad_alloc where it is a thread's first use of any table.
  [[nodiscard]] bool alive() const {
    if (slot_ == nullptr) return false;
    const detail::epoch_pin pin;
    // Acquire pairs with the keeper's release, as in use: its number.
    const detail::owned_table_body* const body = slot_->body.load(std::memory_order_acquire);
    return body != nullptr && body->number == number_;
  }

  // What follows is asked of the table's keeper, a cell: it takes effect a little later, in the order asked. Errors: `dead`.

  /// Another cell owns it from then on, and is sent `table_inherited`. If that one is gone by then, the table ends.
  result<void> give_away(const cell_ref& to, std::string data = {}) const {
    if (slot_ == nullptr || !detail::give_table_away(*slot_, number_, to, std::move(data))) return detail::table_gone();
    return {};
  }
  /// Who inherits it when its owner ends; an empty ref: nobody.
  result<void> set_heir(const cell_ref& heir, std::string data = {}) const {
    if (slot_ == nullptr || !detail::set_table_heir(*slot_, number_, heir, std::move(data)))
      return detail::table_gone();
    return {};
  }
  /// Ends the table, whoever owns it.
  result<void> end() const {
    if (slot_ == nullptr || !detail::end_table(*slot_, number_)) return detail::table_gone();
    return {};
  }

  friend bool operator==(const table_ref&, const table_ref&) = default;

private:
  template <class K, class V, class C>
  friend result<table_ref<K, V, C>> make_table(runtime& rt, const cell_ref& owner,
                                               const struct owned_table_options& how, C compare);
  template <class K, class V, class C>
  friend struct detail::typed_table_body;
  table_ref(detail::owned_table_slot* slot, std::uint64_t number) noexcept : slot_(slot), number_(number) {}
  detail::owned_table_slot* slot_ = nullptr;
  std::uint64_t number_ = 0;
};

/// It names shared state that its holders may change together: that is what a table is for, and each operation is atomic.
template <class Key, class Value, class Compare>
inline constexpr bool enable_sendable<table_ref<Key, Value, Compare>> = true;

/// Sent to a cell that has come to own a table, by the end of the owner whose heir it is or as a gift: ETS-TRANSFER.
template <class Key, class Value, class Compare = std::less<Key>>
struct table_inherited {
  table_ref<Key, Value, Compare> table;
  cell_ref from;
  std::string data;  ///< what was said when the heir was named, or the table given away
};

struct owned_table_options {
  std::uint64_t quota_bytes = 0;  ///< as in table_options
  cell_ref heir{};                ///< who owns it once its owner has ended; nobody: it ends then
  std::string heir_data{};
};

/// Makes a table that belongs to a cell, by ETS's rules: when the owner ends, for whatever reason, the table ends with it, or goes
/// to its heir if that is alive, which is told so by a signal `table_inherited` (if its class accepts it; a full mailbox refuses
/// it like any other signal, and the table is the heir's all the same). A cell makes one of its own with
/// `karyon::make_table<Key, Value>(host(), self())`.
///
/// Its end reaches others like a monitor's `down`: some calls may still find the table for a moment after its owner has ended.
/// Errors: `dead` if the owner or the heir has ended already; `closed` if the runtime is stopping. Throws std::bad_alloc. Costs a
/// cell, which watches over the owner.
template <class Key, class Value, class Compare = std::less<Key>>
[[nodiscard]] result<table_ref<Key, Value, Compare>> make_table(runtime& rt, const cell_ref& owner,
                                                                const owned_table_options& how = {},
                                                                Compare compare = Compare()) {
  static_assert(detail::check_sendable<Key>());
  static_assert(detail::check_sendable<Value>());
  auto body = std::make_unique<detail::typed_table_body<Key, Value, Compare>>(
      detail::next_table_number(), table_options{how.quota_bytes}, std::move(compare));
  const std::uint64_t number = body->number;
  const auto slot = detail::keep_table(rt, *body, {owner, how.heir, how.heir_data});
  if (!slot) return tl::unexpected<error>(slot.error());
  static_cast<void>(body.release());
  return table_ref<Key, Value, Compare>(*slot, number);
}

template <class Key, class Value, class Compare>
send_result detail::typed_table_body<Key, Value, Compare>::tell(const cell_ref& heir, const cell_ref& from,
                                                                const std::string& data) {
  return heir.send(table_inherited<Key, Value, Compare>{table_ref<Key, Value, Compare>(slot, number), from, data});
}

}  // namespace karyon
