// SPDX-License-Identifier: Apache-2.0
//
// The suite `cells` in Karyon, written against the public headers as a user would. The shapes that the harness tries are in
// bench/suites/cells.json, the scenarios' definitions in bench/README.md.

#include "harness/karyon_driver.hpp"
#include "suites/fan_in.hpp"

#include <list>

namespace {

using namespace karyon::bench;

struct tick {};

class bare : public karyon::cell {
public:
  using accepts = karyon::signals<tick>;
  void on(tick) { all_arrived.arrive(); }
};

template <class Handle>
void signal_all(std::vector<Handle> const& cells) {
  all_arrived.arm(cells.size());
  for (auto const& one : cells) {
    one.send(tick{});
  }
  all_arrived.await();
}

// --- cells by the thousand -------------------------------------------------------------------------------------------

std::vector<karyon::ref<bare>> cells;

/// Spawns its share of the cells from within, one after the other; in slices, as a handler should return within a millisecond.
struct spawn_share {
  std::uint64_t from;
  std::uint64_t to;
};

class spawner : public karyon::cell {
public:
  using accepts = karyon::signals<spawn_share>;
  void on(spawn_share part) {
    auto const end = std::min<std::uint64_t>(part.to, part.from + 2048);
    for (auto i = part.from; i < end; ++i) {
      cells[i] = spawn<bare>();
    }
    if (end < part.to) {
      self(this).send(spawn_share{end, part.to});
    } else {
      all_arrived.arrive();
    }
  }
};

void spawn_outside(karyon::runtime& rt) {
  for (auto& one : cells) {
    one = rt.spawn<bare>();
  }
}

/// One spawner on every worker.
void spawn_inside(karyon::runtime& rt) {
  all_arrived.arm(rt.workers());
  std::uint64_t from = 0;
  for (std::uint32_t w = 0; w < rt.workers(); ++w) {
    auto const to = from + share(cells.size(), rt.workers(), w);
    rt.spawn_at<spawner>(karyon::placement::on_worker(w)).send(spawn_share{from, to});
    from = to;
  }
  all_arrived.await();
}

figure spawn(work const& asked) {
  auto& rt = start_runtime(asked);
  cells.resize(asked.cells);
  auto const begin = now_ns();
  if (asked.option("inside", 0) != 0) {
    spawn_inside(rt);
  } else {
    spawn_outside(rt);
  }
  auto const elapsed = now_ns() - begin;
  signal_all(cells);
  return {"ns", per(elapsed, asked.cells)};
}

figure bytes_idle(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const before = resident_bytes();
  cells.resize(asked.cells);
  spawn_outside(rt);
  signal_all(cells);
  settle();
  return {"bytes", (resident_bytes() - before) / static_cast<double>(asked.cells)};
}

figure scatter(work const& asked) {
  auto& rt = start_runtime(asked);
  cells.resize(asked.cells);
  spawn_inside(rt);
  signal_all(cells);
  auto const begin = now_ns();
  signal_all(cells);
  return {"ns", per(now_ns() - begin, asked.cells)};
}

/// As scatter, by the call that Karyon has for it.
figure scatter_by_broadcast(work const& asked) {
  auto& rt = start_runtime(asked);
  cells.resize(asked.cells);
  spawn_inside(rt);
  signal_all(cells);
  all_arrived.arm(cells.size());
  auto const begin = now_ns();
  auto const sent = karyon::broadcast(cells, tick{});
  all_arrived.await();
  auto const elapsed = now_ns() - begin;
  verify(sent.accepted == cells.size(), "broadcast: a cell refused");
  return {"ns", per(elapsed, asked.cells)};
}

figure idle_cpu(work const& asked) {
  auto& rt = start_runtime(asked);
  cells.resize(asked.cells);
  spawn_inside(rt);
  signal_all(cells);
  settle();
  auto const cpu = process_cpu_ns();
  auto const begin = now_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds{asked.operations});
  auto const used = process_cpu_ns() - cpu;
  return {"percent", 100.0 * static_cast<double>(used) / static_cast<double>(now_ns() - begin)};
}

// --- two cells -------------------------------------------------------------------------------------------------------

struct ping {};
struct pong {};
class ping_cell;

class pong_cell : public karyon::cell {
public:
  using accepts = karyon::signals<ping>;
  explicit pong_cell(karyon::ref<ping_cell> partner) : partner_(partner) {}
  void on(ping);

private:
  karyon::ref<ping_cell> partner_;
};

struct partner {
  karyon::ref<pong_cell> pong;
};

/// Plays a tenth of the trips to warm up, then the trips that count.
class ping_cell : public karyon::cell {
public:
  using accepts = karyon::signals<partner, pong>;
  explicit ping_cell(std::uint64_t trips) : warm_(trips / 10 + 1), trips_(trips) {}

  void on(partner with) {
    pong_ = with.pong;
    pong_.send(ping{});
  }

  void on(pong) {
    if (warm_ > 0) {
      if (--warm_ == 0) {
        begin_ns = now_ns();
      }
    } else if (--trips_ == 0) {
      all_arrived.arrive();
      return;
    }
    pong_.send(ping{});
  }

private:
  karyon::ref<pong_cell> pong_;
  std::uint64_t warm_;
  std::uint64_t trips_;
};

void pong_cell::on(ping) { partner_.send(pong{}); }

figure roundtrip(work const& asked, std::uint32_t ping_worker, std::uint32_t pong_worker) {
  auto& rt = start_runtime(asked);
  verify(std::max(ping_worker, pong_worker) < rt.workers(), "this scenario needs two workers");
  all_arrived.arm(1);
  auto const first = rt.spawn_at<ping_cell>(karyon::placement::on_worker(ping_worker), asked.operations);
  auto const second = rt.spawn_at<pong_cell>(karyon::placement::on_worker(pong_worker), first);
  first.send(partner{second});
  all_arrived.await();
  return {"ns", per(now_ns() - begin_ns, asked.operations)};
}

figure roundtrip_local(work const& asked) { return roundtrip(asked, 0, 0); }
figure roundtrip_cross(work const& asked) { return roundtrip(asked, 0, 1); }

figure fan_in(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const window = asked.option("window", 1024);
  auto const apart = asked.option("apart", 0) != 0;
  feed_items(rt, asked.operations / 10, window, apart);
  return {"ns", per(feed_items(rt, asked.operations, window, apart), asked.operations)};
}

class outside_consumer : public karyon::cell {
public:
  using accepts = karyon::signals<item>;
  explicit outside_consumer(outside_feed* feed) : feed_(feed) {}
  void on(item one) { feed_->consumed(one.value); }

private:
  outside_feed* feed_;
};

figure fan_in_outside(work const& asked) {
  auto& rt = start_runtime(asked);
  static std::list<outside_feed> feeds;  // kept: the last handler may still be on its way out
  std::int64_t elapsed = 0;
  for (auto const items : {asked.operations / 10, asked.operations}) {
    auto& feed = feeds.emplace_back(items, asked.option("window", 1024));
    auto const sink = rt.spawn<outside_consumer>(&feed);
    elapsed = feed.run([&](std::uint64_t value) { sink.send(item{value}); });
  }
  return {"ns", per(elapsed, asked.operations)};
}

struct question {};
struct ask_times {
  std::uint64_t count;
};

class answerer : public karyon::cell {
public:
  using accepts = karyon::signals<question>;
  std::int64_t on(question) { return 42; }
};

/// Asks the next question when the answer to the last is there; each ask arms its timeout.
class asker : public karyon::cell {
public:
  using accepts = karyon::signals<ask_times>;
  explicit asker(karyon::ref<answerer> server) : server_(server) {}
  void on(ask_times times) { ask_again(times.count); }

private:
  void ask_again(std::uint64_t left) {
    if (left == 0) {
      all_arrived.arrive();
      return;
    }
    ask(server_, question{}, std::chrono::seconds{1}, [this, left](karyon::result<std::int64_t> answer) {
      verify(answer.value() == 42, "ask: a wrong answer");
      ask_again(left - 1);
    });
  }

  karyon::ref<answerer> server_;
};

figure ask(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const here = karyon::placement::on_worker(0);
  auto const client = rt.spawn_at<asker>(here, rt.spawn_at<answerer>(here));
  std::int64_t begin = 0;
  for (auto const count : {asked.operations / 10, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    client.send(ask_times{count});
    all_arrived.await();
  }
  return {"ns", per(now_ns() - begin, asked.operations)};
}

// --- many to many ----------------------------------------------------------------------------------------------------

struct big_ping {
  std::uint64_t sender;
};
struct big_go {
  std::uint64_t rounds;
};
class big_cell;
std::vector<karyon::ref<big_cell>> big_table;

/// Savina's big: a ping is the sender's index.
class big_cell : public karyon::cell {
public:
  using accepts = karyon::signals<big_ping, pong, big_go>;
  explicit big_cell(std::uint64_t index) : index_(index), choice_{index + 1} {}

  void on(big_ping from) { big_table[from.sender].send(pong{}); }
  void on(pong) {
    if (--left_ == 0) {
      all_arrived.arrive();
    } else {
      send_ping();
    }
  }
  void on(big_go start) {
    left_ = start.rounds;
    send_ping();
  }

private:
  void send_ping() { big_table[choice_.next(index_, big_table.size())].send(big_ping{index_}); }

  std::uint64_t index_;
  partner_choice choice_;
  std::uint64_t left_ = 0;
};

figure big(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const rounds = std::max<std::uint64_t>(1, asked.operations / asked.cells);
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    big_table.push_back(rt.spawn<big_cell>(i));
  }
  std::int64_t begin = 0;
  for (auto const count : {std::max<std::uint64_t>(1, rounds / 10), rounds}) {
    all_arrived.arm(asked.cells);
    begin = now_ns();
    for (auto const& one : big_table) {
      one.send(big_go{count});
    }
    all_arrived.await();
  }
  return {"ns", per(now_ns() - begin, rounds * asked.cells)};
}

struct token {
  std::uint64_t left;
};
class ring_cell;
struct next_in_ring {
  karyon::ref<ring_cell> next;
};

class ring_cell : public karyon::cell {
public:
  using accepts = karyon::signals<token, next_in_ring>;
  void on(token t) {
    if (t.left == 1) {
      all_arrived.arrive();
    } else {
      next_.send(token{t.left - 1});
    }
  }
  void on(next_in_ring link) { next_ = link.next; }

private:
  karyon::ref<ring_cell> next_;
};

figure ring(work const& asked) {
  auto& rt = start_runtime(asked);
  std::vector<karyon::ref<ring_cell>> members;
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    members.push_back(rt.spawn<ring_cell>());
  }
  for (std::uint64_t i = 0; i < asked.cells; ++i) {
    members[i].send(next_in_ring{members[(i + 1) % asked.cells]});
  }
  std::int64_t begin = 0;
  for (auto const hops : {asked.operations / 10, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    members[0].send(token{hops});
    all_arrived.await();
  }
  return {"ns", per(now_ns() - begin, asked.operations)};
}

// --- supervised ------------------------------------------------------------------------------------------------------

std::vector<karyon::child<bare>> start_supervised(karyon::runtime& rt, std::uint64_t count) {
  karyon::supervisor_options options;
  options.intensity = {3, std::chrono::seconds{5}};
  return rt.supervise(options).start_many<bare>(count);
}

figure supervise_start(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const begin = now_ns();
  auto const children = start_supervised(rt, asked.cells);
  auto const elapsed = now_ns() - begin;
  signal_all(children);
  return {"ns", per(elapsed, asked.cells)};
}

figure bytes_supervised(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const before = resident_bytes();
  auto const children = start_supervised(rt, asked.cells);
  signal_all(children);
  settle();
  return {"bytes", (resident_bytes() - before) / static_cast<double>(asked.cells)};
}

constexpr scenario scenarios[] = {
    {"spawn", spawn},
    {"bytes_idle", bytes_idle},
    {"bytes_supervised", bytes_supervised},
    {"roundtrip_local", roundtrip_local},
    {"roundtrip_cross", roundtrip_cross},
    {"fan_in", fan_in},
    {"fan_in_outside", fan_in_outside},
    {"scatter", scatter},
    {"scatter_by_broadcast", scatter_by_broadcast},
    {"big", big},
    {"ring", ring},
    {"ask", ask},
    {"idle_cpu", idle_cpu},
    {"supervise_start", supervise_start},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
