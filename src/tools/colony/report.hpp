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
#include "tools/colony/source_graph.hpp"
#include "tools/colony/walker.hpp"

namespace karyon::tools {

/// The answer to one --who-uses.
struct usage_answer {
  std::string name;
  bool known = false;
  std::vector<location> places;
};

/// The answers from the graph of the sources, each as of `graph_answers::as_of`.
struct impact_answer {
  std::string asked;
  std::string file;  // empty: there is no such file
  std::vector<touched_file> touched;
};
struct files_answer {
  std::string name;
  std::vector<std::string> files;
};
struct graph_answers {
  graph_census census;
  std::optional<std::int64_t> as_of;
  std::vector<impact_answer> impact;
  std::vector<files_answer> defined;
  std::vector<files_answer> used;  // who-uses, as of a time
};

/// All that a run of `karyon colony` has found out.
struct colony_report {
  std::vector<std::string> roots;
  std::vector<std::string> unusable_roots;
  std::uint64_t directories = 0;
  double walk_seconds = 0;
  census state;
  std::uint64_t log_lines = 0;  // of the runtime's log, that were not shown
  std::optional<healing> healed;
  std::vector<usage_answer> answers;
  std::optional<graph_answers> graph;
};

/// Adds what the walk counted to what the eyes counted.
void add_walk(census& c, const walk_result& found);

/// For people, in some ten lines.
void print_census(std::ostream& out, const census& c);
void print_healing(std::ostream& out, const healing& h);
/// One line a place, as compilers print them; of more than `places_max` places only so many.
void print_usage(std::ostream& out, const usage_answer& answer, std::size_t places_max);

void print_graph(std::ostream& out, const graph_answers& answers);

/// One JSON document; docs/howto/colony.md describes it. Names that are no UTF-8 come out with U+FFFD in them.
void print_json(std::ostream& out, const colony_report& report);

}  // namespace karyon::tools
