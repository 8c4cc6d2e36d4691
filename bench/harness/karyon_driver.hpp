// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/driver.hpp"

#include <karyon/karyon.hpp>

#include <memory>

/// What Karyon's own drivers share.
namespace karyon::bench {

/// What a run waits at, and the moment from which it counts where a cell decides on that.
inline gate all_arrived;
inline std::atomic<std::int64_t> begin_ns{0};

/// The runtime of this run. Kept until the process ends.
inline std::unique_ptr<runtime> host;

inline runtime& start_runtime(work const& asked, runtime_options options = {}) {
  options.scheduler.binding.workers = static_cast<std::uint32_t>(asked.option("workers", 0));
  host = std::make_unique<runtime>(options);
  return *host;
}

}  // namespace karyon::bench
