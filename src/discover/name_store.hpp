#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/discover/registry.hpp>

#include "discover/directory.hpp"
#include "discover/scope_table.hpp"

namespace karyon::detail {

/// The highest time that a claim has. Who is there gets no further, so that no claim of another node's, whatever it says, makes ours
/// begin anew at 0; between claims of this time the node decides alone.
inline constexpr std::uint64_t claim_time_max = (std::uint64_t{1} << 63u) - 1;

/// Which of two claims to a name stays where nobody else decides: the later; of the same time, that of the higher node. Each node
/// comes to the same answer.
[[nodiscard]] constexpr bool claim_wins(std::uint64_t time, std::uint64_t node, std::uint64_t other_time,
                                        std::uint64_t other_node) noexcept {
  return time != other_time ? time > other_time : node > other_node;
}

/// What another node has told of a name.
struct remote_claim {
  std::uint64_t node;
  std::uint64_t number;
  std::uint64_t time;
  friend bool operator==(const remote_claim&, const remote_claim&) = default;
};
struct name_entry {
  explicit name_entry(std::uint64_t h, std::string_view n) : hash(h), name(n) {}
  const std::uint64_t hash;
  const std::string name;
  membership* held = nullptr;  // of the owner here; null if there is none
  address at;
  const class_info* info = nullptr;
  bool role = false;
  bool leaving = false;           // in its shard's list of those that are dropped soon
  std::uint32_t memberships = 0;  // that name this entry: the owner's, and those of cells that are just ending
  std::uint64_t time = 0;
  std::vector<remote_claim> elsewhere;
  [[nodiscard]] member owner() const noexcept { return member_access::make(at, role, info); }
  /// Ended cells own nothing, also while their end is still on its way here.
  [[nodiscard]] bool owned() const noexcept {
    return held != nullptr && (role ? role_alive(at) : incarnation_alive(at));
  }
  [[nodiscard]] bool idle() const noexcept { return memberships == 0 && elsewhere.empty(); }
};

/// Names that are nobody's any more, on their way out of the table. Where each lies in the index only its hash tells, far from the one
/// before; so it is fetched when the name joins this list, and taken out when it has come, by those who follow. A name that is
/// registered meanwhile stays.
struct leaving_names {
  static constexpr std::size_t most = 8;
  std::array<name_entry*, most> leaving{};
  std::size_t left = 0;  // so many have joined the list
};

/// A scope of names behind its handles. An entry holds this node's claim, if there is one, and those that other nodes have told of;
/// mostly there is one in all. docs/internals/groups-and-registry.md
class name_store final : public membership_owner,
                         public peer_sink,
                         public far_port,
                         private scope_table<name_entry, leaving_names> {
public:
  name_store(directory& d, std::string name, registry_options options);
  ~name_store();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  void connect(peer_network& network);
  void disconnect() noexcept { disconnect_all(); }

  result<void> add(std::string_view name, const member& who);
  /// Of `who`, or of anybody.
  result<void> remove(std::string_view name, const member* who);
  [[nodiscard]] result<member> find(std::string_view name);
  [[nodiscard]] std::vector<std::string> names_of(const member& who);
  [[nodiscard]] std::size_t size();
  [[nodiscard]] registry_metrics metrics() const noexcept;
  void stop();

  void cell_left(membership& m) noexcept override;
  void remote_changed(std::span<const replica_change> changes, std::size_t& done) override;
  void asked_to_remove(std::uint64_t by, std::string_view key) override;
  void signal_for_group(std::string_view, arrived_signal& s) override { ++s.undelivered; }  // names are no groups
  void signal_for_cell(std::uint64_t number, arrived_signal& s) override { directory_.deliver(*this, number, s); }
  [[nodiscard]] send_result send_far(std::uint64_t node, std::uint64_t number, const signal& s) noexcept override {
    return send_by_link(node, number, s);
  }

private:
  struct conflict {
    std::string name;
    remote_claim theirs;
  };

  void give(name_entry& e, cell_record& r, const member& who);
  void clear_owner(name_entry& e) noexcept;
  static void drop_soon(shard& s, name_entry& e) noexcept;
  void replicate(const name_entry& e, bool add, std::uint64_t number) noexcept;
  [[nodiscard]] bool take_away(std::string_view name, const address& at, bool role);
  void apply(const replica_change& change, std::vector<conflict>& found);
  void resolve(const conflict& c);
  [[nodiscard]] name_winner decide(std::string_view name, const name_claim& first, const name_claim& second);
  [[nodiscard]] std::uint64_t next_time() noexcept;
  void heard(std::uint64_t time) noexcept;

  directory& directory_;
  const std::string name_;
  const registry_options options_;
  std::atomic<std::uint64_t> conflicts_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint64_t> callback_failures_{0};
  std::atomic<std::uint64_t> clock_{0};  // Lamport's: later than every claim that is known
};

}  // namespace karyon::detail
