// SPDX-License-Identifier: Apache-2.0

// The `karyon` command.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include <karyon/core/version.hpp>
#include <karyon/sched/binding.hpp>

#include "tools/colony/options.hpp"
#include "tools/colony/run.hpp"

namespace {

constexpr int status_failed = 1;
constexpr int status_usage = 2;

void add_colony(CLI::App& app, karyon::tools::colony_options& options, std::string& kill) {
  CLI::App* colony = app.add_subcommand("colony", "A live cross-reference of C and C++ sources, made of cells");
  colony->add_option("DIR", options.directories,
                     "Directories (or files) to read; this machine's header directories if none is given");
  colony->add_option("--who-uses", options.who_uses, "Answer where NAME is used; may be given several times")
      ->type_name("NAME")
      ->expected(1)
      ->allow_extra_args(false);
  colony->add_option("--kill", kill, "Part of all cells to kill, once the colony has learned (10%)")
      ->type_name("PERCENT")
      ->check([&options](const std::string& text) {
        return karyon::tools::parse_percentage(text, options.kill_fraction) ? std::string()
                                                                           : "a percentage from 0% to 100% is needed";
      });
  colony->add_option("--seed", options.seed, "Decides which cells are killed (1)")->type_name("NUMBER");
  colony->add_option("--workers", options.workers, "Worker threads (one a core)")
      ->type_name("NUMBER")
      ->check(CLI::Range(1U, karyon::workers_max));
  colony->add_option("--max-file-bytes", options.file_bytes_max, "Longer files are counted and left alone (16777216)")
      ->type_name("NUMBER");
  colony->add_flag("--json", options.json, "Print one JSON document and nothing else");
  colony->add_flag("!--no-prompt", options.prompt, "Do not ask for names, even on a terminal");
}

// CLI11's messages may be of several lines; a user gets one.
int complain_of_usage(const std::exception& e) {
  std::string text = e.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::fprintf(stderr, "karyon: %s (see karyon --help)\n", text.c_str());
  return status_usage;
}

int run(int argc, char** argv) {
  karyon::tools::colony_options options;
  std::string kill;
  CLI::App app("Karyon: hundreds of thousands of supervised cells in one program", "karyon");
  const karyon::version_number& v = karyon::header_version;
  app.set_version_flag("--version", "karyon " + std::to_string(v.major_number) + '.' + std::to_string(v.minor_number) +
                                        '.' + std::to_string(v.patch_number));
  app.require_subcommand(1);
  add_colony(app, options, kill);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return complain_of_usage(e);
  }
  return karyon::tools::run_colony(options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "karyon: %s\n", e.what());
    return status_failed;
  }
}
