#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include <karyon/cell/broadcast.hpp>
#include <karyon/cell/runtime.hpp>
#include <karyon/core/result.hpp>
#include <karyon/discover/member.hpp>

namespace karyon {

namespace detail {
class group_store;
}  // namespace detail

/// Names one watch of a group or scope; 0 names none.
struct watch_id {
  std::uint64_t value = 0;
  friend bool operator==(const watch_id&, const watch_id&) = default;
};

/// What a watching cell is sent when members join or leave; in the order in which it happened. One that was a member twice and
/// joins or leaves both times at once is there twice.
struct group_event {
  watch_id watch;
  std::string group;
  bool joined = false;  ///< else they have left, have ended, or their node is gone
  std::vector<member> members;
};

/// What a watch begins with: the members of that moment. What happens after it comes as group_event, nothing twice, nothing not;
/// but a bounded mailbox that is full refuses it, or drops it, as any signal: who watches either has room or looks again.
struct group_snapshot {
  watch_id watch;
  struct group {
    std::string name;
    std::vector<member> members;
  };
  std::vector<group> groups;  ///< by name; of a watched group that is empty: none
};

/// By what process_groups::pick chooses. A cell of another node that has joined twice counts once.
enum class pick_by : std::uint8_t {
  random,
  round_robin,  ///< one after the other, as they lie; members that come and go disturb the turn
  least_loaded,  ///< of up to 8 at random, one that has nothing to do, else the one with the fewest signals waiting: these
                 ///< are counted in bounded mailboxes alone, others that are busy are equal; one of another node, whose
                 ///< load is not known here, only if there is none on this one
  nearest,  ///< one whose home is on the caller's NUMA node; if none of 64 is, any of these; then one of another node
};

/// Which nodes a scope of groups is for.
enum class scope_reach : std::uint8_t {
  all_nodes,  ///< each hears of the members of all that it can reach, for which each keeps what it has told, some 100 bytes a member
  this_node,  ///< nobody else hears of it
};

/// How a send to a group went.
struct group_sent {
  std::size_t accepted = 0;  ///< of the local members
  std::size_t refused = 0;   ///< of them: dead, restarting, full, dropped, or without a handler for the type
  /// Other nodes that have members, and have been sent a frame for them. What becomes of it there is counted there
  /// (node_stats::scope_delivered, scope_undelivered).
  std::size_t nodes_accepted = 0;
  /// Those that have not: no room, no link any more, a value larger than a frame, or a type that is not declared here or there.
  std::size_t nodes_refused = 0;
};

/// Many cells under one name: so others find and address all who do the same work, without knowing any. Erlang's `pg`.
///
/// A scope is a space of groups; scopes of one name on several nodes find each other over the nervous system, and each node shows
/// its own members and, soon, those of all nodes that it can reach (eventually consistent). What a node hears of another's members
/// it does not pass on: two nodes that do not see each other do not see each other's members, whoever sees both. When a node is
/// gone so are its members; when a split heals, both sides exchange what they have.
///
/// A cell may be in any number of groups, and in one more than once: it leaves as often as it has joined, or with its end, which
/// costs O(its own memberships), whatever the size of the groups. A membership that is its cell's only one takes some 40 bytes, others
/// take more than 100. Where few of many cells are in a group, it is up to 1.1 KiB more: room for all cells that lie within the same 16 KiB.
/// Members made from a ref end with the incarnation, those made from
/// a child handle with the role: they stay through restarts.
///
/// A value that names the scope; copies name the same one. It lives as long as its runtime; a handle must not be used after that.
/// Threads: any, cells too. Scopes share no lock: a group lies in one of 64 shards by its name, and a call holds one shard's lock
/// for a bounded number of steps (members, send and watch: for a copy of the group; send takes it again for the nodes that have members). Only where other nodes are told, changes of one
/// scope go through one more short lock, which gives them their order.
/// Names are UTF-8 of 1 to name_bytes_max bytes: invalid_argument otherwise. What allocates may throw std::bad_alloc, before
/// anything has changed.
class KARYON_API process_groups {
public:
  process_groups() = default;
  /// The scope of this name, made with this reach if it is not there; else its reach stays. Errors: invalid_argument, unsupported (too
  /// many kinds of services), closed.
  [[nodiscard]] static result<process_groups> open(runtime& rt, std::string_view scope = "default",
                                                   scope_reach reach = scope_reach::all_nodes);

  /// One more membership of a local cell; in effect when it returns. Errors: invalid_argument (a bad name, or a cell of another
  /// node), dead, closed (the scope has been stopped). Amortised O(1), some 100 ns.
  [[nodiscard]] result<void> join(std::string_view group, const member& who);
  /// Of all of them, or of none: dead if one is. Other nodes and watchers are told once.
  [[nodiscard]] result<void> join(std::string_view group, std::span<const member> who);
  /// One membership less. not_found: it is not in the group. O(groups of the cell).
  [[nodiscard]] result<void> leave(std::string_view group, const member& who);
  /// Of each that is in the group; not_found only if none of them is.
  [[nodiscard]] result<void> leave(std::string_view group, std::span<const member> who);

  /// On all nodes that are known here, local ones first; one that has joined twice is there twice. O(members).
  [[nodiscard]] std::vector<member> members(std::string_view group) const;
  [[nodiscard]] std::vector<member> local_members(std::string_view group) const;
  /// How many members() would name; O(1), and O(cells of other nodes that are members) for the former.
  [[nodiscard]] std::size_t size(std::string_view group) const;
  [[nodiscard]] std::size_t local_size(std::string_view group) const;
  /// The groups that have members, by name; O(groups).
  [[nodiscard]] std::vector<std::string> groups() const;
  [[nodiscard]] std::vector<std::string> local_groups() const;

  /// From now on `who`, whose class accepts group_event, is told of each change of the group, which need not exist: the result
  /// has its members at the beginning. Ends with unwatch or with the cell. Errors: as join.
  template <class C>
  [[nodiscard]] result<group_snapshot> watch(std::string_view group, const ref<C>& who) {
    detail::check_signal<C, group_event>();
    return watch_group(group, who, &detail::tell_ops<C, group_event>);
  }
  /// Of all groups of the scope. Holds all shards while it copies them.
  template <class C>
  [[nodiscard]] result<group_snapshot> watch_all(const ref<C>& who) {
    detail::check_signal<C, group_event>();
    return watch_scope(who, &detail::tell_ops<C, group_event>);
  }
  /// After it returns nothing more is sent for the watch; what was sent before may still wait in the mailbox. not_found: there
  /// is no such watch of that cell.
  [[nodiscard]] result<void> unwatch(const cell_ref& who, watch_id which);

  /// Sends a copy of the value to each member on all nodes that are known here, those that join meanwhile left out. The local members are
  /// copied under the lock, and sent to outside of it, as by broadcast(). Each other node that has members is sent one frame, which
  /// goes or is refused at once, and sends to its members when the frame arrives; T has to be declared for that (KARYON_SIGNAL). Order:
  /// what one thread sends to a group arrives in the order sent; towards other nodes that holds among sends to groups alone, not with
  /// what goes by handles. Throws what copying T throws, after having sent to a part.
  template <class T>
  group_sent send(std::string_view group, const T& value) const {
    bool elsewhere = false;
    group_sent sent = send_to(receivers(group, elsewhere), value);
    if (elsewhere) send_elsewhere(group, detail::payload_signal<T>(&detail::remote_only_ops<T>, value), sent);
    return sent;
  }
  /// To the local members alone.
  template <class T>
  group_sent send_local(std::string_view group, const T& value) const {
    return send_to(local_members(group), value);
  }
  /// One member, on whichever node; it can be sent to. not_found: the group has none. O(1) but for least_loaded (8 looks) and nearest
  /// (64 at most).
  [[nodiscard]] result<member> pick(std::string_view group, pick_by how = pick_by::random) const;
  /// One of this node's.
  [[nodiscard]] result<member> pick_local(std::string_view group, pick_by how = pick_by::random) const;

  /// Ends the scope on this node: its members leave, other nodes forget them, watches end, later calls say closed. open() makes a new
  /// one of the name. Idempotent.
  void stop();
  explicit operator bool() const noexcept { return store_ != nullptr; }
  friend bool operator==(const process_groups&, const process_groups&) = default;

private:
  explicit process_groups(detail::group_store* s) noexcept : store_(s) {}
  [[nodiscard]] result<group_snapshot> watch_group(std::string_view group, const member& who,
                                                   const detail::signal_ops* ops);
  [[nodiscard]] result<group_snapshot> watch_scope(const member& who, const detail::signal_ops* ops);
  [[nodiscard]] std::vector<member> receivers(std::string_view group, bool& elsewhere) const;
  void send_elsewhere(std::string_view group, const detail::signal& s, group_sent& sent) const;
  template <class T>
  static group_sent send_to(const std::vector<member>& to, const T& value) {
    static_assert(detail::check_sendable<T>());
    group_sent sent;
    detail::bulk_sender sender;
    constexpr std::size_t ahead = 12;
    const detail::class_info* last = nullptr;
    const detail::signal_ops* ops = nullptr;
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (i + ahead < to.size()) detail::bulk_sender::fetch(detail::member_access::at(to[i + ahead]).slot);
      if (const detail::class_info* c = detail::member_access::class_of(to[i]); c != last) {
        last = c;
        ops = c->find_tell(std::type_index(typeid(T)));
      }
      send_result fate = send_result::no_handler;
      if (ops != nullptr) {
        auto* s = detail::make_signal<detail::payload_signal<T>>(ops, value);
        fate = sender.send(detail::member_access::at(to[i]), to[i].role(), s);
      }
      ++(ok(fate) ? sent.accepted : sent.refused);
    }
    return sent;
  }
  detail::group_store* store_ = nullptr;
};

}  // namespace karyon
