// SPDX-License-Identifier: Apache-2.0
//
// placement_check [--machine NODESxCORES] [--cells N] [CHECK...]: holds the library's placement to what the kernel says of
// threads and pages, on the machine that it runs on. With --machine it must be such a machine, and all must be checkable;
// without, a machine of one node has little that could be wrong, and what it can not check is said. tests/numa/run runs it on
// four nodes.
//
// Each check is a process of its own, so that the memory and the threads of one leave no trace in the next.
#include "placement_check.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <string_view>

#include <sys/wait.h>
#include <unistd.h>

#include <karyon/core/log.hpp>

using namespace karyon;
using namespace karyon::tests::numa;

namespace karyon::tests::numa {

void check_machine(const ground& g, report& r) {
  numbers expected;
  numbers found;
  for (const auto& [node, cpus] : g.kernel_nodes) {
    for (const std::uint32_t cpu : cpus) {
      expected.push_back(cpu);
      for (const processing_unit& u : g.shape.units()) {
        if (u.os_index == cpu && g.shape.nodes()[u.node].os_index == node) found.push_back(cpu);
      }
    }
  }
  r.expect(found == expected, text("the topology has each processor on the kernel's node: ", g.shape.describe()));
  if (g.nodes_demanded == 0) return;
  const bool as_demanded = g.kernel_nodes.size() == g.nodes_demanded &&
                           std::all_of(g.kernel_nodes.begin(), g.kernel_nodes.end(),
                                       [&](const auto& n) { return n.second.size() == g.cores_demanded; });
  r.expect(as_demanded, text("it has ", g.nodes_demanded, " nodes with ", g.cores_demanded, " cores each"));
}

// What the other checks rely on must be able to say something else than they hope for.
void check_instrument(const ground& g, report& r) {
  if (!pages_are_told()) return r.not_checked("where pages lie: the kernel does not tell this process");
  constexpr std::size_t pages = 16;
  for (const auto& [node, cpus] : g.kernel_nodes) {
    // From a thread that is elsewhere, so that a kernel that ignores the node would be found out.
    const auto far = std::find_if(g.kernel_nodes.begin(), g.kernel_nodes.end(),
                                  [mine = node](const auto& n) { return n.first != mine; });
    if (far != g.kernel_nodes.end() && !confine(far->second)) return r.not_checked("threads can not be bound");
    const void* const area = pages_on(node, pages * page_bytes);
    if (area == nullptr) return r.not_checked("pages by node: the kernel takes no memory policy from this process");
    page_set asked;
    asked.add(area, pages * page_bytes);
    r.expect(asked.by_node() == std::map<int, std::size_t>{{static_cast<int>(node), pages}},
             text("pages that the kernel was told to put on node ", node, " are said to lie there"));
  }
}

}  // namespace karyon::tests::numa

namespace {

struct named_check {
  std::string_view name;
  void (*run)(const ground&, report&);
};

constexpr std::array checks{
    named_check{"machine", &check_machine},   named_check{"instrument", &check_instrument},
    named_check{"binding", &check_binding},   named_check{"takeover", &check_take_over},
    named_check{"slots", &check_slots},       named_check{"signals", &check_signals},
    named_check{"memory", &check_memory},     named_check{"migration", &check_migration},
    named_check{"stealing", &check_stealing}, named_check{"supervision", &check_supervision},
};

constexpr unsigned check_seconds_max = 240;

int run_here(const named_check& check, const ground& g) {
  report r(g.nodes_demanded != 0);
  try {
    check.run(g, r);
  } catch (const std::exception& e) {
    r.expect(false, text("it ended early: ", e.what()));
  }
  std::fflush(stdout);
  return r.failures() == 0 ? 0 : 1;
}

bool passes(const named_check& check, const ground& g) {
  std::printf("%.*s\n", static_cast<int>(check.name.size()), check.name.data());
  std::fflush(stdout);
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::alarm(check_seconds_max);
    std::exit(run_here(check, g));
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) {
    std::printf("  FAIL  no process could be had for it\n");
    return false;
  }
  if (WIFSIGNALED(status)) {
    std::printf("  FAIL  ended by signal %d%s\n", WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? ", since it had not ended for long" : "");
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

[[noreturn]] void usage() {
  std::string names;
  for (const named_check& c : checks) names.append(" ").append(c.name);
  std::fprintf(stderr, "usage: placement_check [--machine NODESxCORES] [--cells N] [CHECK...]\nchecks:%s\n",
               names.c_str());
  std::exit(2);
}

std::vector<named_check> parse(int argc, char** argv, ground& g) {
  std::vector<named_check> chosen;
  char end = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : "";
    if (word == "--machine") {
      if (std::sscanf(value, "%ux%u%c", &g.nodes_demanded, &g.cores_demanded, &end) != 2) usage();
      if (g.nodes_demanded == 0 || g.cores_demanded == 0) usage();
      ++i;
    } else if (word == "--cells") {
      if (std::sscanf(value, "%u%c", &g.cells, &end) != 1 || g.cells == 0 || g.cells > 1'000'000) usage();
      ++i;
    } else {
      const auto* const found =
          std::find_if(checks.begin(), checks.end(), [&](const named_check& c) { return c.name == word; });
      if (found == checks.end()) usage();
      chosen.push_back(*found);
    }
  }
  if (chosen.empty()) chosen.assign(checks.begin(), checks.end());
  return chosen;
}

}  // namespace

int main(int argc, char** argv) {
  const auto shape = topology::detect();
  if (!shape) {
    std::printf("placement_check: %s\n", shape.error().message().c_str());
    return 1;
  }
  ground g{.shape = *shape, .kernel_nodes = nodes_of_kernel()};
  // A node that only has memory is nobody's place.
  std::erase_if(g.kernel_nodes, [](const auto& n) { return n.second.empty(); });
  const std::vector<named_check> chosen = parse(argc, argv, g);
  set_log_level(log_level::off);
  std::size_t failed = 0;
  for (const named_check& check : chosen) failed += passes(check, g) ? 0 : 1;
  std::printf("placement_check: %zu of %zu checks passed, on %zu NUMA node%s%s\n", chosen.size() - failed,
              chosen.size(), g.kernel_nodes.size(), g.kernel_nodes.size() == 1 ? "" : "s",
              g.kernel_nodes.size() == 1 ? " (tests/numa/run has more)" : "");
  return failed == 0 ? 0 : 1;
}
