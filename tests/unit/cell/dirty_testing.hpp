// SPDX-License-Identifier: Apache-2.0
#pragma once

// Handlers that run on the dirty pools. A test sees where by the thread's name, which a user sees in top as well.
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>

#include <karyon/cell/broadcast.hpp>

#include "cell/runtime_core.hpp"
#include "support/log_capture.hpp"
#include "support/temporary_tree.hpp"
#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

inline std::string thread_name() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}
inline bool is_worker(const std::string& thread) { return thread.starts_with("karyon.w"); }
inline bool is_cpu(const std::string& thread) { return thread.starts_with("karyon.c"); }
inline bool is_io(const std::string& thread) { return thread.starts_with("karyon.io"); }

struct crunch {};   // heavy: computes
struct fetch {};    // heavy: blocks
struct hold {};     // heavy: waits at the door
struct units {};    // heavy: how many units its thread may run on
struct fail_in {};  // heavy
struct exit_in {};  // heavy
struct hoard {};    // heavy: beyond its quota

class clerk : public cell {
public:
  using accepts = signals<crunch, fetch, hold, units, fail_in, exit_in, hoard, get, number>;
  using dirty_cpu = signals<crunch, hold, units, fail_in, exit_in, hoard>;
  using dirty_io = signals<fetch>;

  clerk() = default;
  clerk(const door& d, diary& said) : door_(&d), diary_(&said) {}
  std::string on(crunch) { return thread_name(); }
  std::string on(fetch) { return thread_name(); }
  std::string on(get) { return thread_name(); }
  int on(units) {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
  }
  void on(hold) {
    if (diary_ != nullptr) diary_->write("in");
    door_->pass();
    if (diary_ != nullptr) diary_->write("out");
  }
  void on(fail_in) { throw std::runtime_error("too heavy"); }
  void on(exit_in) { exit(exit_reason::error("why", "not")); }
  void on(hoard) {
    memory_quota(1000);
    static_cast<void>(memory()->allocate(2000));
  }
  void on(number n) { diary_->write(std::to_string(n.value)); }

private:
  const door* door_ = nullptr;
  diary* diary_ = nullptr;
};

class bystander : public cell {
public:
  using accepts = signals<get>;
  int on(get) { return 7; }
};

class waits_or_spins : public cell {
public:
  using accepts = signals<number>;
  using dirty_io = signals<number>;
  explicit waits_or_spins(const door& at) : door_(&at) {}
  void on(number n) {
    if (n.value % 2 == 0) return door_->pass();
    while (!door_->is_open()) std::this_thread::yield();
  }

private:
  const door* door_;
};

class narrow : public cell {
public:
  using accepts = signals<hold, ping>;
  using dirty_io = signals<hold>;
  static constexpr std::size_t mailbox_limit = 2;
  narrow(const door& at, diary& said) : door_(&at), diary_(&said) {}
  void on(hold) {
    diary_->write("in");
    door_->pass();
  }
  void on(ping) { diary_->write("ping"); }

private:
  const door* door_;
  diary* diary_;
};

inline runtime_options one_cpu_thread() {
  runtime_options options = quiet(1);
  options.scheduler.dirty.cpu_threads = 1;
  return options;
}

inline std::uint64_t handled_on_pools(const runtime& rt) {
  const runtime_metrics m = rt.metrics();
  return m.dirty_cpu.run + m.dirty_io.run;
}

}  // namespace karyon::tests
