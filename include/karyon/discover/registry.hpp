#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/cell/runtime.hpp>
#include <karyon/core/result.hpp>
#include <karyon/discover/member.hpp>

namespace karyon {

namespace detail {
class name_store;
}  // namespace detail

/// One of two registrations of a name that two nodes have made without knowing of each other.
struct name_claim {
  member who;
  /// The node that made it.
  node_id node;
  /// The order of registrations, as far as nodes have heard of each other's: the later is the higher.
  std::uint64_t time = 0;
};

enum class name_winner : std::uint8_t { first, second, neither };

struct registry_options {
  /// A name is removed only from the node of its cell; otherwise others may ask that node to.
  bool strict = true;
  /// Whether the loser of a conflict is ended, with an error whose type is "karyon::name_conflict"; a role is never ended, it only
  /// loses the name.
  bool end_loser = true;
  /// Decides conflicts in place of the rule (the later registration wins; of the same time, the node with the higher number). Called
  /// on both nodes, each about its own claim, so it has to give the same answer for the same two claims, whatever their order
  /// and whether the cells are local. Called on a thread of the network, by one at a time; what it throws is counted
  /// (registry_metrics), and the rule decides.
  /// It holds up what other nodes tell, and must neither open nor stop a scope.
  std::function<name_winner(std::string_view name, const name_claim& first, const name_claim& second)> on_conflict{};
};

/// What became of names that two nodes had given; numbers that only grow.
struct registry_metrics {
  std::uint64_t conflicts = 0;          ///< decided on this node, about a name that one of its cells had
  std::uint64_t lost = 0;               ///< of them, those that took the name from that cell
  std::uint64_t callback_failures = 0;  ///< of on_conflict: it has thrown, and the rule has decided
};

/// Names that belong to one cell each: so a cell is found without having been told its handle. Syn's registry.
///
/// A name is taken by whoever registers it first, on any node that is known here; it is free again the moment its cell ends. A
/// name given to a child handle stays through restarts: there is no moment at which it resolves to nobody, only sends that say
/// `restarting` for some microseconds. Between nodes it is eventually consistent: two nodes that register a name at the same time, or
/// while they do not see each other, both succeed, and one of them loses it when they meet (registry_options).
///
/// A value that names the scope; copies name the same one. It lives as long as its runtime; a handle must not be used after that.
/// Threads: any, cells too. No lock is shared by all names: each lies in one of 64 shards; where other nodes are told, changes of
/// a scope go through one more short lock.
/// Names are UTF-8 of 1 to name_bytes_max bytes: invalid_argument otherwise. What allocates may throw std::bad_alloc, before
/// anything has changed.
class KARYON_API registry {
public:
  registry() = default;
  /// The scope of this name, made with these options if it is not there; else its options stay. Errors: invalid_argument,
  /// unsupported, closed.
  [[nodiscard]] static result<registry> open(runtime& rt, std::string_view scope = "default",
                                             registry_options options = {});

  /// Gives the name to a local cell. already_present: it belongs to another. To register a cell once more under its name is no
  /// error. dead, invalid_argument, closed. Amortised O(1).
  [[nodiscard]] result<void> add(std::string_view name, const member& who);
  /// Takes the name away from whoever has it. not_found: nobody. refused: its cell is on another node, and the registry is strict; if
  /// it is not, that node is asked to, and may have been told so when this returns.
  [[nodiscard]] result<void> remove(std::string_view name);
  /// Only if it belongs to that cell: not_found otherwise.
  [[nodiscard]] result<void> remove(std::string_view name, const member& who);
  /// Whose it is: not_found if nobody's. One shard's lock for a look-up; O(1).
  [[nodiscard]] result<member> find(std::string_view name) const;
  /// As typed handles; empty if there is none of that class and kind.
  template <class C>
  [[nodiscard]] child<C> find_child(std::string_view name) const {
    const result<member> found = find(name);
    return found ? found->template as_child<C>() : child<C>();
  }
  template <class C>
  [[nodiscard]] ref<C> find_ref(std::string_view name) const {
    const result<member> found = find(name);
    return found ? found->template as_ref<C>() : ref<C>();
  }
  /// The names of a local cell in this scope, by name. O(its names).
  [[nodiscard]] std::vector<std::string> names_of(const member& who) const;
  /// How many names have an owner, as known here; a sum over the shards that need not be of one moment.
  [[nodiscard]] std::size_t size() const;

  /// Any thread; each number by itself.
  [[nodiscard]] registry_metrics metrics() const;

  /// Ends the scope on this node: its names are free, later calls say closed. Idempotent.
  void stop();
  explicit operator bool() const noexcept { return store_ != nullptr; }
  friend bool operator==(const registry&, const registry&) = default;

private:
  explicit registry(detail::name_store* s) noexcept : store_(s) {}
  detail::name_store* store_ = nullptr;
};

}  // namespace karyon
