#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <karyon/sched/binding.hpp>

namespace karyon {

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
};

}  // namespace karyon
