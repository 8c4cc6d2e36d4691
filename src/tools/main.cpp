// SPDX-License-Identifier: Apache-2.0

// The `karyon` command.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include <karyon/core/version.hpp>
#include <karyon/sched/binding.hpp>

#include "tools/colony/options.hpp"
#include "tools/colony/run.hpp"
#include "tools/keys.hpp"

namespace {

constexpr int status_failed = 1;
constexpr int status_usage = 2;

// CLI11's own reading of numbers takes "-5" and "99999999999999999999" for large ones.
void add_number(CLI::App* app, const char* name, const char* description, std::uint64_t least, std::uint64_t most,
                std::function<void(std::uint64_t)> take) {
  app->add_option_function<std::string>(
         name, [](const std::string&) {}, description)
      ->type_name("NUMBER")
      ->check([least, most, take = std::move(take)](const std::string& text) {
        std::uint64_t number = 0;
        if (!karyon::tools::parse_number(text, number) || number < least || number > most) {
          return "a number from " + std::to_string(least) + " to " + std::to_string(most) + " is needed";
        }
        take(number);
        return std::string();
      });
}

void add_endpoint(CLI::App* app, const char* name, const char* description, std::string& to) {
  app->add_option(name, to, description)->type_name("ENDPOINT")->check([](const std::string& text) {
    return karyon::tools::is_endpoint(text) ? "" : "ipc:///FOLDER/NAME or tcp://127.0.0.1:PORT is needed";
  });
}

CLI::App* add_colony(CLI::App& app, karyon::tools::colony_options& options) {
  CLI::App* colony = app.add_subcommand("colony", "A live cross-reference of C and C++ sources, made of cells");
  colony->add_option("DIR", options.directories,
                     "Directories (or files) to read; this machine's header directories if none is given");
  colony->add_option("--who-uses", options.who_uses, "Answer where NAME is used; may be given several times")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->check([](const std::string& name) { return name.empty() ? "a name is needed, and this one is empty" : ""; });
  colony->add_option("--who-defines", options.who_defines, "Answer which files define NAME; may be given several times")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->check([](const std::string& name) { return name.empty() ? "a name is needed, and this one is empty" : ""; });
  colony
      ->add_option("--impact", options.impact,
                   "Answer which files a change of FILE touches; may be given several times")
      ->type_name("FILE")
      ->allow_extra_args(false)
      ->check([](const std::string& name) { return name.empty() ? "a file is needed, and this one has no name" : ""; });
  colony
      ->add_option_function<std::string>(
          "--as-of", [](const std::string&) {},
          "Answer as of a time: 2026-11-21, \"2026-11-21 18:30\" (UTC), or @SECONDS since 1970")
      ->type_name("TIME")
      ->check([&options](const std::string& text) {
        std::int64_t time = 0;
        if (!karyon::tools::parse_time(text, time)) {
          return "a time such as 2026-11-21 or @1700000000 is needed";
        }
        options.as_of = time;
        return "";
      });
  colony->add_option("--engine", options.engine, "The rhizome engine, if not the one that is installed")
      ->type_name("LIBRARY");
  colony
      ->add_option_function<std::string>(
          "--kill", [](const std::string&) {}, "Part of all cells to kill, once the colony has learned (10%)")
      ->type_name("PERCENT")
      ->check([&options](const std::string& text) {
        return karyon::tools::parse_percentage(text, options.kill_fraction) ? ""
                                                                            : "a percentage from 0% to 100% is needed";
      });
  constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
  add_number(colony, "--seed", "Decides which cells are killed (1)", 0, any,
             [&](std::uint64_t n) { options.seed = n; });
  add_number(colony, "--workers", "Worker threads (one a core)", 1, karyon::workers_max,
             [&](std::uint64_t n) { options.workers = static_cast<std::uint32_t>(n); });
  add_number(colony, "--max-file-bytes", "Longer files are counted and left alone (16777216)", 1,
             std::uint64_t{1} << 32U, [&](std::uint64_t n) { options.file_bytes_max = n; });
  add_endpoint(colony, "--listen", "Let other processes join, and host the symbols for this one's eyes",
               options.listen);
  add_number(colony, "--members", "So many processes are waited for (1)", 1, 64,
             [&](std::uint64_t n) { options.members = static_cast<std::uint32_t>(n); });
  colony->get_option("--members")->needs(colony->get_option("--listen"));
  add_endpoint(colony, "--join", "Host symbols for the colony that listens there, and do nothing else", options.join);
  colony->add_flag("--json", options.json, "Print one JSON document and nothing else");
  colony->add_flag("--log", options.log, "Show the runtime's own log as well");
  colony->add_flag_callback(
      "--no-prompt", [&options] { options.prompt = false; }, "Do not ask for names, even on a terminal");
  return colony;
}

// A member of a colony reads nothing and answers nothing: an option that would be ignored is a mistake.
void check_member(const CLI::App& colony) {
  for (const char* const name : {"DIR", "--who-uses", "--who-defines", "--impact", "--as-of", "--engine", "--kill",
                                 "--seed", "--max-file-bytes", "--listen", "--json"}) {
    if (colony.get_option(name)->count() > 0) {
      throw CLI::ValidationError(name, "--join hosts symbols for another process, and does nothing else");
    }
  }
}

void add_keys(CLI::App& app, karyon::tools::keys_options& options) {
  using act = karyon::tools::keys_options::act;
  CLI::App* keys = app.add_subcommand("keys", "Keys by which a node proves who it is, and encrypts what it sends");
  keys->require_subcommand(1);
  const auto add = [&](const char* name, const char* description, act what) {
    CLI::App* one = keys->add_subcommand(name, description);
    one->add_option("FILE", options.file, "The file with the node's pair of keys")->required();
    one->callback([&options, what] { options.what = what; });
    return one;
  };
  add("generate", "Write a new pair to FILE, which must not be there, and print the public key", act::generate);
  add("show", "Print the public key of FILE", act::show);
  add("rotate", "Write a new pair to FILE.next and print its public key, for the lists of this node's peers",
      act::rotate)
      ->add_flag("--finish", options.finish, "Put FILE.next in the place of FILE, which becomes FILE.previous");
}

// CLI11's messages may be of several lines; a user gets one.
int complain_of_usage(const CLI::App& app, const std::exception& e) {
  std::string text = e.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::string command = "karyon";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    command += ' ' + at->get_name();
  }
  std::fprintf(stderr, "karyon: %s (see %s --help)\n", text.c_str(), command.c_str());
  return status_usage;
}

int run(int argc, char** argv) {
  karyon::tools::colony_options options;
  CLI::App app("Karyon: hundreds of thousands of supervised cells in one program", "karyon");
  const karyon::version_number& v = karyon::header_version;
  app.set_version_flag("--version", "karyon " + std::to_string(v.major_number) + '.' + std::to_string(v.minor_number) +
                                        '.' + std::to_string(v.patch_number));
  const CLI::App* const colony = add_colony(app, options);
  karyon::tools::keys_options keys;
  add_keys(app, keys);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) {
      throw CLI::RequiredError("A subcommand is needed: colony or keys", CLI::ExitCodes::RequiredError);
    }
    if (!options.join.empty()) check_member(*colony);
    if (options.as_of && options.who_uses.empty() && options.who_defines.empty() && options.impact.empty()) {
      throw CLI::ValidationError("--as-of", "a question is needed: --impact, --who-defines or --who-uses");
    }
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return complain_of_usage(app, e);
  }
  if (keys.what != karyon::tools::keys_options::act::none) return karyon::tools::run_keys(keys);
  if (!options.listen.empty() && options.members == 0) options.members = 1;
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
