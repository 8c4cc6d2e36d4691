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

#include <karyon/discover/groups.hpp>
#include <karyon/discover/member.hpp>
#include <karyon/discover/registry.hpp>

#include "cell/peer_channel.hpp"
#include "cell/runtime_core.hpp"
#include "discover/cell_block.hpp"
#include "discover/flat_index.hpp"

namespace karyon::detail {

class group_store;
class name_store;

inline constexpr std::size_t shard_count = 64;

/// The reverse index: which cells have something, and what. One a runtime, for all of its scopes. A cell that has one membership of a
/// group and nothing else has it in its block's entry; one that has more has a record there.
///
/// Locks: a cell's shard, then a shard of a scope, then the scope's log of changes (peer_link.hpp); several of the first two in the
/// order of their index. A cell's end takes its record out under the first, and visits what the record lists without it.
class directory final : public runtime_service {
public:
  struct alignas(64) shard {
    std::mutex mutex;
    flat_index<cell_block> blocks;                   // by where they begin
    std::vector<std::unique_ptr<cell_block>> owned;  // in the order of their ordinals
    object_pool<cell_record> pool;
  };

  explicit directory(runtime_core& rt) noexcept;
  ~directory() override;
  /// The runtime's. Throws std::bad_alloc, runtime_error.
  [[nodiscard]] static directory& of(runtime_core& rt);

  [[nodiscard]] runtime_core& runtime() noexcept { return runtime_; }
  /// Whether it can have something here: a local cell of this runtime whose class is known; invalid_argument, dead.
  [[nodiscard]] result<void> check_member(const member& m) const;
  [[nodiscard]] result<group_store*> open_groups(std::string_view scope, scope_reach reach);
  [[nodiscard]] result<name_store*> open_names(std::string_view scope, registry_options options);
  /// It has been stopped: open makes another of its name.
  void retire(const group_store& s) noexcept;
  void retire(const name_store& s) noexcept;

  [[nodiscard]] static std::size_t shard_index(const cell_slot* slot) noexcept {
    return hash_of_block(cell_block::base_of(slot)) >> (64 - 6);
  }
  [[nodiscard]] shard& shard_of(const cell_slot* slot) noexcept { return shards_[shard_index(slot)]; }
  [[nodiscard]] shard& at(std::size_t index) noexcept { return shards_[index]; }

  // Under the lock of the cell's shard:

  /// The block that the slot begins in, made if there is none. Throws std::bad_alloc.
  [[nodiscard]] cell_block& block_of(shard& s, const cell_slot* slot);
  /// Null if there is no block.
  [[nodiscard]] static cell_block* find_block(const shard& s, const cell_slot* slot) noexcept;
  /// The cell's record, made if there is none; null if the cell is dead. Throws std::bad_alloc.
  [[nodiscard]] cell_record* note(shard& s, const member& m);
  /// Only what has a record: not one membership of a group alone.
  [[nodiscard]] static cell_record* find(const shard& s, const address& a, bool role) noexcept;
  [[nodiscard]] static cell_record* find(const cell_entry& e, std::uint32_t number, bool role) noexcept;
  /// The entry holds that one membership from now on, and it is empty; false, and it is empty again, if the cell is dead.
  [[nodiscard]] bool hold(cell_entry& e, group_entry& g, const member& m, std::uint32_t place) noexcept;
  /// Takes one of a cell's memberships of the group away from the cell, the one that it joined last: its place, and what other nodes know
  /// the cell by. False: it has none. The group is not looked into: it may have gone.
  [[nodiscard]] bool take_place(shard& s, const address& a, bool role, const group_store& home, const group_entry* g,
                                std::uint32_t& place, std::uint64_t& id) noexcept;
  /// Where the membership that sits in this place of the group has its number; null if its cell has just taken it away.
  [[nodiscard]] static std::uint32_t* place_in(cell_entry& e, const group_entry& g, std::uint32_t number, bool role,
                                               std::uint32_t place) noexcept;
  /// Forgets it if it has nothing.
  void drop_if_idle(shard& s, cell_record& r) noexcept;

  /// Without a lock: a signal of another node for a cell that has something in that scope.
  void deliver(const membership_owner& scope, std::uint64_t id, arrived_signal& s);

  void incarnation_ended(const address& which) noexcept override { ended(which, false); }
  void role_ended(const address& which) noexcept override { ended(which, true); }
  void network_installed(peer_network& network) noexcept override;

private:
  [[nodiscard]] static std::uint64_t hash_of_block(std::uintptr_t base) noexcept { return mixed_bits(base); }
  void make_list(shard& s, cell_block& b, cell_entry& e);
  void ended(const address& which, bool role) noexcept;
  void drop(shard& s, cell_record& r) noexcept;

  runtime_core& runtime_;
  std::array<shard, shard_count> shards_;
  std::atomic<std::uint32_t> last_block_{0};
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
  [[nodiscard]] std::uint64_t held() const noexcept { return held_; }  // a bit a shard

private:
  directory& directory_;
  std::uint64_t held_ = 0;
};

}  // namespace karyon::detail
