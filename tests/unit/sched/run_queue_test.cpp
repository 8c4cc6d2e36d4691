// SPDX-License-Identifier: Apache-2.0
#include "sched/run_queue.hpp"

#include <array>

#include "support/catch.hpp"

using karyon::detail::run_queue;
using karyon::detail::task;

TEST_CASE("a run queue gives tasks back in the order they came") {
  run_queue queue;
  std::array<task, 3> tasks;
  for (task& t : tasks) queue.push(&t);
  CHECK(queue.size() == 3);
  for (task& t : tasks) CHECK(queue.pop() == &t);
  CHECK(queue.pop() == nullptr);
  CHECK(queue.empty());
}

TEST_CASE("a run queue that was emptied starts anew") {
  run_queue queue;
  task first;
  task second;
  queue.push(&first);
  CHECK(queue.pop() == &first);
  queue.push(&second);
  queue.push(&first);
  CHECK(queue.size() == 2);
  CHECK(queue.pop() == &second);
  CHECK(queue.pop() == &first);
  CHECK(queue.size() == 0);
}

TEST_CASE("a task that runs may be queued again behind those that wait") {
  run_queue queue;
  task self;
  task other;
  queue.push(&self);
  queue.push(&other);
  queue.push(queue.pop());
  CHECK(queue.pop() == &other);
  CHECK(queue.pop() == &self);
  CHECK(queue.empty());
}
