// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/run.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <limits>

#include "tools/colony/colony.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/prompt.hpp"
#include "tools/colony/report.hpp"
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

}  // namespace

int run_colony(const colony_options& options) {
  progress shown = progress::for_standard_error(options.json);
  colony_report report;
  walk_result found;
  if (!find_files(options, shown, report, found)) {
    return status_usage;
  }
  colony c(std::move(found.files), {.workers = options.workers, .file_bytes_max = options.file_bytes_max});
  const auto current = [&c, &found] {
    census now = c.take_census();
    add_walk(now, found);
    return now;
  };
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
  report.state = current();
  if (options.json) {
    print_json(std::cout, report);
  }
  for (const usage_answer& answer : report.answers) {
    if (!options.json) {
      print_usage(std::cout, answer, std::numeric_limits<std::size_t>::max());
    }
  }
  std::cout.flush();
  int status = report.healed && !report.healed->is_exact() ? status_failed : 0;
  if (options.prompt && !options.json && options.who_uses.empty() && has_terminal()) {
    status = std::max(status, run_prompt(std::cin, std::cout, c, current, options.seed, shown));
  }
  if (!std::cout) {
    complain("standard output could not be written");
    return status_failed;
  }
  return status;
}

}  // namespace karyon::tools
