#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "supervise/backoff.hpp"
#include "supervise/node.hpp"
#include "supervise/waiting.hpp"

namespace karyon::detail {

class shard;

/// Where the thread that starts a supervisor as a child waits for what becomes of it. Shared with the shard.
struct tree_start {
  waiting_room room;
  std::optional<result<void>> outcome;  // room
  void settle() {
    room.change([&] { outcome.emplace(); });
  }
  /// With the error that `words()` makes, or for want of memory with a shorter one.
  template <class Words>
  void settle_failed(errc code, Words&& words) noexcept {
    error e(errc::out_of_memory, "no memory");  // as long as a string may be without any
    try {
      e = error(code, std::forward<Words>(words)());
    } catch (const std::bad_alloc&) {
    }
    room.change([&] { outcome.emplace(tl::unexpected<error>(std::move(e))); });
  }
};

/// A supervisor that is a child of a supervisor of many children. The shard's, on its worker; only the reports come from elsewhere.
///
///   state      starting -> up -> (ending) -> gone, or restarted: starting again, after a wait: waiting
class tree_child final : public node_parent {
public:
  enum class state : std::uint8_t { starting, up, waiting };

  tree_child(shard& s, std::shared_ptr<supervisor_node> n, const child_options& o) noexcept
      : keeper(s), node(std::move(n)), options(o) {}
  tree_child(const tree_child&) = delete;
  tree_child& operator=(const tree_child&) = delete;
  ~tree_child() = default;

  void child_reports(supervisor_node& child, report what, const exit_reason& why) noexcept override;

  using table = std::map<std::uint64_t, std::unique_ptr<tree_child>>;

  shard& keeper;
  const std::shared_ptr<supervisor_node> node;
  const child_options options;
  std::string path;
  std::uint64_t number = 0;  // its key in the shard's table, not 0
  table::node_type place;    // itself in the shard's table, until it is there
  // The shard's commands_mutex_: what was reported and not yet looked at; in the order started, then over.
  bool told_started = false;
  std::optional<report> told_over;
  exit_reason told_why;
  tree_child* told_next = nullptr;      // on the shard's list while there is something
  std::shared_ptr<tree_start> starter;  // until the first start has come to something
  state now = state::starting;
  bool counts = false;     // as a significant child: since its first start has succeeded
  exit_reason why;         // of the end, while it waits
  std::uint8_t stray = 0;  // shard::bits: what there was no memory for
  backoff_state backoff;
};

}  // namespace karyon::detail
