// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/run.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <limits>
#include <optional>
#include <utility>

#include "tools/colony/colony.hpp"
#include "tools/colony/join.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/prompt.hpp"
#include "tools/colony/quiet_log.hpp"
#include "tools/colony/report.hpp"
#include "tools/colony/source_graph.hpp"
#include "tools/colony/text.hpp"
#include "tools/colony/walker.hpp"

namespace karyon::tools {

namespace {

constexpr int status_failed = 1;
constexpr int status_usage = 2;

void complain(const std::string& text) { std::fprintf(stderr, "karyon: %s\n", text.c_str()); }

int complain(const error& why) {
  complain("the colony can not go on: " + to_string(why));
  return status_failed;
}

bool has_terminal() { return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0; }

std::string nothing_to_read(const std::vector<std::string>& unusable_roots) {
  std::string text;
  for (const std::string& root : unusable_roots) {
    text += (text.empty() ? "" : "; ") + printable(root);
  }
  return text;
}

// False, with a complaint, if there is nothing to walk.
bool find_files(const colony_options& options, progress& shown, colony_report& report, walk_result& found) {
  report.roots = options.directories.empty() ? header_directories() : options.directories;
  if (report.roots.empty()) {
    complain("this machine has no header directories; name one: karyon colony DIR");
    return false;
  }
  // Whoever names nothing that can be read gets one line alone.
  if (std::any_of(report.roots.begin(), report.roots.end(), can_walk)) {
    shown.begin("looking for source files");
  }
  const auto start = std::chrono::steady_clock::now();
  found = walk(report.roots);
  report.walk_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report.directories = found.directories;
  report.unusable_roots = found.unusable_roots;
  if (found.unusable_roots.size() == report.roots.size()) {
    complain(nothing_to_read(found.unusable_roots));
    return false;
  }
  for (const std::string& root : found.unusable_roots) {
    complain(printable(root));
  }
  return true;
}

result<void> answer_questions(colony& c, const colony_options& options, colony_report& report) {
  if (options.as_of) {
    return {};  // the graph knows what was
  }
  for (const std::string& name : options.who_uses) {
    usage_answer answer{name, false, {}};
    auto places = c.who_uses(name);
    if (places) {
      answer.known = true;
      answer.places = std::move(*places);
    } else if (places.error().code() != errc::not_found) {
      return tl::unexpected<error>(places.error());
    }
    report.answers.push_back(std::move(answer));
  }
  return {};
}

// The questions that need to know what names are to the program, or what was before.
result<void> ask_graph(source_graph& graph, const colony_options& options, const std::vector<std::string>& files,
                       const std::vector<std::string>& roots, progress& shown, graph_answers& answers) {
  const auto census = graph.learn(files, roots, shown);
  if (!census) {
    return tl::unexpected<error>(census.error());
  }
  answers.census = *census;
  answers.as_of = options.as_of;
  for (const std::string& asked : options.impact) {
    const auto named = graph.files_named(asked);
    if (named.empty()) {
      answers.impact.push_back({asked, {}, {}});
    }
    for (const std::string& file : named) {
      auto touched = graph.impact(file, options.as_of);
      if (!touched) {
        return tl::unexpected<error>(touched.error());
      }
      answers.impact.push_back({asked, file, std::move(*touched)});
    }
  }
  const auto ask_all = [&](const std::vector<std::string>& names, auto question, std::vector<files_answer>& to) {
    for (const std::string& name : names) {
      auto found = (graph.*question)(name, options.as_of);
      if (!found) {
        return result<void>(tl::unexpected<error>(found.error()));
      }
      to.push_back({name, std::move(*found)});
    }
    return result<void>();
  };
  if (auto done = ask_all(options.who_defines, &source_graph::definers, answers.defined); !done || !options.as_of) {
    return done;
  }
  return ask_all(options.who_uses, &source_graph::users, answers.used);
}

}  // namespace

int run_colony(const colony_options& options) {
  if (!options.join.empty()) {
    return run_member(options.join, options.workers, options.log);
  }
  const quiet_log log(options.log);
  progress shown = progress::for_standard_error(options.json);
  colony_report report;
  walk_result found;
  if (!find_files(options, shown, report, found)) {
    return status_usage;
  }
  std::optional<source_graph> graph;  // before hours of other work, if it can not be had
  std::vector<std::string> files;
  if (options.wants_graph()) {
    auto opened = source_graph::open(
        {.engine = options.engine, .workers = options.workers, .file_bytes_max = options.file_bytes_max});
    if (!opened) {
      complain(opened.error().message());
      return status_failed;
    }
    graph.emplace(std::move(*opened));
    files = found.files;
  }
  colony c(std::move(found.files), {.workers = options.workers,
                                    .file_bytes_max = options.file_bytes_max,
                                    .listen = options.listen,
                                    .members = options.members});
  const auto current = [&c, &found] {
    census now = c.take_census();
    add_walk(now, found);
    return now;
  };
  if (options.members > 0) {
    if (const auto joined = c.gather(shown); !joined) {
      return complain(joined.error());
    }
  }
  if (const auto learned = c.learn(shown); !learned) {
    return complain(learned.error());
  }
  if (!options.json) {
    print_census(std::cout, current());
    std::cout.flush();
  }
  if (options.kill_fraction > 0) {
    auto healed = c.kill(options.kill_fraction, options.seed, shown);
    if (!healed) {
      return complain(healed.error());
    }
    if (!options.json) {
      print_healing(std::cout, *healed);
    }
    report.healed = *healed;
  }
  if (const auto answered = answer_questions(c, options, report); !answered) {
    return complain(answered.error());
  }
  if (graph) {
    report.graph.emplace();
    if (const auto asked = ask_graph(*graph, options, files, report.roots, shown, *report.graph); !asked) {
      return complain(asked.error());
    }
  }
  report.state = current();
  report.log_lines = log.lines();
  if (options.json) {
    print_json(std::cout, report);
  }
  if (report.graph && !options.json) {
    print_graph(std::cout, *report.graph);
  }
  for (const usage_answer& answer : report.answers) {
    if (!options.json) {
      print_usage(std::cout, answer, std::numeric_limits<std::size_t>::max());
    }
  }
  if (!options.json && report.log_lines != 0) {
    std::cout << "log        " << counted(report.log_lines, "line")
              << ", of the cells that were killed and of slow handlers (--log shows them)\n";
  }
  std::cout.flush();
  int status = report.healed && !report.healed->is_exact() ? status_failed : 0;
  if (options.prompt && !options.json && options.who_uses.empty() && !options.wants_graph() && has_terminal()) {
    status = std::max(status, run_prompt(std::cin, std::cout, c, current, options.seed, shown));
  }
  if (!std::cout) {
    complain("standard output could not be written");
    return status_failed;
  }
  return status;
}

}  // namespace karyon::tools
