// SPDX-License-Identifier: Apache-2.0
//
// The suite `discover` in Karyon, written against the public headers as a user would. The shapes that the harness tries are
// in bench/suites/discover.json, the scenarios' definitions in bench/README.md.

#include "harness/karyon_driver.hpp"

#include <string>
#include <tuple>

namespace {

using namespace karyon::bench;
using namespace std::chrono_literals;

karyon::process_groups scope;
karyon::registry organs;

std::string group_of(std::uint64_t index) { return "group " + std::to_string(index); }
std::string name_of(std::uint64_t index) { return "cell " + std::to_string(index); }

struct tick {};
struct join_group {
  std::uint64_t index;
};
struct take_name {
  std::uint64_t index;
};

/// Joins, or takes a name, when it is told to; else it only hears.
class inhabitant : public karyon::cell {
public:
  using accepts = karyon::signals<tick, join_group, take_name>;
  void on(tick) { all_arrived.arrive(); }
  void on(join_group which) {
    verify(scope.join(group_of(which.index), self(this)).has_value(), "a cell could not join");
    all_arrived.arrive();
  }
  void on(take_name which) {
    verify(organs.add(name_of(which.index), self(this)).has_value(), "a cell could not take its name");
    all_arrived.arrive();
  }
};

std::vector<karyon::ref<inhabitant>> settle_down(work const& asked) {
  auto& rt = start_runtime(asked);
  scope = karyon::process_groups::open(rt, "bench").value();
  organs = karyon::registry::open(rt, "bench").value();
  std::vector<karyon::ref<inhabitant>> all;
  all.reserve(asked.cells);
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    all.push_back(rt.spawn_at<inhabitant>(karyon::placement::spread()));
  }
  all_arrived.arm(all.size());
  for (auto const& one : all) {
    one.send(tick{});
  }
  all_arrived.await();
  return all;
}

/// By one thread, or by each cell for itself: the time it takes until all are members.
std::int64_t join_all(std::vector<karyon::ref<inhabitant>> const& all, std::uint64_t groups, bool inside) {
  all_arrived.arm(all.size());
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    if (inside) {
      all[i].send(join_group{i % groups});
    } else {
      verify(scope.join(group_of(i % groups), all[i]).has_value(), "a cell could not join");
    }
  }
  if (inside) {
    all_arrived.await();
  }
  return now_ns() - begin;
}

figure join_one_group(work const& asked) {
  auto const all = settle_down(asked);
  auto const elapsed = join_all(all, 1, asked.option("inside", 0) != 0);
  verify(scope.members(group_of(0)).size() == asked.cells, "not all are members");
  return {"ns", per(elapsed, asked.cells)};
}

figure join_many(work const& asked) {
  auto const all = settle_down(asked);
  auto const elapsed = join_all(all, asked.operations, asked.option("inside", 0) != 0);
  verify(scope.groups().size() == asked.operations, "there are other groups");
  verify(scope.members(group_of(1)).size() == asked.cells / asked.operations, "not all are members");
  return {"ns", per(elapsed, asked.cells)};
}

/// By which the process grows when each joins one group.
figure bytes_membership(work const& asked) {
  auto const all = settle_down(asked);
  settle();
  auto const before = resident_bytes();
  join_all(all, 1, false);
  settle();
  return {"bytes", (resident_bytes() - before) / static_cast<double>(asked.cells)};
}

/// From the first kill until the group is empty.
figure leave_all(work const& asked) {
  auto const all = settle_down(asked);
  join_all(all, 1, false);
  auto const begin = now_ns();
  for (auto const& one : all) {
    host->exit(one, karyon::exit_reason::killed());
  }
  while (scope.pick(group_of(0))) {
    std::this_thread::sleep_for(100us);
  }
  auto const elapsed = now_ns() - begin;
  verify(scope.groups().empty(), "a group has outlived its members");
  return {"ms", static_cast<double>(elapsed) / 1e6};
}

figure register_names(work const& asked) {
  auto const all = settle_down(asked);
  auto const inside = asked.option("inside", 0) != 0;
  all_arrived.arm(all.size());
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    if (inside) {
      all[i].send(take_name{i});
    } else {
      verify(organs.add(name_of(i), all[i]).has_value(), "a cell could not take its name");
    }
  }
  if (inside) {
    all_arrived.await();
  }
  auto const elapsed = now_ns() - begin;
  verify(organs.size() == asked.cells, "there are other names");
  return {"ns", per(elapsed, asked.cells)};
}

/// Takes its name in each of its lives, while it is constructed.
class phoenix : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  explicit phoenix(std::uint32_t index) {
    verify(organs.add(name_of(index), self(this)).has_value(), "a child could not take its name");
    self(this).send(tick{});
  }
  void on(tick) { all_arrived.arrive(); }
};

std::vector<karyon::ref<phoenix>> doomed;

struct kill_share {
  std::uint64_t from;
  std::uint64_t to;
};

class killer : public karyon::cell {
public:
  using accepts = karyon::signals<kill_share>;
  void on(kill_share part) {
    for (auto i = part.from; i < part.to; ++i) {
      exit(doomed[i], karyon::exit_reason::killed());
    }
  }
};

/// All names are registered, all their owners killed, and all are registered again by the restarted ones: all of it.
figure churn(work const& asked) {
  auto& rt = start_runtime(asked);
  organs = karyon::registry::open(rt, "bench").value();
  karyon::supervisor_options options;
  options.intensity = {1'000'000'000, 5s};
  auto over = rt.supervise(options);
  all_arrived.arm(asked.cells);
  auto const begin = now_ns();
  auto const roles = over.start_each<phoenix>(asked.cells, [](std::uint32_t index) { return std::tuple(index); });
  all_arrived.await();
  auto elapsed = now_ns() - begin;
  verify(organs.size() == asked.cells, "there are other names");
  for (auto const& one : roles) {
    doomed.push_back(one.get());
  }
  all_arrived.arm(asked.cells);
  auto const again = now_ns();
  if (asked.option("inside", 0) != 0) {
    std::uint64_t from = 0;
    for (std::uint32_t w = 0; w < rt.workers(); ++w) {
      auto const to = from + share(doomed.size(), rt.workers(), w);
      rt.spawn_at<killer>(karyon::placement::on_worker(w)).send(kill_share{from, to});
      from = to;
    }
  } else {
    for (auto const& one : doomed) {
      rt.exit(one, karyon::exit_reason::killed());
    }
  }
  all_arrived.await();
  elapsed += now_ns() - again;
  verify(organs.size() == asked.cells, "names were lost");
  for (std::uint64_t i = 0; i < asked.cells; i += 1000) {
    verify(organs.find_ref<phoenix>(name_of(i)) == roles[i].get(), "a name belongs to another");
  }
  return {"ns", per(elapsed, asked.cells)};
}

figure resolve(work const& asked) {
  auto const all = settle_down(asked);
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    names.push_back(name_of(i));
    verify(organs.add(names.back(), all[i]).has_value(), "a cell could not take its name");
  }
  partner_choice choice{1};
  auto const begin = now_ns();
  std::uint64_t found = 0;
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    found += organs.find(names[choice.next(0, names.size())]).has_value() ? 1 : 0;
  }
  auto const elapsed = now_ns() - begin;
  verify(found == asked.operations, "a name was not found");
  return {"ns", per(elapsed, asked.operations)};
}

figure group_send(work const& asked) {
  auto const all = settle_down(asked);
  join_all(all, 1, false);
  std::vector<std::int64_t> elapsed;
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    all_arrived.arm(all.size());
    auto const begin = now_ns();
    verify(scope.send(group_of(0), tick{}).accepted == all.size(), "a member was not sent to");
    all_arrived.await();
    elapsed.push_back(now_ns() - begin);
  }
  return {"ns", percentile(elapsed, 50) / static_cast<double>(asked.cells)};
}

constexpr scenario scenarios[] = {
    {"join_one_group", join_one_group},
    {"join_many", join_many},
    {"leave_all", leave_all},
    {"bytes_membership", bytes_membership},
    {"register", register_names},
    {"churn", churn},
    {"resolve", resolve},
    {"group_send", group_send},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
