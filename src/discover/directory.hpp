#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/discover/member.hpp>
#include <karyon/discover/registry.hpp>

#include "cell/peer_channel.hpp"
#include "cell/runtime_core.hpp"
#include "discover/flat_index.hpp"

namespace karyon::detail {

class group_store;
class name_store;
struct membership;

inline constexpr std::size_t shard_count = 64;

/// Where a scope keeps what a cell has in it.
class membership_owner {
public:
  /// The cell has ended: the membership is out of its cell's list already, and is freed here. Any thread.
  virtual void cell_left(membership& m) noexcept = 0;

protected:
  ~membership_owner() = default;
};

/// One thing that a cell has somewhere: a membership of a group, a watch, a name. It lies in its cell's list (the lock of the cell's
/// shard, or whoever has taken the list off) and in its scope's table (the lock of the scope's shard).
struct membership {
  enum class kind : std::uint8_t { group, group_watch, scope_watch, name };
  membership* next = nullptr;  // the cell's shard
  membership* previous = nullptr;
  membership_owner* const owner;
  void* const entry;           // of the scope: group_entry, name_entry, or null
  const std::uint64_t number;  // of the cell, or of the watch
  std::uint32_t position = 0;  // the scope's shard
  const kind what;
};

/// What is known of an incarnation or role that has something. The lock of its shard.
struct cell_record {
  cell_slot* slot;
  std::uint32_t number;
  bool role;
  std::uint64_t
      id;  // among all records of the runtime, with its shard in the low bits; what other nodes know the cell by
  cell_record* next_of_slot = nullptr;
  membership* first = nullptr;

  void add(membership& m) noexcept {
    m.next = first;
    if (first != nullptr) first->previous = &m;
    first = &m;
  }
  void remove(membership& m) noexcept {
    (m.previous != nullptr ? m.previous->next : first) = m.next;
    if (m.next != nullptr) m.next->previous = m.previous;
  }
};

/// The reverse index: which cells have something, and what. One a runtime, for all of its scopes.
///
/// Locks: a cell's shard, then a shard of a scope, then the scope's log of changes (peer_link.hpp); several of the first two in the
/// order of their index. A cell's end takes its record out under the first, and visits what the record lists without it.
class directory final : public runtime_service {
public:
  struct alignas(64) shard {
    std::mutex mutex;
    flat_index<cell_record> slots;    // the first record of each slot
    flat_index<cell_record> numbers;  // all of them by id, from the first time on that another node sends to one
    bool numbered = false;
    object_pool<cell_record> pool;
  };

  explicit directory(runtime_core& rt) noexcept;
  ~directory() override;
  /// The runtime's. Throws std::bad_alloc, runtime_error.
  [[nodiscard]] static directory& of(runtime_core& rt);

  [[nodiscard]] runtime_core& runtime() noexcept { return runtime_; }
  /// Whether it can have something here: a local cell of this runtime whose class is known; invalid_argument, dead.
  [[nodiscard]] result<void> check_member(const member& m) const;
  [[nodiscard]] result<group_store*> open_groups(std::string_view scope);
  [[nodiscard]] result<name_store*> open_names(std::string_view scope, registry_options options);
  /// It has been stopped: open makes another of its name.
  void retire(const group_store& s) noexcept;
  void retire(const name_store& s) noexcept;

  [[nodiscard]] static std::size_t shard_index(const cell_slot* slot) noexcept {
    return hash_of_slot(slot) >> (64 - 6);
  }
  [[nodiscard]] shard& shard_of(const cell_slot* slot) noexcept { return shards_[shard_index(slot)]; }
  [[nodiscard]] shard& at(std::size_t index) noexcept { return shards_[index]; }

  // Under the lock of the cell's shard:

  /// The cell's record, made if there is none; null if the cell is dead. Throws std::bad_alloc.
  [[nodiscard]] cell_record* note(shard& s, const member& m);
  [[nodiscard]] static cell_record* find(const shard& s, const address& a, bool role) noexcept;
  /// By what other nodes know it by. The first time costs O(records of the shard), and throws std::bad_alloc.
  [[nodiscard]] static cell_record* find(shard& s, std::uint64_t id);
  /// Forgets it if it has nothing.
  void drop_if_idle(shard& s, cell_record& r) noexcept;

  /// Without a lock: a signal of another node for a cell that has something in that scope.
  void deliver(const membership_owner& scope, std::uint64_t id, arrived_signal& s);

  void incarnation_ended(const address& which) noexcept override { ended(which, false); }
  void role_ended(const address& which) noexcept override { ended(which, true); }
  void network_installed(peer_network& network) noexcept override;

private:
  [[nodiscard]] static std::uint64_t hash_of_slot(const cell_slot* slot) noexcept {
    return mixed_bits(reinterpret_cast<std::uint64_t>(slot));
  }
  void ended(const address& which, bool role) noexcept;
  void drop(shard& s, cell_record& r) noexcept;

  runtime_core& runtime_;
  std::array<shard, shard_count> shards_;
  std::atomic<std::uint64_t> last_id_{0};
  std::mutex scopes_mutex_;
  // scopes_mutex_:
  std::map<std::string, std::unique_ptr<group_store>, std::less<>> groups_;
  std::map<std::string, std::unique_ptr<name_store>, std::less<>> registries_;
  std::vector<std::unique_ptr<group_store>> retired_groups_;  // stopped; handles may name them
  std::vector<std::unique_ptr<name_store>> retired_registries_;
  peer_network* network_ = nullptr;
};

/// Holds the locks of all shards of some cells, in the order of their index.
class cell_locks {
public:
  cell_locks(directory& d, const member* first, std::size_t n);
  ~cell_locks();
  cell_locks(const cell_locks&) = delete;
  cell_locks& operator=(const cell_locks&) = delete;

private:
  directory& directory_;
  std::uint64_t held_ = 0;
};

}  // namespace karyon::detail
