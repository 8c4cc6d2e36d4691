// SPDX-License-Identifier: Apache-2.0
// Heavy handlers and offloaded work in simulation: without threads, each in a turn of its own.
#include <karyon/cell/task.hpp>
#include <karyon/sim/testing.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;

namespace {

struct step {
  int n;
};
struct heavy {
  int n;
};
struct state {};

class walker : public cell {
public:
  using accepts = signals<step, heavy, state>;
  using dirty_cpu = signals<heavy>;
  explicit walker(std::vector<int>* path) : path_(path) {}
  void on(step s) { path_->push_back(s.n); }
  void on(heavy h) {
    path_->push_back(h.n);
    send_after(self(this), step{1000 + h.n}, 1ms);
    offload([n = h.n] { return 2000 + n; }, [this](result<int> r) { path_->push_back(*r); });
  }
  std::size_t on(state) { return path_->size(); }

private:
  std::vector<int>* path_;
};

/// Offloads a question.
class asker : public cell {
public:
  using accepts = signals<heavy>;
  asker(ref<walker> whom, std::vector<std::size_t>* out) : whom_(whom), out_(out) {}
  void on(heavy) {
    offload_io([&rt = host(), whom = whom_] { return rt.ask(whom, state{}, 1s); },
               [this](result<std::size_t> r) { out_->push_back(*r); });
  }

private:
  ref<walker> whom_;
  std::vector<std::size_t>* out_;
};

/// Its handler is heavy, and a coroutine that awaits work.
class ponderer : public cell {
public:
  using accepts = signals<heavy, step>;
  using dirty_cpu = signals<heavy>;
  explicit ponderer(std::vector<int>* path) : path_(path) {}
  task<int> on(heavy h) {
    path_->push_back(h.n);
    const auto first = co_await offload([n = h.n] { return n + 1; });
    path_->push_back(*first);
    const auto second = co_await offload_io([]() -> int { throw std::runtime_error("no"); });
    path_->push_back(second ? 0 : *first + 1);
    co_return *first;
  }
  void on(step s) { path_->push_back(s.n); }

private:
  std::vector<int>* path_;
};

}  // namespace

TEST_CASE("in simulation a coroutine gets what its work yields, others take turns meanwhile, and a seed is one order") {
  const auto path_of = [](std::uint64_t seed) {
    world w(seed);
    std::vector<int> path;
    const auto c = w.runtime().spawn<ponderer>(&path);
    auto asked = w.runtime().ask_async(c, heavy{10});
    c.send(step{1});
    c.send(step{2});
    w.run();
    CHECK(asked.ready());
    CHECK(asked.get(1s).value() == 11);
    return path;
  };
  bool between = false;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const auto path = path_of(seed);
    CHECK(path == path_of(seed));
    std::vector<int> own;
    std::copy_if(path.begin(), path.end(), std::back_inserter(own), [](int n) { return n >= 10; });
    CHECK(own == std::vector<int>{10, 11, 12});
    between = between || path.back() == 12;
  }
  CHECK(between);
}

TEST_CASE("in simulation a kill drops the work that a coroutine waits for, and whoever asked is told") {
  std::uint64_t lost = 0;
  testing::for_each_seed({.first = 1, .count = 100}, [&](world& w) {
    auto& path = w.keep<std::vector<int>>();
    const auto c = w.runtime().spawn<ponderer>(&path);
    auto asked = w.runtime().ask_async(c, heavy{10});
    const auto turns = w.random().below(6);
    for (std::uint64_t i = 0; i < turns && w.step(); ++i) {
    }
    w.kill(c);
    w.run();
    if (!asked.ready()) throw std::runtime_error("neither answered nor told");
    const runtime_metrics m = w.runtime().metrics();
    lost += m.offloads_late + m.offloads_skipped;
  });
  CHECK(lost > 0);
}

TEST_CASE("in simulation heavy handlers keep their place among a cell's signals, and their timers and offloads come") {
  testing::for_each_seed({.first = 1, .count = 200}, [](world& w) {
    auto& path = w.keep<std::vector<int>>();
    const auto c = w.runtime().spawn<walker>(&path);
    for (int i = 0; i < 20; ++i) {
      if (i % 5 == 0) {
        c.send(heavy{i});
      } else {
        c.send(step{i});
      }
    }
    w.run();
    w.advance(10ms);
    std::vector<int> plain;
    std::copy_if(path.begin(), path.end(), std::back_inserter(plain), [](int n) { return n < 1000; });
    if (plain.size() != 20 || !std::is_sorted(plain.begin(), plain.end())) throw std::runtime_error("out of order");
    if (path.size() != 28) throw std::runtime_error("a timer or an offload is missing");
    if (w.runtime().metrics().dirty_cpu.run != 8) throw std::runtime_error("not counted");
  });
}

TEST_CASE("in simulation a world sees other turns between a heavy signal's arrival and its handling") {
  bool between = false;
  for (std::uint64_t seed = 1; seed <= 50 && !between; ++seed) {
    world w(seed);
    std::vector<int> path;
    const auto c = w.runtime().spawn<walker>(&path);
    const auto other = w.runtime().spawn<walker>(&path);
    c.send(heavy{1});
    other.send(step{7});
    w.run();
    w.advance(10ms);
    between = path.front() == 7;
  }
  CHECK(between);
}

TEST_CASE("in simulation offloaded work may ask, as on a thread of its own, and a kill drops its continuation") {
  std::size_t answered = 0;
  std::uint64_t lost = 0;
  testing::for_each_seed({.first = 1, .count = 100}, [&](world& w) {
    auto& path = w.keep<std::vector<int>>();
    auto& out = w.keep<std::vector<std::size_t>>();
    const auto c = w.runtime().spawn<walker>(&path);
    const auto a = w.runtime().spawn<asker>(c, &out);
    a.send(heavy{0});
    const auto turns = w.random().below(6);
    for (std::uint64_t i = 0; i < turns && w.step(); ++i) {
    }
    w.kill(a);
    w.run();
    const runtime_metrics m = w.runtime().metrics();
    answered += out.size();
    lost += m.offloads_late + m.offloads_skipped;
  });
  CHECK(answered > 0);
  CHECK(lost > 0);
}
