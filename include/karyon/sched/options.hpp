#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <karyon/sched/binding.hpp>

namespace karyon {

/// The pools for what would hold a worker: heavy handlers (`using dirty_cpu`, `using dirty_io` of a cell class), and work given
/// away with cell::offload. Threads are started when there is work for them, and stay until the runtime ends.
struct dirty_options {
  /// Threads for computation, for each NUMA node; by default as many as the node has workers. 1 to 1,024.
  std::optional<std::uint32_t> cpu_threads{};
  /// Threads for what blocks, for the whole runtime. 1 to 1,024.
  std::uint32_t io_threads = 10;
  /// How much offloaded work may wait for a thread of one pool; what comes beyond it is refused. 1 to 10,000,000. Heavy
  /// handlers are not counted: a cell waits with one at a time.
  std::uint32_t offload_queue_limit = 65'536;
};

/// How the workers of a runtime behave. The defaults suit a runtime that owns its machine.
struct scheduler_options {
  /// How many workers, on which units, and whether work may cross NUMA nodes.
  binding_options binding;
  /// After this many signals in a row a cell yields to the others of its worker. 1 to 1,000,000. A cell yields earlier
  /// when a tick of about half a millisecond passes while it runs.
  std::uint32_t signals_per_turn = 256;
  /// How long a worker without work looks for some before it sleeps. Waking a sleeping thread takes tens of
  /// microseconds, so a short look pays; 0 to 10,000 us. Only some of the workers look at the same time.
  std::chrono::microseconds spin{20};
  /// The pools for long work.
  dirty_options dirty{};
};

}  // namespace karyon
