// SPDX-License-Identifier: Apache-2.0
#include "sched/thread_stack.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"

using karyon::detail::stack_of_thread;

namespace {

/// A thread that does one thing until it is told to stop.
class repeating_thread {
public:
  template <class F>
  explicit repeating_thread(F work) {
    thread_ = std::thread([this, work] {
      tid_ = gettid();
      tid_.notify_one();
      while (!stop_.load(std::memory_order_relaxed)) work();
    });
    tid_.wait(0);
  }
  ~repeating_thread() {
    stop_ = true;
    thread_.join();
  }
  [[nodiscard]] int tid() const { return tid_; }

private:
  std::atomic<int> tid_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void throw_from(int depth) {
  if (depth == 0) throw std::runtime_error("as told");
  const std::string to_destroy(40, 'x');
  throw_from(depth - 1);
  REQUIRE(to_destroy.empty());  // never comes here, and so is no tail call
}

}  // namespace

TEST_CASE("a thread that computes tells its stack") {
  repeating_thread busy([] {});
  std::string stack;
  while (stack.empty()) stack = stack_of_thread(busy.tid());  // it may not get a core within 5 ms
  CHECK(stack.find("[0x") != std::string::npos);
}

TEST_CASE("a thread that throws and catches is asked for its stack at any moment, and survives it") {
  std::atomic<std::uint64_t> caught{0};
  repeating_thread thrower([&caught] {
    try {
      throw_from(1);
    } catch (const std::runtime_error&) {
      try {
        throw;
      } catch (const std::exception&) {
        caught.fetch_add(1, std::memory_order_relaxed);
      }
    }
  });
  for (int i = 0; i < 20'000; ++i) static_cast<void>(stack_of_thread(thrower.tid()));
  const std::uint64_t before = caught;
  while (caught == before) std::this_thread::yield();
  SUCCEED("it goes on");
}
