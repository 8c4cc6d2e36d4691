// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/prompt.hpp"

#include <string>

#include "tools/colony/options.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/report.hpp"
#include "tools/colony/text.hpp"

namespace karyon::tools {

namespace {

constexpr std::size_t places_shown = 20;

constexpr const char* help_text =
    "  NAME          where the identifier NAME is used (:all NAME for every place)\n"
    "  :census       the colony in numbers\n"
    "  :kill 10%     kill that part of all cells and watch it heal\n"
    "  :help         this\n"
    "  :quit         end (so does the end of input)\n";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(" \t\r") + 1 - first);
}

class session {
public:
  session(std::ostream& out, colony& c, const std::function<census()>& current, std::uint64_t seed, progress& shown)
      : out_(out), colony_(c), current_(current), shown_(shown), seed_(seed) {}

  /// False when the session is over.
  bool obey(std::string_view line) {
    const std::size_t space = line.find_first_of(" \t");
    const std::string_view command = line.substr(0, space);
    const std::string_view argument = space == std::string_view::npos ? "" : trimmed(line.substr(space));
    if (line.empty()) {
      return true;
    }
    if (command == ":quit" || command == ":q") {
      return false;
    }
    if (command == ":help") {
      out_ << help_text;
    } else if (command == ":census") {
      print_census(out_, current_());
    } else if (command == ":kill") {
      kill(argument);
    } else if (command == ":all" && !argument.empty()) {
      answer(argument, static_cast<std::size_t>(-1));
    } else if (command.front() == ':') {
      out_ << "no such command: " << printable(line) << " (:help lists them)\n";
    } else {
      answer(line, places_shown);
    }
    return status_ == 0;
  }

  [[nodiscard]] int status() const noexcept { return status_; }

private:
  void answer(std::string_view name, std::size_t places_max) {
    usage_answer a{std::string(name), false, {}};
    auto places = colony_.who_uses(name);
    if (places) {
      a.known = true;
      a.places = std::move(*places);
    } else if (places.error().code() != errc::not_found) {
      give_up(places.error());
      return;
    }
    print_usage(out_, a, places_max);
    if (!a.known && (name == "help" || name == "?" || name == "quit" || name == "exit")) {
      out_ << "  commands begin with a colon; :help lists them\n";
    }
  }

  void kill(std::string_view argument) {
    double fraction = 0;
    if (!parse_percentage(argument, fraction)) {
      out_ << ":kill takes a percentage from 0% to 100%\n";
      return;
    }
    const auto healed = colony_.kill(fraction, ++seed_, shown_);  // other cells each time
    if (healed) {
      print_healing(out_, *healed);
    } else {
      give_up(healed.error());
    }
  }

  void give_up(const error& why) {
    out_ << "the colony can not go on: " << to_string(why) << '\n';
    status_ = 1;
  }

  std::ostream& out_;
  colony& colony_;
  const std::function<census()>& current_;
  progress& shown_;
  std::uint64_t seed_;
  int status_ = 0;
};

}  // namespace

int run_prompt(std::istream& in, std::ostream& out, colony& c, const std::function<census()>& current,
               std::uint64_t seed, progress& shown) {
  session s(out, c, current, seed, shown);
  out << "Type an identifier to see where it is used; :help lists the commands, :quit ends.\n";
  std::string line;
  for (;;) {
    out << "colony> " << std::flush;
    if (!std::getline(in, line)) {
      out << '\n';
      return s.status();
    }
    if (!s.obey(trimmed(line))) {
      return s.status();
    }
  }
}

}  // namespace karyon::tools
