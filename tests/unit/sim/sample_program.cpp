// A program under simulation, for tests that need more than one process.
//
//   sim_sample hash SEED   prints the trace's hash and the trace of a lively world
//   sim_sample bug         looks for a bug that depends on the order of events; prints the failure, and ends with 1
//   sim_sample misuse ...  does what aborts with a sentence: deadlock, livelock, nested, unverified, second, outlived,
//                          "inside CALL" for a call of the world by a cell
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "sample_world.hpp"
#include "sched/wait.hpp"

using namespace std::chrono_literals;
using namespace karyon;

namespace {

struct deposit {
  int amount;
};
struct withdraw {
  int amount;
};
struct balance {};

/// Takes it for granted that money comes in before it goes out.
class account : public cell {
public:
  using accepts = signals<deposit, withdraw, balance>;
  void on(deposit d) { balance_ += d.amount; }
  void on(withdraw d) {
    if (d.amount > balance_) throw std::logic_error("overdrawn");
    balance_ -= d.amount;
  }
  int on(balance) { return balance_; }

private:
  int balance_ = 0;
};

struct pay {};

template <class Payment>
class customer : public cell {
public:
  using accepts = signals<pay>;
  explicit customer(ref<account> a) : account_(a) {}
  void on(pay) { account_.send(Payment{10}); }

private:
  ref<account> account_;
};

void bank(testing::world& w) {
  auto a = w.runtime().spawn<account>();
  auto payer = w.runtime().spawn<customer<deposit>>(a);
  auto taker = w.runtime().spawn<customer<withdraw>>(a);
  payer.send(pay{});
  taker.send(pay{});
  w.run();
  const auto left = w.runtime().ask(a, balance{}, 1s);
  if (!left) throw std::runtime_error("the account does not answer: " + left.error().message());
}

int print_hash(std::uint64_t seed) {
  testing::world_options options;
  options.seed = seed;
  options.record = true;
  testing::world w(options);
  tests::live_a_little(w);
  std::printf("%016llx\n", static_cast<unsigned long long>(w.trace_hash()));
  for (const std::string& line : w.trace()) std::printf("%s\n", line.c_str());
  return 0;
}

int look_for_bug() {
  try {
    testing::for_each_seed({.first = 1, .count = 50}, [](testing::world& w) {
      std::printf("seed %llu\n", static_cast<unsigned long long>(w.seed()));
      bank(w);
    });
  } catch (const testing::failure& e) {
    std::printf("FAILED %s\n", e.what());
    return 1;
  }
  return 0;
}

struct again {};
class restless : public cell {
public:
  using accepts = signals<again>;
  void on(again) { self(this).send(again{}); }
};

/// Two that block in their handlers, each with what the other waits for.
struct exchange_of_two {
  detail::blocking_event first;
  detail::blocking_event second;
};
class second_party : public cell {
public:
  using accepts = signals<again>;
  explicit second_party(exchange_of_two* e) : events_(e) {}
  void on(again) {
    events_->first.set();
    events_->second.wait();
  }

private:
  exchange_of_two* events_;
};
class first_party : public cell {
public:
  using accepts = signals<again>;
  first_party(exchange_of_two* e, ref<second_party> other) : events_(e), other_(other) {}
  void on(again) {
    other_.send(again{});
    events_->first.wait();
    events_->second.set();
  }

private:
  exchange_of_two* events_;
  ref<second_party> other_;
};

/// Takes itself for the test.
class meddler : public cell {
public:
  using accepts = signals<again>;
  meddler(testing::world* w, std::string call) : world_(w), call_(std::move(call)) {
    if (call_ == "construct") world_->run();
  }
  void on(again) {
    if (call_ == "step") world_->step();
    if (call_ == "run") world_->run();
    if (call_ == "advance") world_->advance(1s);
    if (call_ == "run_until") static_cast<void>(world_->run_until([] { return true; }));
    if (call_ == "kill") world_->kill(self(this));
  }

private:
  testing::world* world_;
  std::string call_;
};

int misuse(const std::string& which) {
  if (which == "outlived") {
    std::unique_ptr<runtime> left;
    const testing::world w(1);
    left = std::make_unique<runtime>();
    return 0;
  }
  testing::world_options options;
  options.seed = 77;
  options.turns_max = 1000;
  testing::world w(options);
  if (which == "deadlock") detail::blocking_event().wait();
  if (which == "livelock") {
    w.runtime().spawn<restless>().send(again{});
    detail::blocking_event().wait();
  }
  if (which == "nested") {
    auto& events = w.keep<exchange_of_two>();
    auto second = w.runtime().spawn_at<second_party>(placement::on_worker(1), &events);
    w.runtime().spawn_at<first_party>(placement::on_worker(0), &events, second).send(again{});
    w.run();
  }
  if (which.rfind("inside ", 0) == 0) {
    w.runtime().spawn<meddler>(&w, which.substr(7)).send(again{});
    w.run();
  }
  if (which == "unverified") w.expect<again>();
  if (which == "second") const testing::world other(2);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "hash") == 0) return print_hash(std::strtoull(argv[2], nullptr, 10));
  if (argc >= 2 && std::strcmp(argv[1], "bug") == 0) return look_for_bug();
  if (argc == 3 && std::strcmp(argv[1], "misuse") == 0) return misuse(argv[2]);
  return 2;
}
