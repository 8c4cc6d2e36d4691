// SPDX-License-Identifier: Apache-2.0
// A result of a call is read as one of the kinds that organelles give: `int` is none of them.
#include <karyon/organelle/result.hpp>

#ifdef KARYON_CONTROL
using kind = std::int64_t;
#else
using kind = int;
#endif

bool has_one(const karyon::organelle_results& results) { return results.get_if<kind>() != nullptr; }
