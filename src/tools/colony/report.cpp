// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/colony/options.hpp"
#include "tools/colony/text.hpp"

namespace karyon::tools {

namespace {

constexpr std::size_t problems_shown = 10;

constexpr outcome all_outcomes[] = {outcome::scanned,    outcome::binary,       outcome::enormous,
                                    outcome::unreadable, outcome::vanished,     outcome::not_regular,
                                    outcome::duplicate,  outcome::symlink_loop, outcome::not_source};

// The outcome as a phrase: "3 unreadable", "1 symlink loop".
std::string outcome_text(outcome o, std::uint64_t count) {
  std::string name = to_string(o);
  std::replace(name.begin(), name.end(), '_', ' ');
  return with_commas(count) + ' ' + name;
}

void print_shares(std::ostream& out, const char* what, const char* one, const std::vector<std::uint64_t>& shares) {
  out << "  " << what;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    out << (i == 0 ? "" : ", ") << one << ' ' << i << ": " << with_commas(shares[i]);
  }
  out << '\n';
}

std::uint64_t rounded(double value) { return static_cast<std::uint64_t>(std::max(value, 0.0) + 0.5); }

nlohmann::ordered_json to_json(const fingerprint& f) { return {{"uses", f.uses}, {"digest", hex_text(f.digest)}}; }

nlohmann::ordered_json to_json(const healing& h) {
  return {{"fraction", h.fraction},       {"seed", h.seed},
          {"eyes_killed", h.eyes_killed}, {"symbols_killed", h.symbols_killed},
          {"restarts", h.restarts},       {"seconds", h.seconds},
          {"before", to_json(h.before)},  {"after", to_json(h.after)},
          {"exact", h.is_exact()}};
}

nlohmann::ordered_json to_json(const usage_answer& answer) {
  nlohmann::ordered_json places = nlohmann::ordered_json::array();
  for (const location& place : answer.places) {
    places.push_back({{"file", std::string(place.file)}, {"line", place.line}});
  }
  return {{"name", answer.name}, {"known", answer.known}, {"uses", std::move(places)}};
}

nlohmann::ordered_json to_json(const std::vector<files_answer>& answers) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const files_answer& answer : answers) {
    all.push_back({{"name", answer.name}, {"files", answer.files}});
  }
  return all;
}

nlohmann::ordered_json to_json(const graph_answers& answers) {
  using nlohmann::ordered_json;
  const graph_census& c = answers.census;
  ordered_json impact = ordered_json::array();
  for (const impact_answer& answer : answers.impact) {
    ordered_json touched = ordered_json::array();
    for (const touched_file& one : answer.touched) {
      touched.push_back({{"file", one.file}, {"distance", one.distance}, {"by", one.by_include ? "include" : "call"}});
    }
    const bool known = !answer.file.empty();
    impact.push_back({{"asked", answer.asked},
                      {"file", known ? ordered_json(answer.file) : ordered_json(nullptr)},
                      {"touches", std::move(touched)}});
  }
  return {{"files", c.files},
          {"versions", c.versions},
          {"unread", c.unread},
          {"repositories", c.repositories},
          {"seconds", c.seconds},
          {"as_of", answers.as_of ? ordered_json(time_text(*answers.as_of)) : ordered_json(nullptr)},
          {"impact", std::move(impact)},
          {"who_defines", to_json(answers.defined)},
          {"who_uses", to_json(answers.used)}};
}

nlohmann::ordered_json to_json(const std::vector<guest_book::member>& members) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const guest_book::member& m : members) {
    all.push_back({{"name", m.name}, {"symbols", m.symbols}, {"lost", m.lost}});
  }
  return all;
}

std::uint64_t files_in(const std::vector<location>& places) {
  std::uint64_t files = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    files += i == 0 || places[i].file != places[i - 1].file ? 1U : 0U;
  }
  return files;
}

}  // namespace

void add_walk(census& c, const walk_result& found) {
  for (const outcome o : all_outcomes) {
    for (std::uint64_t i = 0; i < found.outcomes.of(o); ++i) {
      c.outcomes.add(o);
    }
  }
  c.problems.insert(c.problems.begin(), found.problems.begin(), found.problems.end());
}

void print_census(std::ostream& out, const census& c) {
  out << "colony of " << counted(c.eyes, "eye") << " and " << counted(c.symbols, "symbol") << ", grown in "
      << seconds_text(c.learn_seconds) << '\n';
  out << "  files      ";
  bool first = true;
  for (const outcome o : all_outcomes) {
    if (o == outcome::scanned || c.outcomes.of(o) > 0) {
      out << (first ? "" : ", ") << outcome_text(o, c.outcomes.of(o));
      first = false;
    }
  }
  out << "\n  knowledge  " << counted(c.symbols_know.uses, "use") << ", digest " << hex_text(c.symbols_know.digest)
      << (c.is_exact() ? ": what the eyes have seen" : ": NOT what the eyes have seen, which is ");
  if (!c.is_exact()) {
    out << counted(c.eyes_know.uses, "use") << ", digest " << hex_text(c.eyes_know.digest);
  }
  out << "\n  memory     " << bytes_text(c.bytes_a_cell) << " a cell with all that belongs to it, "
      << bytes_text(static_cast<double>(c.knowledge_bytes)) << " of it knowledge in all; "
      << bytes_text(static_cast<double>(c.resident_bytes)) << " resident\n";
  print_shares(out, "nodes      ", "node", c.by_node);
  print_shares(out, "workers    ", "worker", c.by_worker);
  if (!c.members.empty()) {
    out << "  spread     symbols here: " << with_commas(c.symbols_here);
    for (const guest_book::member& m : c.members) {
      out << ", " << printable(m.name) << (m.lost ? " (lost): " : ": ") << with_commas(m.symbols);
    }
    out << '\n';
  }
  out << "  signals    " << with_commas(c.uses_told) << " uses told, " << with_commas(rounded(c.uses_a_second))
      << " a second; " << with_commas(c.signals_handled) << " handled of all kinds, "
      << with_commas(rounded(c.signals_a_second)) << " a second while learning\n";
  out << "  restarts   " << with_commas(c.restarts) << '\n';
  for (std::size_t i = 0; i < std::min(c.problems.size(), problems_shown); ++i) {
    const problem& p = c.problems[i];
    out << "  " << printable(p.path) << ": " << to_string(p.what) << " (" << p.reason << ")\n";
  }
  if (c.problems.size() > problems_shown) {
    out << "  ... and " << with_commas(c.problems.size() - problems_shown) << " more like these (--json has all)\n";
  }
}

void print_healing(std::ostream& out, const healing& h) {
  out << "killed " << h.fraction * 100 << "% with seed " << h.seed << ": " << counted(h.eyes_killed, "eye") << " and "
      << counted(h.symbols_killed, "symbol");
  if (h.eyes_killed + h.symbols_killed == 0) {
    out << ": nobody died, so there is nothing to heal\n";
    return;
  }
  out << '\n';
  out << "healed in " << seconds_text(h.seconds) << " by " << counted(h.restarts, "restart") << ": "
      << counted(h.after.uses, "use") << ", digest " << hex_text(h.after.digest);
  if (h.is_exact()) {
    out << ", the same as before\n";
  } else {
    out << "; before it were " << with_commas(h.before.uses) << " and " << hex_text(h.before.digest)
        << " (did files change?)\n";
  }
}

void print_usage(std::ostream& out, const usage_answer& answer, std::size_t places_max) {
  if (!answer.known) {
    out << printable(answer.name) << ": no file uses this name\n";
    return;
  }
  out << printable(answer.name) << ": used on " << counted(answer.places.size(), "line") << " of "
      << counted(files_in(answer.places), "file") << '\n';
  for (std::size_t i = 0; i < std::min(answer.places.size(), places_max); ++i) {
    out << "  " << printable(answer.places[i].file) << ':' << answer.places[i].line << '\n';
  }
  if (answer.places.size() > places_max) {
    out << "  ... and " << with_commas(answer.places.size() - places_max) << " more\n";
  }
}

namespace {

void print_files(std::ostream& out, const char* what, const files_answer& answer, const std::string& when) {
  out << printable(answer.name) << ": " << what << " in " << counted(answer.files.size(), "file") << when << '\n';
  for (const std::string& file : answer.files) {
    out << "  " << printable(file) << '\n';
  }
}

}  // namespace

void print_graph(std::ostream& out, const graph_answers& answers) {
  const graph_census& c = answers.census;
  out << "graph of " << counted(c.versions, "version") << " of " << counted(c.files, "file") << ", read in "
      << seconds_text(c.seconds) << (c.repositories > 0 ? " with git's history" : "");
  if (c.unread > 0) {
    out << "; " << with_commas(c.unread) << " could not be read";
  }
  out << '\n';
  const std::string when = answers.as_of ? " as of " + time_text(*answers.as_of) : "";
  for (const impact_answer& answer : answers.impact) {
    if (answer.file.empty()) {
      out << printable(answer.asked) << ": there is no such file\n";
      continue;
    }
    out << printable(answer.file) << ": a change touches " << counted(answer.touched.size(), "file") << when << '\n';
    for (const touched_file& touched : answer.touched) {
      out << "  " << touched.distance << (touched.by_include ? " include " : " call    ") << printable(touched.file)
          << '\n';
    }
  }
  for (const files_answer& answer : answers.defined) {
    print_files(out, "defined", answer, when);
  }
  for (const files_answer& answer : answers.used) {
    print_files(out, "used", answer, when);
  }
}

void print_json(std::ostream& out, const colony_report& report) {
  using nlohmann::ordered_json;
  const census& c = report.state;
  ordered_json files;
  for (const outcome o : all_outcomes) {
    files[to_string(o)] = c.outcomes.of(o);
  }
  ordered_json problems = ordered_json::array();
  for (const problem& p : c.problems) {
    problems.push_back({{"path", p.path}, {"outcome", to_string(p.what)}, {"reason", p.reason}});
  }
  ordered_json answers = ordered_json::array();
  for (const usage_answer& answer : report.answers) {
    answers.push_back(to_json(answer));
  }
  ordered_json document = {
      {"schema", 1},
      {"roots", report.roots},
      {"unusable_roots", report.unusable_roots},
      {"directories", report.directories},
      {"files", files},
      {"problems", problems},
      {"cells",
       {{"total", c.cells()},
        {"eyes", c.eyes},
        {"symbols", c.symbols},
        {"bytes_a_cell", c.bytes_a_cell},
        {"knowledge_bytes", c.knowledge_bytes},
        {"resident_bytes", c.resident_bytes},
        {"by_node", c.by_node},
        {"by_worker", c.by_worker},
        {"restarts", c.restarts},
        {"symbols_here", c.symbols_here},
        {"members", to_json(c.members)}}},
      {"signals",
       {{"uses_told", c.uses_told},
        {"uses_a_second", c.uses_a_second},
        {"handled", c.signals_handled},
        {"handled_a_second", c.signals_a_second}}},
      {"seconds", {{"walk", report.walk_seconds}, {"learn", c.learn_seconds}}},
      {"knowledge", {{"symbols", to_json(c.symbols_know)}, {"eyes", to_json(c.eyes_know)}, {"exact", c.is_exact()}}},
      {"healing", report.healed ? to_json(*report.healed) : ordered_json(nullptr)},
      {"log_lines", report.log_lines},
      {"who_uses", answers}};
  if (report.graph) {
    document["graph"] = to_json(*report.graph);
  }
  out << document.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

}  // namespace karyon::tools
