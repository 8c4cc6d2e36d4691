// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

namespace karyon::bench {

/// Nanoseconds that a cache line takes from the first processor this process may run on to the second, one way, in the mean of some
/// ten milliseconds of there and back; nothing where there is only one. What two workers or threads do together depends on it more
/// than on anything else, and on a virtual machine it changes whenever its processors are moved: to other caches, say.
std::optional<double> core_to_core_ns();

}  // namespace karyon::bench
