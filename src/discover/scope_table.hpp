#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "discover/directory.hpp"
#include "discover/flat_index.hpp"
#include "discover/peer_link.hpp"

namespace karyon::detail {

/// What scopes of groups and of names have in common: named entries in shards with a lock each, and a link to the scopes of that name on
/// other nodes.
///
/// An Entry has a `hash` and a `name`, is made from both, and says when it is `idle()`: then it is dropped. More is what else a shard has.
template <class Entry, class More>
class scope_table {
public:
  scope_table(const scope_table&) = delete;
  scope_table& operator=(const scope_table&) = delete;

protected:
  struct alignas(64) shard : More {
    std::mutex mutex;
    flat_index<Entry> entries;
  };
  /// Holds the locks of all shards, in the order of their index.
  class all_shards {
  public:
    explicit all_shards(scope_table& t) : table_(t) {
      for (shard& one : table_.shards_) one.mutex.lock();
    }
    ~all_shards() {
      for (shard& one : table_.shards_) one.mutex.unlock();
    }
    all_shards(const all_shards&) = delete;
    all_shards& operator=(const all_shards&) = delete;

  private:
    scope_table& table_;
  };

  scope_table() = default;
  ~scope_table() {
    for (shard& s : shards_) {
      std::vector<Entry*> all;
      s.entries.for_each([&all](Entry& e) { all.push_back(&e); });
      for (Entry* e : all) delete e;
    }
  }

  [[nodiscard]] shard& shard_of(std::uint64_t hash) noexcept { return shards_[hash >> (64 - 6)]; }

  // Under the shard's lock:

  [[nodiscard]] static Entry* find_entry(shard& s, std::string_view name, std::uint64_t hash) noexcept {
    return s.entries.find(hash, [name](const Entry& e) { return e.name == name; });
  }
  /// Throws std::bad_alloc.
  [[nodiscard]] static Entry& find_or_add(shard& s, std::string_view name, std::uint64_t hash) {
    if (Entry* known = find_entry(s, name, hash)) return *known;
    s.entries.make_room();
    auto* e = new Entry(hash, name);
    s.entries.add(hash, *e);
    return *e;
  }
  static void drop_if_idle(shard& s, Entry& e) noexcept {
    if (!e.idle()) return;
    s.entries.remove(e.hash, e);
    delete &e;
  }

  /// Finds the scopes of that service on other nodes, and tells them what is here: `ops_of` appends what an entry has. A scope that the
  /// network has no place for stays local.
  template <class OpsOf>
  void connect_as(peer_network& network, const std::string& service, std::uint64_t seed, peer_sink& sink,
                  OpsOf&& ops_of) {
    static std::atomic<std::uint64_t> lives{0};
    const std::uint64_t epoch = mixed_bits(seed + ++lives) | 1u;
    std::unique_ptr<peer_link> link;  // freed without the locks: calls of the network may wait for them
    const all_shards lock(*this);
    // What the network tells from the first moment waits for the locks, and so comes to a scope that is connected.
    link = peer_link::open(network, service, epoch, sink);
    if (link == nullptr) return;
    for (shard& s : shards_) {
      std::vector<replica_op> ops;
      s.entries.for_each([&](const Entry& e) { ops_of(e, ops); });
      link->local(ops);
    }
    link_ = std::move(link);
  }
  /// To a cell of another node. Holds no lock of the table while it sends.
  [[nodiscard]] send_result send_by_link(std::uint64_t node, std::uint64_t number, const signal& s) noexcept {
    std::shared_lock<std::shared_mutex> stays;
    peer_link* by = nullptr;
    {
      const std::lock_guard lock(shard_of(mixed_bits(number)).mutex);
      if (link_ == nullptr) return closed_ ? send_result::closed : send_result::no_route;
      by = link_.get();
      stays = by->stay();
    }
    switch (by->send_to_cell(node, number, s)) {
      case peer_fate::sent: return send_result::accepted;
      case peer_fate::full: return send_result::no_credit;
      case peer_fate::down: return send_result::peer_down;
      case peer_fate::too_large: return send_result::too_large;
      case peer_fate::undeclared: return send_result::not_declared;
      case peer_fate::closed: break;
    }
    return send_result::closed;
  }
  /// No call comes from the network any more, and none goes there. Without any lock.
  void disconnect_all() noexcept {
    std::unique_ptr<peer_link> link;
    {
      const all_shards lock(*this);
      link = std::move(link_);
    }
    if (link != nullptr) link->leave();
  }
  /// The scope is closed from now on, and other nodes are told; false if it was. `entry_ends` sees each entry, under all locks.
  template <class EntryEnds>
  [[nodiscard]] bool close_all(EntryEnds&& entry_ends) {
    {
      const all_shards lock(*this);
      if (std::exchange(closed_, true)) return false;
      for (shard& s : shards_) s.entries.for_each(entry_ends);
    }
    disconnect_all();
    return true;
  }

  std::array<shard, shard_count> shards_;
  bool closed_ = false;              // written with the locks of all shards, read with any
  std::unique_ptr<peer_link> link_;  // the same
};

}  // namespace karyon::detail
