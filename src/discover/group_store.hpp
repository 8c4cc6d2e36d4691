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
#include "discover/remote_members.hpp"
#include "discover/scope_table.hpp"

namespace karyon::detail {

/// A local member of a group.
struct group_place {
  address at;
  bool role;
  const class_info* info;
  membership* held;
  [[nodiscard]] member as_member() const noexcept { return member_access::make(at, role, info); }
};
struct group_watcher {
  address at;
  const signal_ops* ops;
  membership* held;
};
struct group_entry {
  explicit group_entry(std::uint64_t h, std::string_view n) : hash(h), name(n) {}
  const std::uint64_t hash;
  const std::string name;
  std::vector<group_place> local;
  remote_members remote;
  std::vector<group_watcher> watchers;
  std::uint32_t turn = 0;
  [[nodiscard]] bool idle() const noexcept { return local.empty() && remote.empty() && watchers.empty(); }
};
/// What a shard of groups has beside them.
struct group_shard_extras {
  std::vector<group_watcher> watchers;  // of the whole scope: the same in all shards
  std::uint64_t dice = 0;
};

/// A scope of groups behind its handles.
///
/// A group's local members lie in a dense array; each membership knows its place there, so a leave moves the last member into the
/// hole and is O(1). A group exists while it has members or watchers. docs/internals/groups-and-registry.md
class group_store final : public membership_owner,
                          public peer_sink,
                          public far_port,
                          private scope_table<group_entry, group_shard_extras> {
public:
  group_store(directory& d, std::string name);
  ~group_store();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Finds the scopes of this name on other nodes, and tells them what there is here.
  void connect(peer_network& network);
  /// No call comes from the network any more, and none goes there.
  void disconnect() noexcept { disconnect_all(); }

  result<void> join(std::string_view group, std::span<const member> who);
  result<void> leave(std::string_view group, std::span<const member> who);
  [[nodiscard]] std::vector<member> members(std::string_view group, bool local_only);
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
  void remote_changed(std::span<const replica_change> changes, std::size_t& done) override;
  void asked_to_remove(std::uint64_t, std::string_view) override {}
  void signal_for_group(std::string_view group, arrived_signal& s) override;
  void signal_for_cell(std::uint64_t number, arrived_signal& s) override { directory_.deliver(*this, number, s); }
  [[nodiscard]] send_result send_far(std::uint64_t node, std::uint64_t number, const signal& s) noexcept override {
    return send_by_link(node, number, s);
  }

private:
  using place = group_place;
  using watcher = group_watcher;

  static void take_out(group_entry& g, const membership& m) noexcept;
  void append_members(const group_entry& g, bool local_only, std::vector<member>& to);
  void tell(const shard& s, const group_entry& g, bool joined, const member* first, std::size_t n) const noexcept;
  void replicate(const group_entry& g, bool add, const std::uint64_t* first, std::size_t n) noexcept;
  void apply(const replica_change& change);
  [[nodiscard]] result<void> check_open() const;
  void end_watch(membership& m) noexcept;
  [[nodiscard]] bool stop_one(shard& s, std::size_t& from) noexcept;
  [[nodiscard]] member choose(shard& s, group_entry& g, pick_by how, bool local_only) noexcept;

  directory& directory_;
  const std::string name_;
  std::atomic<std::uint64_t> last_watch_{0};
};

}  // namespace karyon::detail
