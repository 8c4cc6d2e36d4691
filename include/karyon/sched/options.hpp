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

/// The contract that handlers return within a millisecond, and what happens when one does not. C++ can not be preempted; but
/// the runtime can stop waiting: another thread takes over the worker, on the same cores, and goes on with its other cells.
struct watch_options {
  /// Whether handlers are watched at all: the price is stores to one line of the thread's own for each.
  bool enabled = true;
  /// Whether a spare thread takes over the worker of a handler that exceeds `limit`. Its other cells go on then, within 2 ms of
  /// the handler's beginning where the system runs threads without delay; when it returns its thread becomes a spare.
  bool take_over = true;
  /// How long user code of a cell may run before it is an overrun: counted, reported once a handler type. 100 us to 10 s; the
  /// looks are half a millisecond apart.
  std::chrono::microseconds limit{1000};
  /// How many spare threads there may be, so how many handlers that do not return are survived at once. Made when needed.
  /// 0: as many as workers, and at least four. At most 4,096.
  unsigned spare_threads = 0;
  /// Whether the first report of a handler type has the stack of the thread that runs it. For that the thread is interrupted
  /// once by SIGURG, unless the program has a use of its own for that signal.
  bool stacks = true;
  /// Whether a handler type that overruns again and again is moved: from then on its handlers run on the dirty CPU pool, as if
  /// the class had declared it (execution.hpp), in this runtime and until runtime::move_back. One line in the log says so.
  bool move = true;
  /// A type is moved at this overrun within `move_within`, counted from the first of them. 1 to 1,000,000.
  std::uint32_t move_after = 16;
  /// 1 ms to one hour.
  std::chrono::milliseconds move_within{10'000};
};

/// How the workers of a runtime behave. The defaults suit a runtime that owns its machine.
struct scheduler_options {
  /// How many workers, on which units, and whether work may cross NUMA nodes.
  binding_options binding{};
  /// After this many signals in a row a cell yields to the others of its worker. 1 to 1,000,000. A cell yields earlier
  /// when a tick of about half a millisecond passes while it runs.
  std::uint32_t signals_per_turn = 256;
  /// How long a worker without work looks for some before it sleeps. Waking a sleeping thread takes tens of
  /// microseconds, so a short look pays; 0 to 10,000 us. Only some of the workers look at the same time.
  std::chrono::microseconds spin{20};
  /// What is done about handlers that take too long.
  watch_options watch{};
  /// The pools for long work.
  dirty_options dirty{};
};

}  // namespace karyon
