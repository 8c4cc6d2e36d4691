#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <karyon/cell/ref.hpp>
#include <karyon/core/export.hpp>
#include <karyon/matrix/table.hpp>

namespace karyon {

class runtime;

namespace detail {

/// A table with copies, as the cells that keep the copies see it. Held by them and by the table, so that neither outlives it.
class KARYON_API replica_body {
public:
  replica_body() = default;
  replica_body(const replica_body&) = delete;
  replica_body& operator=(const replica_body&) = delete;
  virtual ~replica_body() = default;
  /// How many copies there are to be; once, before anything else.
  virtual void prepare(std::size_t nodes) = 0;
  /// Makes the copy of a node, by a cell that lives there. May throw.
  virtual void open(std::size_t node) = 0;
  /// Brings some of what has changed into a node's copy; whether anything is left. May throw: what failed stays to be done.
  virtual bool catch_up(std::size_t node) = 0;

  /// The node that the calling thread works for this table's runtime on, or no_node.
  [[nodiscard]] std::size_t node_here() const noexcept;
  static constexpr std::size_t no_node = ~std::size_t{0};

  /// A keeper has ended, with its runtime as a rule: from now on copies are neither read nor told of changes.
  void give_up() noexcept {
    behind.fetch_add(1, std::memory_order_relaxed);  // for good
    // Release pairs with change's acquire: who knows that copies are told of nothing more knows that they are behind.
    given_up.store(true, std::memory_order_release);
  }

  /// How many steps all copies together are behind the table: 0 if each has all that is in it. Added to before a change, taken
  /// from once a copy has it.
  /// Orders: open and catch_up take from it with release, here and in_step read it with acquire: who sees 0 sees each copy as its keeper
  /// left it, as additions in between break no chain of releases. Additions are relaxed: who sees a change sees the addition before it.
  std::atomic<std::uint64_t> behind{0};
  std::atomic<bool> given_up{false};  // who sees it sees `behind` as well, and tells others by a later change
  std::vector<cell_ref> keepers;      // by node; constant once the table is made
  const void* scheduler = nullptr;    // whose workers read copies
};

/// One keeper on each node, if there are several. The runtime is running: runtime_error otherwise.
KARYON_API void start_replica_keepers(runtime& rt, const std::shared_ptr<replica_body>& body);
/// There is something to catch up with.
KARYON_API void wake_replica_keepers(const replica_body& body) noexcept;
KARYON_API void end_replica_keepers(const replica_body& body) noexcept;

template <class Key, class Value, class Compare>
class typed_replica_body final : public replica_body {
public:
  using table_type = table<Key, Value, Compare>;

  typed_replica_body(const table_options& options, const Compare& compare)
      : original(options, compare), compare_(compare) {}
  ~typed_replica_body() override {
    for (copy& c : copies) {
      free_all(c.notes.load(std::memory_order_acquire));  // pairs with push's release: the notes
      free_all(c.taken);
    }
  }

  /// A key that was changed, waiting for one copy. Made before the change, so that all that may fail has not failed.
  struct note {
    explicit note(const Key& k) : key(k) {}
    Key key;
    note* next = nullptr;
  };
  struct alignas(64) copy {
    copy() = default;
    std::unique_ptr<table_type> entries;  // made while `behind` counts it
    std::atomic<note*> notes{nullptr};
    note* taken = nullptr;  // off `notes`, and not yet done: the keeper's
  };

  void prepare(std::size_t nodes) override {
    copies = std::vector<copy>(nodes);
    behind.store(nodes, std::memory_order_relaxed);  // until each is made
  }

  void open(std::size_t node) override {
    copies[node].entries = std::make_unique<table_type>(table_options{}, compare_);
    behind.fetch_sub(1, std::memory_order_release);  // pairs with the acquire in here: who sees 0 sees the copy
  }

  bool catch_up(std::size_t node) override {
    constexpr int at_a_time = 64;  // some microseconds
    copy& c = copies[node];
    // Acquire pairs with push's release: who takes a note sees its key, and in the table the change that it was written for.
    if (c.taken == nullptr) c.taken = c.notes.exchange(nullptr, std::memory_order_acquire);
    for (int i = 0; c.taken != nullptr && i < at_a_time; ++i) {
      // What is in the table now, not what was changed then: so it does not matter which of two changes comes first. An error is
      // thrown: who is told that something is left would come back at once, and find the same error.
      if (const auto value = original.lookup(c.taken->key)) {
        static_cast<void>(c.entries->insert(c.taken->key, *value).value());
      } else {
        static_cast<void>(c.entries->erase(c.taken->key).value());
      }
      delete std::exchange(c.taken, c.taken->next);
      behind.fetch_sub(1, std::memory_order_release);  // pairs with the acquire in here: 0 shows what the copy got
    }
    return c.taken != nullptr || c.notes.load(std::memory_order_relaxed) != nullptr;
  }

  void push(std::size_t node, std::unique_ptr<note> n) noexcept {
    std::atomic<note*>& notes = copies[node].notes;
    note* const first = n.release();
    first->next = notes.load(std::memory_order_relaxed);
    // Release pairs with the acquires of catch_up and of the destructor: the key, and the change before.
    while (!notes.compare_exchange_weak(first->next, first, std::memory_order_release, std::memory_order_relaxed)) {
    }
  }

  table_type original;
  std::vector<copy> copies;  // by node; as many from before the keepers start

private:
  static void free_all(note* n) noexcept {
    while (n != nullptr) delete std::exchange(n, n->next);
  }

  Compare compare_;
};

}  // namespace detail

/// A table that is read far more often than changed, with a copy in the memory of each NUMA node: what Erlang's persistent_term is
/// for, without the moment at which all processes are stopped and searched.
///
/// A look-up by a cell reads the copy of the cell's node, as long as all copies have all that is in the table. While a change is on
/// its way to them, and from threads that are no workers of the runtime, it reads the table itself. So every operation is atomic, as
/// with karyon::table: who has seen a change, or has been told of it, sees it. Changes do not wait for the copies, and nobody is stopped.
/// On a machine with one node there is no copy, and all of it is a karyon::table.
///
/// Threads: every function but constructor and destructor may be called by any thread at any time. Ownership: as with karyon::table;
/// copies are kept by one cell on each node, which ends with the table or with the runtime, whichever is first; a table whose
/// runtime has ended reads itself. Nobody may use it any more when it is destroyed.
///
/// Errors: as with karyon::table. The quota is that of the table; each copy takes about as much memory once more. A copy that can not
/// be made or changed (no memory, a comparison or a copy that throws) is tried again, and not read until it is done.
///
/// Cost of a look-up: that of karyon::table, and one load of a word that only changes write to. Of a change: that of karyon::table,
/// and an allocation and a signal for each node.
template <class Key, class Value, class Compare = std::less<Key>>
class replicated_table {
public:
  using table_type = table<Key, Value, Compare>;

  /// Throws std::bad_alloc, and runtime_error if the runtime is stopping.
  explicit replicated_table(runtime& rt, const table_options& options = {}, const Compare& compare = Compare())
      : body_(std::make_shared<body_type>(options, compare)) {
    detail::start_replica_keepers(rt, body_);
  }
  ~replicated_table() { detail::end_replica_keepers(*body_); }
  replicated_table(const replicated_table&) = delete;
  replicated_table& operator=(const replicated_table&) = delete;

  /// The value of a key. No lock, no allocation but what copying the value takes.
  [[nodiscard]] std::optional<Value> lookup(const Key& key) const { return here().lookup(key); }
  [[nodiscard]] bool contains(const Key& key) const { return here().contains(key); }
  /// The table itself: for ranges, neighbours, sizes. What is read here is no copy.
  [[nodiscard]] const table_type& original() const noexcept { return body_->original; }

  // As those of karyon::table.
  result<bool> insert(const Key& key, const Value& value) {
    return change(key, [&](table_type& t) { return t.insert(key, value); });
  }
  result<bool> insert_new(const Key& key, const Value& value) {
    return change(key, [&](table_type& t) { return t.insert_new(key, value); });
  }
  result<bool> erase(const Key& key) {
    return change(key, [&](table_type& t) { return t.erase(key); });
  }
  template <class F>
  result<bool> update(const Key& key, F&& f) {
    return change(key, [&](table_type& t) { return t.update(key, f); });
  }
  result<bool> compare_and_set(const Key& key, const Value& expected,
                               const Value& desired) requires std::equality_comparable<Value> {
    return change(key, [&](table_type& t) { return t.compare_and_set(key, expected, desired); });
  }

  /// How many copies there are: one a node, or none on a machine with one node.
  [[nodiscard]] std::size_t copies() const noexcept { return body_->copies.size(); }
  /// Whether all copies have what is in the table right now, so that cells read theirs.
  [[nodiscard]] bool in_step() const noexcept {
    return body_->behind.load(std::memory_order_acquire) == 0;  // pairs with the keepers' releases in catch_up
  }

private:
  using body_type = detail::typed_replica_body<Key, Value, Compare>;
  using note = typename body_type::note;

  /// Tells the keepers what was changed, however the change ends.
  class announcement {
  public:
    announcement(body_type& body, const Key& key) : body_(&body) {
      notes_.reserve(body.copies.size());
      for (std::size_t i = 0; i < body.copies.size(); ++i) notes_.push_back(std::make_unique<note>(key));
      // Before the change: who sees that finds the copies behind. Whoever looks at them later has this add, as it has the change, which
      // the table publishes with release.
      body.behind.fetch_add(notes_.size(), std::memory_order_relaxed);
    }
    announcement(const announcement&) = delete;
    announcement& operator=(const announcement&) = delete;
    ~announcement() {
      for (std::size_t i = 0; i < notes_.size(); ++i) body_->push(i, std::move(notes_[i]));
      detail::wake_replica_keepers(*body_);
    }

  private:
    body_type* body_;
    std::vector<std::unique_ptr<note>> notes_;
  };

  template <class F>
  result<bool> change(const Key& key, const F& f) {
    // Acquire pairs with give_up's release: who sees this change finds the copies behind, for good.
    if (body_->copies.empty() || body_->given_up.load(std::memory_order_acquire)) return f(body_->original);
    return detail::as_errors([&] {
      const announcement told(*body_, key);
      return f(body_->original);
    });
  }

  [[nodiscard]] const table_type& here() const noexcept {
    // 0: each copy has all that was changed before this moment, and gets nothing that is older than it. Acquire pairs with the release of
    // the keepers' subtraction, in open and catch_up.
    if (body_->copies.empty() || body_->behind.load(std::memory_order_acquire) != 0) return body_->original;
    const std::size_t node = body_->node_here();
    return node < body_->copies.size() ? *body_->copies[node].entries : body_->original;
  }

  std::shared_ptr<body_type> body_;
};

}  // namespace karyon
