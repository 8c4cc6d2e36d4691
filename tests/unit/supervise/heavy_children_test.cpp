// SPDX-License-Identifier: Apache-2.0
// Children whose handlers run on the dirty pools, and fail there.
#include <functional>
#include <vector>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

struct lift {
  int weight;
};
struct try_to_stop {};

/// Breaks down under an even weight.
class carrier : public cell {
public:
  using accepts = signals<lift, get, try_to_stop>;
  using dirty_cpu = signals<lift>;
  using dirty_io = signals<try_to_stop>;
  explicit carrier(registry& r) : alive_(r.living) { r.born.fetch_add(1); }
  int on(lift l) {
    if (l.weight % 2 == 0) throw std::runtime_error("too heavy");
    return l.weight;
  }
  int on(get) { return 1; }
  std::string on(try_to_stop) { return to_string(host().start(supervisor_spec{}).error().code()); }

private:
  counted alive_;
};

/// Fails at its first signal.
class once : public cell {
public:
  using accepts = signals<number, get>;
  using dirty_cpu = signals<number>;
  once(std::atomic<int>& tries, std::atomic<int>& sum) : tries_(&tries), sum_(&sum) {}
  void on(number n) {
    if (tries_->fetch_add(1) == 0) throw std::runtime_error("not yet");
    sum_->fetch_add(n.value);
  }
  int on(get) { return sum_->load(); }

private:
  std::atomic<int>* tries_;
  std::atomic<int>* sum_;
};

}  // namespace

TEST_CASE("children that fail in heavy handlers are restarted, none is lost or doubled") {
  registry r;
  runtime rt(quiet());
  auto tissue = rt.supervise(generous());
  std::vector<child<carrier>> all;
  for (int i = 0; i < 8; ++i) all.push_back(tissue.start<carrier>(std::ref(r)));
  for (int round = 0; round < 50; ++round) {
    for (const auto& c : all) c.send(lift{round});
  }
  // Each fails as often as it was alive when an even weight came; in the end all stand again.
  for (const auto& c : all) {
    CHECK(eventually([&] { return rt.ask(c, lift{3}, long_time) == result<int>(3); }));
  }
  CHECK(eventually([&] { return r.living == 8; }));
  CHECK(tissue.children() == 8);
  CHECK(rt.metrics().restarts == static_cast<std::uint64_t>(r.born.load()) - 8);
  CHECK(rt.metrics().failures == rt.metrics().restarts);
  CHECK(rt.metrics().restarts >= 8);
  tissue.stop();
  CHECK(r.living == 0);
}

TEST_CASE(
    "the signal that a heavy handler dies of is kept for the next incarnation where the child keeps its mailbox") {
  std::atomic<int> tries{0};
  std::atomic<int> sum{0};
  runtime rt(quiet());
  auto tissue = rt.supervise(generous());
  const auto c = tissue.start_with<once>({.mailbox = mailbox_policy::kept}, std::ref(tries), std::ref(sum));
  c.send(number{1});
  c.send(number{10});
  CHECK(eventually([&] { return sum == 11; }));
  CHECK(tries == 3);
}

TEST_CASE("a heavy handler may no more wait for a supervisor than another one") {
  registry r;
  runtime rt(quiet());
  CHECK(rt.ask(rt.spawn<carrier>(r), try_to_stop{}, long_time).value() == "would_block");
}
