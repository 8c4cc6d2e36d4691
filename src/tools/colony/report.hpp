// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "tools/colony/census.hpp"
#include "tools/colony/colony.hpp"
#include "tools/colony/walker.hpp"

namespace karyon::tools {

/// The answer to one --who-uses.
struct usage_answer {
  std::string name;
  bool known = false;
  std::vector<location> places;
};

/// All that a run of `karyon colony` has found out.
struct colony_report {
  std::vector<std::string> roots;
  std::vector<std::string> unusable_roots;
  std::uint64_t directories = 0;
  double walk_seconds = 0;
  census state;
  std::optional<healing> healed;
  std::vector<usage_answer> answers;
};

/// Adds what the walk counted to what the eyes counted.
void add_walk(census& c, const walk_result& found);

/// For people, in some ten lines.
void print_census(std::ostream& out, const census& c);
void print_healing(std::ostream& out, const healing& h);
/// One line a place, as compilers print them; of more than `places_max` places only so many.
void print_usage(std::ostream& out, const usage_answer& answer, std::size_t places_max);

/// One JSON document; docs/howto/colony.md describes it. Names that are no UTF-8 come out with U+FFFD in them.
void print_json(std::ostream& out, const colony_report& report);

}  // namespace karyon::tools
