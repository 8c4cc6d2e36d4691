// SPDX-License-Identifier: Apache-2.0
//
// The suite `cells` in plain CAF 0.17: event_based_actor on the stock work-stealing scheduler. The shapes that the harness
// tries are in bench/suites/cells.json, the scenarios' definitions in bench/README.md.

#include "harness/driver.hpp"
#include "peers/caf/system.hpp"

#include <malloc.h>

#include <list>
#include <unordered_map>

namespace {

using namespace karyon::bench;

using signal_atom = caf::atom_constant<caf::atom("signal")>;
using ping_atom = caf::atom_constant<caf::atom("ping")>;
using pong_atom = caf::atom_constant<caf::atom("pong")>;
using grant_atom = caf::atom_constant<caf::atom("grant")>;

std::vector<caf::actor> table;

class cell : public caf::event_based_actor {
public:
  using caf::event_based_actor::event_based_actor;

  caf::behavior make_behavior() override {
    return {[](signal_atom) { all_arrived.arrive(); }};
  }
};

/// Spawns from `threads` ordinary threads at once; lazy_init, because a cell that waits for its first signal costs less.
std::vector<caf::actor> spawn_cells(caf::actor_system& system, std::uint64_t count, std::uint64_t threads) {
  std::vector<caf::actor> cells(count);
  auto const some = [&](std::uint64_t from, std::uint64_t to) {
    for (auto i = from; i < to; ++i) {
      cells[i] = system.spawn<cell, caf::lazy_init>();
    }
  };
  std::vector<std::thread> spawners;
  std::uint64_t from = 0;
  for (std::uint64_t i = 0; i + 1 < threads; ++i) {
    auto const to = from + share(count, threads, i);
    spawners.emplace_back(some, from, to);
    from = to;
  }
  some(from, count);
  for (auto& spawner : spawners) {
    spawner.join();
  }
  return cells;
}

void signal_all(std::vector<caf::actor> const& cells) {
  all_arrived.arm(cells.size());
  for (auto const& one : cells) {
    caf::anon_send(one, signal_atom::value);
  }
  all_arrived.await();
}

/// Resident memory at rest; what malloc holds back of the signals that were in flight is given back first.
double resident_bytes_at_rest() {
  settle();
  malloc_trim(0);
  return resident_bytes();
}

figure spawn(work const& asked) {
  auto& system = system_of(asked);
  auto const begin = now_ns();
  table = spawn_cells(system, asked.cells, asked.option("spawners", 1));
  auto const end = now_ns();
  return {"ns", static_cast<double>(end - begin) / static_cast<double>(asked.cells)};
}

figure bytes_idle(work const& asked) {
  auto& system = system_of(asked);
  auto const before = resident_bytes();
  table = spawn_cells(system, asked.cells, 1);
  signal_all(table);
  return {"bytes", (resident_bytes_at_rest() - before) / static_cast<double>(asked.cells)};
}

figure scatter(work const& asked) {
  table = spawn_cells(system_of(asked), asked.cells, 1);
  signal_all(table);
  auto const begin = now_ns();
  signal_all(table);
  return {"ns", static_cast<double>(now_ns() - begin) / static_cast<double>(asked.cells)};
}

figure idle_cpu(work const& asked) {
  table = spawn_cells(system_of(asked), asked.cells, 1);
  signal_all(table);
  settle();
  auto const cpu = process_cpu_ns();
  auto const begin = now_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds{asked.operations});
  auto const used = process_cpu_ns() - cpu;
  return {"percent", 100.0 * static_cast<double>(used) / static_cast<double>(now_ns() - begin)};
}

// --- two actors ------------------------------------------------------------------------------------------------------

caf::behavior pong_actor(caf::event_based_actor* self, caf::actor const& ping) {
  return {[=](ping_atom) { self->send(ping, pong_atom::value); }};
}

/// Plays a tenth of the trips to warm up, then the trips that count.
class ping_actor : public caf::event_based_actor {
public:
  ping_actor(caf::actor_config& config, std::uint64_t trips)
      : caf::event_based_actor(config), warm_(trips / 10 + 1), trips_(trips) {}

  caf::behavior make_behavior() override {
    return {[this](caf::actor const& pong) {
              pong_ = pong;
              send(pong_, ping_atom::value);
            },
            [this](pong_atom) {
              if (warm_ > 0) {
                if (--warm_ == 0) {
                  begin_ns = now_ns();
                }
              } else if (--trips_ == 0) {
                all_arrived.arrive();
                return;
              }
              send(pong_, ping_atom::value);
            }};
  }

private:
  caf::actor pong_;
  std::uint64_t warm_;
  std::uint64_t trips_;
};

template <caf::spawn_options Options>
figure roundtrip(work const& asked) {
  auto& system = system_of(asked);
  all_arrived.arm(1);
  auto const ping = system.spawn<ping_actor, Options>(asked.operations);
  auto const pong = system.spawn<Options>(pong_actor, ping);
  caf::anon_send(ping, pong);
  all_arrived.await();
  return {"ns", static_cast<double>(now_ns() - begin_ns) / static_cast<double>(asked.operations)};
}

class producer : public caf::event_based_actor {
public:
  producer(caf::actor_config& config, std::uint64_t items, std::uint64_t window)
      : caf::event_based_actor(config), left_(items), half_(window / 2) {}

  caf::behavior make_behavior() override {
    return {[this](caf::actor const& consumer) {
              consumer_ = consumer;
              send_half();
              send_half();
            },
            [this](grant_atom) { send_half(); }};
  }

private:
  void send_half() {
    for (auto i = half_; i > 0 && left_ > 0; --i) {
      send(consumer_, left_--);
    }
  }

  caf::actor consumer_;
  std::uint64_t left_;
  std::uint64_t half_;
};

class consumer : public caf::event_based_actor {
public:
  consumer(caf::actor_config& config, caf::actor feed, std::uint64_t items, std::uint64_t window)
      : caf::event_based_actor(config), feed_(std::move(feed)), left_(items), half_(window / 2), until_(half_) {}

  caf::behavior make_behavior() override {
    return {[this](std::uint64_t item) {
      sum += item;
      if (--left_ == 0) {
        all_arrived.arrive();
      } else if (--until_ == 0) {
        until_ = half_;
        send(feed_, grant_atom::value);
      }
    }};
  }

  static inline std::uint64_t sum = 0;

private:
  caf::actor feed_;
  std::uint64_t left_;
  std::uint64_t half_;
  std::uint64_t until_;
};

figure fan_in(work const& asked) {
  auto& system = system_of(asked);
  auto const window = asked.option("window", 1024);
  std::int64_t begin = 0;
  for (auto const items : {asked.operations / 10, asked.operations}) {
    consumer::sum = 0;
    all_arrived.arm(1);
    auto const feed = system.spawn<producer>(items, window);
    auto const sink = system.spawn<consumer>(feed, items, window);
    begin = now_ns();
    caf::anon_send(feed, sink);
    all_arrived.await();
    verify(consumer::sum == items * (items + 1) / 2, "fan_in: items were lost");
  }
  return {"ns", static_cast<double>(now_ns() - begin) / static_cast<double>(asked.operations)};
}

figure fan_in_outside(work const& asked) {
  auto& system = system_of(asked);
  static std::list<outside_feed> feeds;  // kept: the last handler may still be on its way out
  std::int64_t elapsed = 0;
  for (auto const items : {asked.operations / 10, asked.operations}) {
    auto& feed = feeds.emplace_back(items, asked.option("window", 1024));
    auto const sink = system.spawn([&feed](caf::event_based_actor*) -> caf::behavior {
      return {[&feed](std::uint64_t item) { feed.consumed(item); }};
    });
    elapsed = feed.run([&](std::uint64_t item) { caf::anon_send(sink, item); });
  }
  return {"ns", static_cast<double>(elapsed) / static_cast<double>(asked.operations)};
}

// --- many actors -----------------------------------------------------------------------------------------------------

/// Savina's big: a ping is the sender's index.
class big_actor : public caf::event_based_actor {
public:
  big_actor(caf::actor_config& config, std::uint64_t index)
      : caf::event_based_actor(config), index_(index), choice_{index + 1} {}

  caf::behavior make_behavior() override {
    return {[this](std::uint64_t from) { send(table[from], pong_atom::value); },
            [this](pong_atom) {
              if (--left_ == 0) {
                all_arrived.arrive();
              } else {
                ping();
              }
            },
            [this](go_atom, std::uint64_t rounds) {
              left_ = rounds;
              ping();
            }};
  }

private:
  void ping() { send(table[choice_.next(index_, table.size())], index_); }

  std::uint64_t index_;
  partner_choice choice_;
  std::uint64_t left_ = 0;
};

figure big(work const& asked) {
  auto& system = system_of(asked);
  auto const rounds = std::max<std::uint64_t>(1, asked.operations / asked.cells);
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    table.push_back(system.spawn<big_actor>(i));
  }
  std::int64_t begin = 0;
  for (auto const count : {std::max<std::uint64_t>(1, rounds / 10), rounds}) {
    all_arrived.arm(asked.cells);
    begin = now_ns();
    for (auto const& one : table) {
      caf::anon_send(one, go_atom::value, count);
    }
    all_arrived.await();
  }
  return {"ns", static_cast<double>(now_ns() - begin) / static_cast<double>(rounds * asked.cells)};
}

class ring_actor : public caf::event_based_actor {
public:
  using caf::event_based_actor::event_based_actor;

  caf::behavior make_behavior() override {
    return {[this](std::uint64_t left) {
              if (left == 1) {
                all_arrived.arrive();
              } else {
                send(next_, left - 1);
              }
            },
            [this](caf::actor const& next) { next_ = next; }};
  }

private:
  caf::actor next_;
};

figure ring(work const& asked) {
  auto& system = system_of(asked);
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    table.push_back(system.spawn<ring_actor>());
  }
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    caf::anon_send(table[i], table[(i + 1) % asked.cells]);
  }
  std::int64_t begin = 0;
  for (auto const hops : {asked.operations / 10, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    caf::anon_send(table[0], hops);
    all_arrived.await();
  }
  return {"ns", static_cast<double>(now_ns() - begin) / static_cast<double>(asked.operations)};
}

// --- supervised ------------------------------------------------------------------------------------------------------

/// CAF has no supervisors, so this is the one that its user writes: children are monitored, and a child that dies is
/// started again under its index.
class supervisor : public caf::event_based_actor {
public:
  supervisor(caf::actor_config& config, std::uint64_t count) : caf::event_based_actor(config), children_(count) {
    index_of_.reserve(count);
  }

  caf::behavior make_behavior() override {
    set_down_handler([this](caf::down_msg const& down) {
      if (auto const found = index_of_.find(down.source); found != index_of_.end()) {
        auto const index = found->second;
        index_of_.erase(found);
        start(index);
      }
    });
    for (std::uint64_t i = 0; i < children_.size(); ++i) {
      start(i);
    }
    all_arrived.arrive();
    return {[this](signal_atom) {
      for (auto const& child : children_) {
        send(child, signal_atom::value);
      }
    }};
  }

private:
  void start(std::uint64_t index) {
    children_[index] = spawn<cell, caf::monitored + caf::lazy_init>();
    index_of_.emplace(children_[index].address(), index);
  }

  std::vector<caf::actor> children_;
  std::unordered_map<caf::actor_addr, std::uint64_t> index_of_;
};

std::vector<caf::actor> start_supervised(work const& asked) {
  auto& system = system_of(asked);
  auto const count = std::max<std::uint64_t>(1, asked.cells / asked.option("children", 1000));
  std::vector<caf::actor> supervisors;
  supervisors.reserve(count);
  all_arrived.arm(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    supervisors.push_back(system.spawn<supervisor>(share(asked.cells, count, i)));
  }
  all_arrived.await();
  return supervisors;
}

figure supervise_start(work const& asked) {
  system_of(asked);
  auto const begin = now_ns();
  table = start_supervised(asked);
  return {"ns", static_cast<double>(now_ns() - begin) / static_cast<double>(asked.cells)};
}

figure bytes_supervised(work const& asked) {
  system_of(asked);
  auto const before = resident_bytes();
  table = start_supervised(asked);
  all_arrived.arm(asked.cells);
  for (auto const& one : table) {
    caf::anon_send(one, signal_atom::value);
  }
  all_arrived.await();
  return {"bytes", (resident_bytes_at_rest() - before) / static_cast<double>(asked.cells)};
}

constexpr scenario scenarios[] = {
    {"spawn", spawn},
    {"bytes_idle", bytes_idle},
    {"bytes_supervised", bytes_supervised},
    {"roundtrip_local", roundtrip<caf::no_spawn_options>},
    {"roundtrip_cross", roundtrip<caf::detached>},
    {"fan_in", fan_in},
    {"fan_in_outside", fan_in_outside},
    {"scatter", scatter},
    {"big", big},
    {"ring", ring},
    {"ask", ask},
    {"idle_cpu", idle_cpu},
    {"supervise_start", supervise_start},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
