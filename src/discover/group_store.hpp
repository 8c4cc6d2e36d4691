#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/discover/groups.hpp>

#include "discover/directory.hpp"
#include "discover/member_places.hpp"
#include "discover/remote_members.hpp"
#include "discover/scope_table.hpp"

namespace karyon::detail {

struct group_watcher {
  address at;
  const signal_ops* ops;
  membership* held;
};
class group_store;

struct alignas(16) group_entry {
  explicit group_entry(std::uint64_t h, std::string_view n) : hash(h), name(n) {}
  const std::uint64_t hash;
  const std::string name;
  group_store* home =
      nullptr;  // set before the first member sits, then constant: who holds a member's entry may read it
  member_places local;
  std::vector<const class_info*> classes;  // of those who have been members; mostly one
  remote_members remote;
  std::vector<group_watcher> watchers;
  std::uint32_t turn_here = 0;  // the place that a pick among the local members looks at next
  std::uint32_t turn_all = 0;   // the same among all
  [[nodiscard]] bool idle() const noexcept { return local.empty() && remote.empty() && watchers.empty(); }
  [[nodiscard]] std::size_t size(bool local_only) const noexcept;
  [[nodiscard]] member as_member(const member_place& s) const noexcept {
    return member_access::make(s.at(), s.role(), classes[s.kind()]);
  }
  /// The class's place in `classes`, where it is put. Throws std::bad_alloc.
  [[nodiscard]] std::uint32_t kind_of(const class_info* c);
};
/// What a shard of groups has beside them.
struct group_shard_extras {
  std::vector<group_watcher> watchers;  // of the whole scope: the same in all shards
  std::uint64_t dice = 0;
};

/// A scope of groups behind its handles.
///
/// A group's local members have places in it, and each cell knows its own, so a leave is O(1): the place is free for the next who comes.
/// When more than half are free, who sits last is moved. A group exists while it has members or watchers.
/// docs/internals/groups-and-registry.md
class group_store final : public membership_owner,
                          public peer_sink,
                          public far_port,
                          private scope_table<group_entry, group_shard_extras> {
public:
  group_store(directory& d, std::string name, scope_reach reach);
  ~group_store();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Finds the scopes of this name on other nodes, and tells them what there is here.
  void connect(peer_network& network);
  /// No call comes from the network any more, and none goes there.
  void disconnect() noexcept { disconnect_all(); }

  result<void> join(std::string_view group, std::span<const member> who);
  result<void> leave(std::string_view group, std::span<const member> who);
  [[nodiscard]] std::vector<member> members(std::string_view group, bool local_only);
  [[nodiscard]] std::size_t size(std::string_view group, bool local_only);
  [[nodiscard]] std::vector<std::string> groups(bool local_only);
  result<group_snapshot> watch(std::string_view group, const member& who, const signal_ops* ops);
  result<group_snapshot> watch_all(const member& who, const signal_ops* ops);
  result<void> unwatch(const cell_ref& who, watch_id which);
  /// The local members, and whether there are others.
  [[nodiscard]] std::vector<member> receivers(std::string_view group, bool& elsewhere);
  /// One frame for each node that has members.
  void send_elsewhere(std::string_view group, const signal& s, group_sent& sent);
  [[nodiscard]] result<member> pick(std::string_view group, pick_by how, bool local_only);
  void stop();

  void cell_left(membership& m) noexcept override;
  /// Whose only membership this was, has ended, and is out of its entry already. Any thread.
  void place_left(group_entry& g, std::uint32_t place) noexcept;
  void remote_changed(std::span<const replica_change> changes, std::size_t& done) override;
  void asked_to_remove(std::uint64_t, std::string_view) override {}
  void signal_for_group(std::string_view group, arrived_signal& s) override;
  void signal_for_cell(std::uint64_t number, arrived_signal& s) override { directory_.deliver(*this, number, s); }
  [[nodiscard]] send_result send_far(std::uint64_t node, std::uint64_t number, const signal& s) noexcept override {
    return send_by_link(node, number, s);
  }

private:
  using watcher = group_watcher;

  [[nodiscard]] result<std::uint64_t> put(group_entry& g, const member& m);
  void close_up(group_entry& g, std::uint64_t cells_held) noexcept;
  void append_members(const group_entry& g, bool local_only, std::vector<member>& to);
  void tell(const shard& s, const group_entry& g, bool joined, const member* first, std::size_t n) const noexcept;
  void replicate(const group_entry& g, bool add, const std::uint64_t* first, std::size_t n) noexcept;
  void apply(const replica_change& change);
  [[nodiscard]] result<void> check_open() const;
  void end_watch(membership& m) noexcept;
  [[nodiscard]] bool stop_one(shard& s, std::size_t& from) noexcept;
  [[nodiscard]] member choose(shard& s, group_entry& g, pick_by how, bool local_only) noexcept;
  [[nodiscard]] std::uint32_t any_place(shard& s, const group_entry& g) const noexcept;
  [[nodiscard]] std::uint32_t least_loaded(shard& s, const group_entry& g) const noexcept;
  [[nodiscard]] std::uint32_t nearest(const group_entry& g, std::uint32_t from) const noexcept;

  directory& directory_;
  const std::string name_;
  const scope_reach reach_;
  std::atomic<std::uint64_t> last_watch_{0};
};

}  // namespace karyon::detail
