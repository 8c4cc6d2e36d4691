// SPDX-License-Identifier: Apache-2.0
// A supervisor of many children whose worker gets no memory. A binary of its own, since it replaces the program's operator new.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>

#include "unit/supervise/ordered_testing.hpp"

namespace {

// On threads that are short of it, allocations number fail_from to fail_to - 1 fail.
thread_local constinit bool is_short = false;
constinit std::atomic<long> allocation{0};
constinit std::atomic<long> fail_from{0};
constinit std::atomic<long> fail_to{0};
constinit std::atomic<long> failed{0};

}  // namespace

// Not inlined: where the compiler sees a malloc here and a free there, it takes them for a mistake.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (is_short) {
    const long n = allocation.fetch_add(1);
    if (n >= fail_from && n < fail_to) {
      failed.fetch_add(1);
      throw std::bad_alloc();
    }
  }
  void* p = std::malloc(bytes != 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { operator delete(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { operator delete(p); }

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

constexpr long for_ever = std::numeric_limits<long>::max();

/// From now on the allocations first to last - 1 of the threads that are short of memory fail.
class shortage {
public:
  shortage(long first, long last) {
    failed = 0;
    allocation = 0;
    fail_from = first;
    fail_to = last;
  }
  shortage(const shortage&) = delete;
  shortage& operator=(const shortage&) = delete;
  ~shortage() { end(); }
  void end() noexcept { fail_to = 0; }
};

struct become_short {};

/// Makes its worker short of memory.
class thief : public cell {
public:
  using accepts = signals<become_short>;
  bool on(become_short) { return is_short = true; }
};

/// Two workers, the first of which is short of memory, once a shortage begins.
struct stage {
  stage() {
    const auto c = rt.spawn_at<thief>(placement::on_worker(0));
    REQUIRE(rt.ask(c, become_short{}, long_time).has_value());
    rt.exit(c, exit_reason::killed());
    REQUIRE(eventually([&] { return rt.metrics().cells == 0; }));
  }
  registry r;
  runtime rt{quiet()};
};

supervisor_options on_first_worker(const restart_backoff& backoff) {
  supervisor_options o = generous();
  o.where = placement::on_worker(0);
  o.backoff = backoff;
  return o;
}

/// Everything that a shard's turn does: children join one by one and in bulk, fail, fail to restart, wait, are told to end and
/// heed it or not; trees start, give up, are restarted and end. What has no memory may fail, but must end.
void live(stage& st, const restart_backoff& backoff) {
  st.r.refuse_births = 0;
  auto s = st.rt.supervise(on_first_worker(backoff));
  std::vector<child<ward>> children;
  for (int i = 0; i < 40; ++i) children.push_back(s.start<ward>(std::ref(st.r), i));
  for (int i = 0; i < 3; ++i) s.start_with<stubborn>(within(std::chrono::milliseconds(i)), std::ref(st.r));
  try {
    s.start_many<ward>(40, std::ref(st.r), 1);
  } catch (const std::bad_alloc&) {
  }
  auto tree = s.start_tree({.intensity = {0, 24h}, .children = {wards(st.r, "w")}, .where = placement::on_worker(1)},
                           within(1ms));
  st.r.refuse_births = 5;
  for (const auto& c : children) c.send(fail_hard{});
  if (tree) tree->find<ward>("w").send(fail_hard{});
  s.terminate(children.front());
  s.exit_children(exit_reason::error("all", "of you"));
  static_cast<void>(eventually([&] { return st.r.refuse_births <= 0 || failed != 0; }));
  s.stop();
}

}  // namespace

TEST_CASE("one allocation that fails in a shard, whichever it is, costs no child its end and nobody the process") {
  stage st;
  for (const long burst : {1L, 30L}) {
    for (const restart_backoff& backoff : {restart_backoff{}, restart_backoff{.minimum = 1ms, .maximum = 2ms}}) {
      long first = 0;
      for (bool reached = true; reached; first += 1 + first / 16) {
        shortage now(first, first + burst);
        live(st, backoff);
        reached = failed != 0;
        now.end();
        INFO("allocation " << first << ", burst " << burst);
        REQUIRE(st.r.living == 0);
        REQUIRE(eventually([&] { return st.rt.metrics().cells == 0; }));
      }
      CHECK(first > 20);
    }
  }
}

TEST_CASE("children that join while their shard has no memory work at once, and are looked after when it has") {
  stage st;
  auto s = st.rt.supervise(on_first_worker({}));
  s.start<ward>(std::ref(st.r), 0);
  std::vector<child<ward>> children;
  {
    const shortage now(0, for_ever);
    for (int i = 0; i < 100; ++i) children.push_back(s.start<ward>(std::ref(st.r), i));
    for (int i = 0; i < 100; ++i) {
      REQUIRE(st.rt.ask(children[static_cast<std::size_t>(i)], get{}, long_time).value() == i);
    }
    REQUIRE(eventually([] { return failed != 0; }));
    children.front().send(die{exit_reason::shutdown()});
  }
  REQUIRE(eventually([&] { return s.restarts() == 1; }));
  CHECK(s.children() == 101);
  s.stop();
  CHECK(st.r.living == 0);
}

TEST_CASE("a supervisor that is to stop while its shard has no memory stops when it has, and kills at the deadline") {
  stage st;
  auto s = st.rt.supervise(on_first_worker({}));
  const auto c = s.start_with<stubborn>(within(1ms), std::ref(st.r));
  REQUIRE(st.rt.ask(c, ping{}, long_time).has_value());
  {
    const shortage now(0, for_ever);
    s.exit(exit_reason::shutdown());
    REQUIRE(eventually([] { return failed != 0; }));
    CHECK_FALSE(s.ended().has_value());
  }
  REQUIRE(s.wait_ended(long_time));
  CHECK(st.r.living == 0);
}

TEST_CASE("a child whose restart fails for want of memory is tried again until there is some") {
  stage st;
  auto s = st.rt.supervise({.intensity = {4'000'000'000U, 24h}, .where = placement::on_worker(0)});
  const auto c = s.start_each<ward>(1, [&](std::size_t) {
                    const std::string words(100, 'x');  // allocates
                    return std::tuple<registry&, int>(st.r, static_cast<int>(words.size()));
                  }).front();
  // A first one, for which the budget takes the memory that it remembers thousands in.
  const auto before = c.get();
  st.rt.exit(before, exit_reason::killed());
  REQUIRE(eventually([&] { return born_again(c, before); }));
  {
    const shortage now(0, 30);
    st.rt.exit(c.get(), exit_reason::killed());
    REQUIRE(eventually([] { return failed == 30; }));
  }
  CHECK(eventually([&] { return st.rt.ask(c, get{}, long_time) == 100; }));
  CHECK(s.restarts() >= 3);
  CHECK_FALSE(s.ended().has_value());
}
