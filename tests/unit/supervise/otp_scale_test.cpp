// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "unit/supervise/otp_testing.hpp"

// That starting and stopping is linear in the number of children is shown by counting what is done: turns of cells, signals,
// and allocations of memory with their bytes (a list that is copied for each child shows there). Never by time.

namespace {
std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> allocated_bytes{0};
thread_local constinit int fails_after = -1;  // so many allocations of this thread, one fails; -1: none
}  // namespace

// All of this binary, the library's included.
// Not inlined: g++ would see the free of what operator new gave, and warn.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(bytes, std::memory_order_relaxed);
  if (fails_after >= 0 && fails_after-- == 0) throw std::bad_alloc();
  if (void* p = std::malloc(bytes != 0 ? bytes : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return std::malloc(bytes != 0 ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct work {
  std::uint64_t turns = 0;
  std::uint64_t handled = 0;
  std::uint64_t allocations = 0;
  std::uint64_t bytes = 0;
};
work done(const runtime& rt) {
  const auto m = rt.metrics();
  return {m.turns, m.handled, allocations.load(), allocated_bytes.load()};
}
work operator-(const work& a, const work& b) {
  return {a.turns - b.turns, a.handled - b.handled, a.allocations - b.allocations, a.bytes - b.bytes};
}
constexpr std::size_t few = 3'000;
constexpr std::size_t many = 30'000;

/// Ten times the children may cost ten times the work, with room for what is per run, and for how deaths happen to be drained.
/// One step a child is linear as well, where the few happened to be done in fewer.
void linear(const char* what, const work& small, const work& large) {
  INFO(what << ": turns " << small.turns << " -> " << large.turns << ", signals " << small.handled << " -> "
            << large.handled << ", allocations " << small.allocations << " -> " << large.allocations << ", bytes "
            << small.bytes << " -> " << large.bytes);
  const auto limit = [](std::uint64_t cost, std::uint64_t step) {
    return 20 * std::max<std::uint64_t>(cost, few * step);
  };
  CHECK(large.turns <= limit(small.turns, 1));
  CHECK(large.handled <= limit(small.handled, 1));
  CHECK(large.allocations <= limit(small.allocations, 1));
  CHECK(large.bytes <= limit(small.bytes, 100));
}

struct hire {
  std::size_t n;
};
struct fire {
  std::size_t n;
};
/// Starts and ends children one by one, from within, so that no thread is woken for each.
class foreman : public cell {
public:
  using accepts = signals<hire, fire>;
  foreman(ordered_supervisor s, std::atomic<std::size_t>& well) : s_(std::move(s)), well_(&well) {}
  void on(hire h) {
    for (std::size_t i = 0; i < h.n; ++i) {
      s_.start_child(*this, child_spec::of<idler>(name(i)),
                     [this](const result<started_child>& r) { well_->fetch_add(r ? 1 : 0); });
    }
  }
  void on(fire f) {
    for (std::size_t i = 0; i < f.n; ++i) {
      s_.terminate_child(*this, name(i), [this](const result<void>& r) { well_->fetch_add(r ? 1 : 0); });
    }
  }

private:
  static std::string name(std::size_t i) { return "child " + std::to_string(i); }
  ordered_supervisor s_;
  std::atomic<std::size_t>* well_;
};

}  // namespace

TEST_CASE("tens of thousands of temporary children are started and terminated one by one at linear cost") {
  struct costs {
    work start, end;
  };
  const auto measure = [](std::size_t n) {
    runtime rt(quiet());
    auto s = rt.supervise(generous());
    std::vector<child<idler>> all;
    all.reserve(n);
    const work before = done(rt);
    for (std::size_t i = 0; i < n; ++i) all.push_back(s.start_with<idler>(kept(temporary)));
    CHECK(s.children() == n);
    const work between = done(rt);
    for (const auto& c : all) CHECK(s.terminate(c));
    CHECK(eventually([&] { return s.children() == 0; }));
    return costs{between - before, done(rt) - between};
  };
  const costs small = measure(few);
  const costs large = measure(many);
  linear("start", small.start, large.start);
  linear("end", small.end, large.end);
}

TEST_CASE("tens of thousands of children are started, killed, restarted and stopped together at linear cost") {
  struct costs {
    work start, restart, stop;
  };
  const auto measure = [](std::size_t n) {
    runtime rt(quiet());
    auto s = rt.supervise(generous());
    const work at0 = done(rt);
    const auto all = s.start_many<idler>(n);
    const work at1 = done(rt);
    s.exit_children(exit_reason::killed());
    CHECK(eventually([&] { return s.restarts() == n; }));
    for (const auto& c : all) {
      if (!c.get().alive()) REQUIRE(eventually([&] { return c.get().alive(); }));
    }
    CHECK(s.children() == n);
    const work at2 = done(rt);
    s.stop();
    CHECK(s.children() == 0);
    return costs{at1 - at0, at2 - at1, done(rt) - at2};
  };
  const costs small = measure(few);
  const costs large = measure(many);
  linear("start", small.start, large.start);
  linear("restart", small.restart, large.restart);
  linear("stop", small.stop, large.stop);
}

TEST_CASE(
    "tens of thousands of children of an ordered supervisor are started and terminated one by one at linear cost") {
  struct costs {
    work start, end, stop;
  };
  const auto measure = [](std::size_t n) {
    runtime rt(quiet(1));
    auto s = rt.start(tree_of(one_for_one, {})).value();
    std::atomic<std::size_t> well{0};
    const auto chief = rt.spawn<foreman>(s, std::ref(well));
    const work at0 = done(rt);
    chief.send(hire{n});
    CHECK(eventually([&] { return well == n; }));
    CHECK(s.count().active == n);
    const work at1 = done(rt);
    chief.send(fire{n / 2});
    CHECK(eventually([&] { return well == n + n / 2; }));
    CHECK(s.count().active == n - n / 2);
    const work at2 = done(rt);
    s.stop();
    CHECK(s.count().active == 0);
    return costs{at1 - at0, at2 - at1, done(rt) - at2};
  };
  const costs small = measure(few);
  const costs large = measure(many);
  linear("start", small.start, large.start);
  linear("end", small.end, large.end);
  linear("stop", small.stop, large.stop);
}

TEST_CASE("an ordered supervisor of tens of thousands starts them from its spec, and restarts all, at linear cost") {
  struct costs {
    work start, restart, stop;
  };
  const auto measure = [](std::size_t n) {
    runtime rt(quiet());
    std::vector<child_spec> specs;
    for (std::size_t i = 0; i < n; ++i) specs.push_back(child_spec::of<idler>("child " + std::to_string(i)));
    const auto spec = tree_of(one_for_all, std::move(specs));
    const work at0 = done(rt);
    auto s = rt.start(spec).value();
    const work at1 = done(rt);
    const auto last = s.find<idler>("child " + std::to_string(n - 1));
    const ref<idler> before = last.get();
    rt.exit(now(s, "child 0"), exit_reason::killed());
    CHECK(eventually([&] { return born_again(last, before); }));
    CHECK(eventually([&] { return s.count().active == n; }));
    const work at2 = done(rt);
    s.stop();
    return costs{at1 - at0, at2 - at1, done(rt) - at2};
  };
  const costs small = measure(few);
  const costs large = measure(many);
  linear("start", small.start, large.start);
  linear("restart", small.restart, large.restart);
  linear("stop", small.stop, large.stop);
}

TEST_CASE("many: a tree for which there is no memory is an error, whichever allocation fails, and leaves nothing") {
  runtime rt(quiet());
  auto s = rt.supervise();
  const supervisor_spec spec{.children = {child_spec::of<idler>("a")}};
  int failed = 0;
  while (true) {
    fails_after = failed;
    const auto got = s.start_tree(spec);
    fails_after = -1;
    if (got) break;
    INFO("allocation " << failed);
    REQUIRE(got.error().code() == errc::out_of_memory);
    REQUIRE(s.children() == 0);
    ++failed;
  }
  CHECK(failed > 5);
  CHECK(s.children() == 1);
  s.stop();
  CHECK(s.ended() == exit_reason::shutdown());
}
