// SPDX-License-Identifier: Apache-2.0
// Bad input of the scheduler: threads, cores and nodes that can not be had. A binary of its own, since it replaces
// pthread_create, sched_setaffinity and sched_getaffinity.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <karyon/supervise/supervisor.hpp>

#include "support/log_capture.hpp"
#include "unit/cell/placement_testing.hpp"

namespace {

constexpr int no_limit = -1;
std::atomic<int> threads_left{no_limit};

struct body {
  void* (*run)(void*);
  void* argument;
};
void* run_in_place(void* b) {
  const body mine = *static_cast<body*>(b);
  delete static_cast<body*>(b);
  void* const result = mine.run(mine.argument);
  int left = threads_left.load();
  while (left != no_limit && !threads_left.compare_exchange_weak(left, left + 1)) {
  }
  return result;
}

}  // namespace

// Visible, so that the libraries' calls find it.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*run)(void*), void* argument) {
  using function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "pthread_create"));
  int left = threads_left.load();
  while (left > 0 && !threads_left.compare_exchange_weak(left, left - 1)) {
  }
  if (left == 0) return EAGAIN;
  if (left < 0) return real(thread, attributes, run, argument);
  // Its place is free again when it ends.
  return real(thread, attributes, &run_in_place, new body{run, argument});
}

namespace {

// A unit that was taken out of the set of processors of this process, as a container's is at run time.
constexpr int no_unit = -1;
std::atomic<int> unit_gone{no_unit};

template <class Function>
Function* system_function(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
using set_function = int(pid_t, std::size_t, const cpu_set_t*);
using get_function = int(pid_t, std::size_t, cpu_set_t*);

void without_gone(std::size_t bytes, cpu_set_t* set) {
  if (const int gone = unit_gone.load(); gone != no_unit) CPU_CLR_S(static_cast<std::size_t>(gone), bytes, set);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int sched_setaffinity(pid_t thread, std::size_t bytes,
                                                                        const cpu_set_t* set) noexcept {
  static set_function* const real = system_function<set_function>("sched_setaffinity");
  cpu_set_t left;
  CPU_ZERO(&left);
  std::memcpy(&left, set, std::min(bytes, sizeof left));
  without_gone(sizeof left, &left);
  if (CPU_COUNT(&left) == 0) {
    errno = EINVAL;
    return -1;
  }
  return real(thread, sizeof left, &left);
}

extern "C" __attribute__((visibility("default"))) int sched_getaffinity(pid_t thread, std::size_t bytes,
                                                                        cpu_set_t* set) noexcept {
  static get_function* const real = system_function<get_function>("sched_getaffinity");
  const int result = real(thread, bytes, set);
  if (result >= 0) without_gone(bytes, set);
  return result;
}

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

class echo : public cell {
public:
  using accepts = signals<number, quit>;
  int on(number n) { return n.value; }
  void on(quit) { throw std::runtime_error("as told"); }
};

/// What a runtime must be able to do, however few workers it has got.
bool works(runtime& rt) {
  auto s = rt.supervise();
  std::vector<child<echo>> children;
  for (int i = 0; i < 20; ++i) children.push_back(s.start<echo>());
  children.front().send(quit{});
  bool all = eventually([&] { return rt.ask(children.front(), number{7}, long_time).value_or(0) == 7; });
  std::vector<ref<echo>> cells;
  for (std::uint32_t w = 0; w < rt.workers(); ++w) cells.push_back(rt.spawn_at<echo>(placement::on_worker(w)));
  for (std::uint32_t n = 0; n < rt.nodes(); ++n) cells.push_back(rt.spawn_at<echo>(placement::on_node(n)));
  for (const auto& answer : ask_each(rt, cells, number{8})) all = all && answer.value_or(0) == 8;
  for (const auto& answer : ask_each(rt, children, number{9})) all = all && answer.value_or(0) == 9;
  return all && rt.shutdown(long_time).complete;
}

/// A runtime of `wanted` workers on a machine of two nodes, when the system has only so many threads: how many workers it
/// has, 0 for none.
unsigned workers_with(int threads, std::uint32_t wanted, std::vector<std::string>* said) {
  const topology machine = topology::from_synthetic("pack:1 numa:2 l3:1 core:2 pu:1").value();
  runtime_options options = quiet(wanted);
  options.machine = &machine;
  log_capture log;
  unsigned n = 0;
  threads_left = threads;
  try {
    runtime rt(options);
    threads_left = no_limit;
    n = rt.workers();
    CHECK(rt.plan().workers.size() == n);
    CHECK(rt.active_workers() == n);
    CHECK(works(rt));
  } catch (const runtime_error& e) {
    threads_left = no_limit;
    CHECK(e.why().code() == errc::refused);
    CHECK(std::string(e.what()).find("threads") != std::string::npos);
  }
  if (said != nullptr) *said = log.with("makes do with");
  return n;
}

}  // namespace

TEST_CASE("a runtime that gets fewer threads than it has workers makes do with them, and says so once") {
  unsigned before = 0;
  bool partly = false;
  for (int threads = 0; before < 4; ++threads) {
    REQUIRE(threads < 40);
    std::vector<std::string> said;
    const unsigned n = workers_with(threads, 4, &said);
    INFO(threads << " threads, " << n << " workers");
    CHECK(n >= before);
    CHECK(said.size() == (n > 0 && n < 4 ? 1 : 0));
    if (!said.empty()) CHECK(said.front().find(std::to_string(n) + " of 4 workers") != std::string::npos);
    partly = partly || (n > 0 && n < 4);
    before = n;
  }
  CHECK(partly);
}

namespace {

struct fetch {};

class fetcher : public cell {
public:
  using accepts = signals<fetch>;
  using dirty_io = signals<fetch>;
  int on(fetch) { return 3; }
};

}  // namespace

TEST_CASE("heavy handlers run on a pool whose node has no worker left") {
  // The first worker is on the second node: the first node's is the one that there is no thread for.
  std::vector<processing_unit> units(2);
  for (std::uint32_t i = 0; i < 2; ++i) {
    units[i].os_index = i;
    units[i].core = i;
    units[i].node = 1 - i;
  }
  std::vector<numa_node> nodes(2);
  for (std::uint32_t i = 0; i < 2; ++i) nodes[i] = {.os_index = i, .memory_bytes = 1};
  const topology machine = topology::from_units(units, nodes).value();
  runtime_options options = quiet(0);
  options.machine = &machine;
  const log_capture log;
  bool checked = false;
  for (int threads = 0; !checked && threads < 40; ++threads) {
    threads_left = threads;
    try {
      runtime rt(options);
      threads_left = no_limit;
      REQUIRE(rt.workers() == 1);
      REQUIRE(rt.plan().nodes.front().workers.empty());
      CHECK(rt.ask(rt.spawn<fetcher>(), fetch{}, long_time).value() == 3);
      CHECK(eventually([&] { return rt.metrics().dirty_io.switch_ns > 0; }));
      checked = true;
    } catch (const runtime_error&) {
      threads_left = no_limit;  // fewer than any runtime needs
    }
  }
  CHECK(checked);
}

namespace {

/// In a child process that is nobody, and may have so many processes more than nobody has: 0 if its runtime works or says that
/// it can not.
int with_process_limit(rlim_t most) {
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr unsigned nobody = 65534;
    const rlimit limit{most, most};
    if (::setgid(nobody) != 0 || ::setuid(nobody) != 0 || ::setrlimit(RLIMIT_NPROC, &limit) != 0) ::_exit(3);
    try {
      runtime_options options = quiet(6);
      runtime rt(options);
      const auto n = rt.workers();
      ::_exit(!works(rt) ? 1 : n < 6 ? 10 : 11);
    } catch (const runtime_error&) {
      ::_exit(12);
    } catch (...) {
      ::_exit(2);
    }
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("a real limit of processes leaves fewer workers, or a sentence, and never a crash") {
  if (::geteuid() != 0) return;  // only root can become somebody whose processes are few
  bool fewer = false;
  bool none = false;
  for (rlim_t most = 1; most <= 40; ++most) {
    const int status = with_process_limit(most);
    INFO("a limit of " << most << ": exit status " << status);
    CHECK((status == 10 || status == 11 || status == 12));
    fewer = fewer || status == 10;
    none = none || status == 12;
    if (status == 11 || status < 10) break;
  }
  CHECK(none);
  CHECK(fewer);
}

TEST_CASE("more workers than make sense are taken for a mistake: one a core, and one line in the log") {
  runtime_options options = quiet(workers_max + 1);
  log_capture log;
  runtime rt(options);
  CHECK(rt.workers() == make_binding_plan(topology::detect().value()).value().workers.size());
  CHECK(log.with("workers are asked for").size() == 1);
  CHECK(works(rt));
}

TEST_CASE("nodes that the machine does not have are left aside, with one line in the log") {
  for (const bool one_exists : {false, true}) {
    const topology machine = topology::from_synthetic("pack:1 numa:2 l3:1 core:1 pu:1").value();
    runtime_options options = quiet(0);
    options.machine = &machine;
    options.scheduler.binding.nodes = {99};
    if (one_exists) options.scheduler.binding.nodes.push_back(1);
    log_capture log;
    runtime rt(options);
    CHECK(rt.nodes() == 2);
    CHECK(log.with("no NUMA node 99").size() == 1);
    CHECK(works(rt));
  }
}

TEST_CASE("workers whose units do not exist run unbound, with one line in the log") {
  std::vector<processing_unit> units(3);
  for (std::uint32_t i = 0; i < 3; ++i) {
    units[i].os_index = 3000 + i;
    units[i].core = i;
  }
  const topology machine = topology::from_units(units, {}).value();
  runtime_options options = quiet(0);
  options.machine = &machine;
  log_capture log;
  {
    runtime rt(options);
    CHECK(rt.workers() == 3);
    CHECK(works(rt));
  }
  CHECK(log.with("unbound").size() == 1);
}

// ---- units that are taken away at run time ---------------------------------------------------------------------------

namespace {

/// The kernel's number of this process's thread of that name; 0 if there is none.
pid_t thread_named(const std::string& name) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string comm;
    std::getline(std::ifstream(entry.path() / "comm"), comm);
    if (comm == name) return static_cast<pid_t>(std::stol(entry.path().filename().string()));
  }
  return 0;
}

cpu_set_t only(std::uint32_t unit) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(unit, &set);
  return set;
}

}  // namespace

TEST_CASE("a worker whose unit is taken away goes on with what is left, counted, and said once") {
  if (topology::detect().value().allowed_cores() < 2 || std::getenv("HWLOC_SYNTHETIC") != nullptr) return;
  runtime_options options = quiet(2);
  options.scheduler.watch.enabled = false;  // so that each worker has one thread, whose name says which
  log_capture log;
  runtime rt(options);
  if (!log.with("unbound").empty()) return;  // a sandbox that lets nobody bind
  const auto c = rt.spawn_at<echo>(placement::on_worker(1));
  REQUIRE(rt.ask(c, number{1}, long_time).value() == 1);
  REQUIRE(eventually([] { return thread_named("karyon.w0") != 0 && thread_named("karyon.w1") != 0; }));
  const std::uint32_t unit = rt.plan().workers[0].unit_os_index.value();
  const std::uint32_t taken = rt.plan().workers[1].unit_os_index.value();
  REQUIRE(unit != taken);

  const cpu_set_t left = only(unit);
  REQUIRE(::sched_setaffinity(thread_named("karyon.w1"), sizeof left, &left) == 0);
  CHECK(eventually([&] {
    REQUIRE(rt.ask(c, number{2}, long_time).value() == 2);
    return rt.metrics().rebound == 1;
  }));
  REQUIRE(eventually([&] { return log.with("may no longer run on processing unit").size() == 1; }));
  CHECK(log.lines().size() == 1);

  // All of them at once, as when a container's set changes: back to where they belong, which is nothing to report.
  cpu_set_t both = only(unit);
  CPU_SET(taken, &both);
  REQUIRE(::sched_setaffinity(thread_named("karyon.w0"), sizeof both, &both) == 0);
  REQUIRE(::sched_setaffinity(thread_named("karyon.w1"), sizeof both, &both) == 0);
  CHECK(eventually([&] {
    REQUIRE(rt.ask(c, number{3}, long_time).value() == 3);
    cpu_set_t now;
    return rt.metrics().rebound == 2 && ::sched_getaffinity(thread_named("karyon.w1"), sizeof now, &now) == 0 &&
           CPU_COUNT(&now) == 1 && CPU_ISSET(taken, &now);
  }));
  CHECK(log.lines().size() == 1);
  CHECK(works(rt));
}

namespace {

class holder : public cell {
public:
  using accepts = signals<ping>;
  explicit holder(const door& d) : door_(&d) {}
  void on(ping) {
    while (!door_->is_open()) {
    }
  }

private:
  const door* door_;
};

}  // namespace

TEST_CASE("a thread that takes over a worker whose unit is gone goes to what is left, and that is said once") {
  if (topology::detect().value().allowed_cores() < 2 || std::getenv("HWLOC_SYNTHETIC") != nullptr) return;
  runtime_options options = quiet(2);
  options.scheduler.watch.stacks = false;
  log_capture log;
  door open;
  {
    runtime rt(options);
    const auto beside = rt.spawn_at<echo>(placement::on_worker(1));
    REQUIRE(rt.ask(beside, number{4}, long_time).value() == 4);  // its first thread has bound itself by now
    if (!log.with("unbound").empty()) return;                    // a sandbox that lets nobody bind
    unit_gone = static_cast<int>(rt.plan().workers[1].unit_os_index.value());
    rt.spawn_at<holder>(placement::on_worker(1), open).send(ping{});
    REQUIRE(eventually([&] { return rt.metrics().workers_away >= 1; }));
    CHECK(rt.ask(beside, number{5}, long_time).value() == 5);
    CHECK(eventually([&] {
      REQUIRE(rt.ask(beside, number{6}, long_time).value() == 6);
      return rt.metrics().rebound >= 1;
    }));
    open.open();
    CHECK(works(rt));
  }
  unit_gone = no_unit;
  CHECK(log.with("may no longer run on processing unit").size() == 1);
  CHECK(log.with("unbound").empty());
}

TEST_CASE(
    "a worker whose handler does not return waits while the system has no thread to take it over, and no longer") {
  runtime_options options = quiet(1);
  options.scheduler.watch.stacks = false;
  log_capture log;
  door open;
  runtime rt(options);
  const auto beside = rt.spawn<echo>();
  REQUIRE(rt.ask(beside, number{1}, long_time).value() == 1);
  threads_left = 0;
  rt.spawn<holder>(open).send(ping{});
  CHECK(eventually([&] { return !log.with("no thread is left to take one over").empty(); }));
  auto answer = rt.ask_async(beside, number{2});
  CHECK_FALSE(answer.ready());
  CHECK(rt.metrics().take_overs == 0);
  threads_left = no_limit;
  CHECK(answer.get(long_time).value() == 2);
  CHECK(eventually([&] { return rt.metrics().take_overs == 1; }));
  open.open();
  CHECK(works(rt));
  CHECK(log.with("no thread is left to take one over").size() == 1);
}

TEST_CASE("no number of workers is one a core, and one is enough") {
  const auto cores = make_binding_plan(topology::detect().value()).value().workers.size();
  for (const std::uint32_t n : {0u, 1u}) {
    const runtime_options options = quiet(n);
    log_capture log;
    runtime rt(options);
    CHECK(rt.workers() == (n == 0 ? cores : 1));
    CHECK(log.lines().empty());
    CHECK(works(rt));
  }
}
