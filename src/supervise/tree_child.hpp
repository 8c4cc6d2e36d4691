#pragma once

#include <any>
#include <cstdint>
#include <memory>
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
  void settle(result<void> r) {
    room.change([&] { outcome.emplace(std::move(r)); });
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

  shard& keeper;
  const std::shared_ptr<supervisor_node> node;
  const child_options options;
  std::uint64_t number = 0;
  std::shared_ptr<tree_start> starter;  // until the first start has come to something
  state now = state::starting;
  bool counts = false;  // as a significant child: since its first start has succeeded
  exit_reason why;      // of the end, while it waits
  backoff_state backoff;
};

}  // namespace karyon::detail
