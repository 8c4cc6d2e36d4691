// SPDX-License-Identifier: Apache-2.0
//
// The suite `organelle` in Karyon, written against the public headers as a user would. The shapes that the harness tries are in
// bench/suites/organelle.json, the scenarios' definitions in bench/README.md.

#include "harness/karyon_driver.hpp"

#include <cmath>

namespace {

using namespace karyon::bench;

struct go {
  std::uint64_t times;
};

karyon::organelle& engine() {
  static auto loaded = karyon::organelle::load(KARYON_BENCH_ENGINE);
  if (!loaded) {
    throw std::runtime_error(loaded.error().message());
  }
  return *loaded;
}

karyon::organelle_function function(char const* name) {
  auto found = engine().function(name);
  if (!found) {
    throw std::runtime_error(found.error().message());
  }
  return *found;
}

// --- calls of a function that does next to nothing ------------------------------------------------------------------------

/// A thousand calls a turn, which all stay in the handler.
class near_caller : public karyon::cell {
public:
  using accepts = karyon::signals<go>;
  explicit near_caller(karyon::organelle_function add) : add_(std::move(add)) {}

  void on(go g) {
    auto const batch = std::min<std::uint64_t>(1000, g.times);
    for (std::uint64_t i = 0; i < batch; ++i) {
      add_(sum_, std::int64_t{1}).then(this, [this](karyon::organelle_result const& r) {
        sum_ = *r->get_if<std::int64_t>();
      });
    }
    if (g.times > batch) {
      self(this).send(go{g.times - batch});
    } else {
      all_arrived.arrive();
    }
  }

private:
  karyon::organelle_function add_;
  std::int64_t sum_ = 0;
};

figure call_inline_of(work const& asked, char const* name) {
  auto& rt = start_runtime(asked);
  auto const add = function(name);
  auto const one = rt.spawn<near_caller>(add);
  std::int64_t begin = 0;
  for (auto const times : {asked.operations / 10 + 1, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    one.send(go{times});
    all_arrived.await();
  }
  auto const elapsed = now_ns() - begin;
  // The dispatcher may have been deceived now and then, by what the system did meanwhile.
  verify(add.stats().away <= asked.operations / 1000, "the calls did not stay in their handler");
  return {"ns", per(elapsed, asked.operations)};
}

figure call_inline(work const& asked) { return call_inline_of(asked, "add"); }
figure call_auto(work const& asked) { return call_inline_of(asked, "add_auto"); }

/// One call after the other on another thread, each begun when the last is back.
class far_caller : public karyon::cell {
public:
  using accepts = karyon::signals<go>;
  void on(go g) { next(g.times); }

private:
  void next(std::uint64_t left) {
    add_(sum_, std::int64_t{1}).then(this, [this, left](karyon::organelle_result const& r) {
      sum_ = *r->get_if<std::int64_t>();
      if (left > 1) {
        next(left - 1);
      } else {
        all_arrived.arrive();
      }
    });
  }

  karyon::organelle_function add_ = function("add_away");
  std::int64_t sum_ = 0;
};

figure call_dirty(work const& asked) {
  auto& rt = start_runtime(asked);
  auto const one = rt.spawn<far_caller>();
  std::int64_t begin = 0;
  for (auto const times : {asked.operations / 10 + 1, asked.operations}) {
    all_arrived.arm(1);
    begin = now_ns();
    one.send(go{times});
    all_arrived.await();
  }
  return {"us", per(now_ns() - begin, asked.operations) / 1000};
}

// --- where calls of all lengths run ---------------------------------------------------------------------------------------

/// Lengths from 0.1 us to 10 ms, as many in each factor of ten; what is declared is three times too little, and off by up to two in
/// either direction on top of that.
class mixed_caller : public karyon::cell {
public:
  using accepts = karyon::signals<go>;
  void on(go g) { next(g.times); }

  static inline double lost_ns = 0;
  static inline double least_ns = 0;
  static inline double switch_ns = 0;

private:
  void next(std::uint64_t left) {
    while (left > 0) {
      auto const length = 100 * std::pow(1e5, draw());
      auto const declared = length / 3 * std::pow(4.0, draw() - 0.5);
      here_ = true;
      back_ = false;
      spin_(static_cast<std::uint64_t>(length), static_cast<std::uint64_t>(declared))
          .then(this, [this, length, left](karyon::organelle_result const& r) {
            verify(r.has_value(), "a call failed");
            back_ = true;
            count(length, here_);
            if (!here_) {
              next(left - 1);
            }
          });
      here_ = false;
      if (!back_) {
        return;
      }
      --left;
    }
    all_arrived.arrive();
  }

  /// What a call costs its worker: its length in the handler, a switch elsewhere. The oracle knows the length beforehand.
  void count(double length, bool here) {
    auto const least = std::min(length, switch_ns);
    least_ns += least;
    lost_ns += (here ? length : switch_ns) - least;
  }
  double draw() { return static_cast<double>(random_.below(1'000'000)) / 1e6; }

  karyon::organelle_function spin_ = function("spin");
  timer_choice random_{1};
  bool here_ = false;
  bool back_ = false;
};

figure auto_regret(work const& asked) {
  auto& rt = start_runtime(asked);
  // The runtime measures its switch when the first thread of the pool is started.
  all_arrived.arm(1);
  rt.spawn<far_caller>().send(go{1000});
  all_arrived.await();
  mixed_caller::switch_ns = static_cast<double>(rt.metrics().dirty_cpu.switch_ns);
  verify(mixed_caller::switch_ns > 0, "the runtime did not measure what a switch costs");
  all_arrived.arm(1);
  rt.spawn<mixed_caller>().send(go{asked.operations});
  all_arrived.await();
  return {"percent", 100 * mixed_caller::lost_ns / mixed_caller::least_ns};
}

// --- a big structure between two cells ------------------------------------------------------------------------------------

struct structure {
  karyon::handle edges;
  std::uint64_t left;
};

class holder;
struct partner {
  karyon::ref<holder> other;
};

/// Looks at the structure, and passes it on.
class holder : public karyon::cell {
public:
  using accepts = karyon::signals<partner, structure>;
  explicit holder(std::uint64_t last) : last_(last) {}

  void on(partner p) { partner_ = p.other; }
  void on(structure s) {
    auto const time = time_of_(s.edges, last_).now();
    verify(time && *time->get_if<std::int64_t>() > 0, "the structure did not arrive");
    if (s.left == 0) {
      all_arrived.arrive();
    } else {
      partner_.send(structure{std::move(s.edges), s.left - 1});
    }
  }

private:
  karyon::organelle_function time_of_ = function("time_of");
  karyon::ref<holder> partner_;
  std::uint64_t last_;
};

/// 100 MB: 6,250,000 edges of 16 bytes.
figure handoff(work const& asked) {
  auto& rt = start_runtime(asked);
  constexpr std::uint64_t edges = 6'250'000;
  auto const times = asked.option("times", 1);
  auto made = function("edges")(edges).now();
  verify(made.has_value(), "the structure could not be made");
  auto const a = rt.spawn<holder>(edges - 1);
  auto const b = rt.spawn<holder>(edges - 1);
  a.send(partner{b});
  b.send(partner{a});
  std::int64_t begin = 0;
  for (auto const round_trips : {times / 10 + 1, times}) {
    all_arrived.arm(1);
    begin = now_ns();
    a.send(structure{*made->get_if<karyon::handle>(), 2 * round_trips});
    all_arrived.await();
  }
  return {"ns", per(now_ns() - begin, times)};
}

constexpr scenario scenarios[] = {
    {"call_inline", call_inline}, {"call_auto", call_auto}, {"call_dirty", call_dirty},
    {"auto_regret", auto_regret}, {"handoff", handoff},
};

}  // namespace

int main(int argc, char** argv) {
  karyon::set_log_level(karyon::log_level::off);  // the watch names handlers that the system kept waiting
  drive(argc, argv, scenarios);
}
