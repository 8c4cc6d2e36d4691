// SPDX-License-Identifier: Apache-2.0
#include "sched/remote_queue.hpp"

#include <array>
#include <memory>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using karyon::detail::remote_queue;
using karyon::detail::task;

TEST_CASE("a remote queue is taken whole, the newest first") {
  remote_queue queue;
  CHECK_FALSE(queue.has_tasks());
  CHECK(queue.take_all() == nullptr);
  std::array<task, 3> tasks;
  for (task& t : tasks) queue.push(&t);
  CHECK(queue.has_tasks());
  task* taken = queue.take_all();
  CHECK(taken == &tasks[2]);
  CHECK(taken->next == &tasks[1]);
  CHECK(taken->next->next == &tasks[0]);
  CHECK(taken->next->next->next == nullptr);
  CHECK_FALSE(queue.has_tasks());
}

TEST_CASE("a chain is pushed as it is, before what is there") {
  remote_queue queue;
  std::array<task, 3> tasks;
  queue.push(&tasks[0]);
  tasks[1].next = &tasks[2];
  queue.push(&tasks[1], &tasks[2]);
  task* taken = queue.take_all();
  CHECK(taken == &tasks[1]);
  CHECK(taken->next == &tasks[2]);
  CHECK(taken->next->next == &tasks[0]);
  CHECK(taken->next->next->next == nullptr);
}

TEST_CASE("what several threads push arrives complete, once, and in each thread's order") {
  constexpr unsigned pushers = 3;
  constexpr unsigned each = 20'000;
  struct numbered : task {
    unsigned pusher = 0;
    unsigned number =
        0;  // written before the push, without an atomic: ThreadSanitizer sees whether the push carries it
  };
  remote_queue queue;
  const auto tasks = std::make_unique<std::array<std::array<numbered, each>, pushers>>();
  std::vector<std::thread> threads;
  for (unsigned p = 0; p < pushers; ++p) {
    threads.emplace_back([&queue, &mine = (*tasks)[p], p] {
      for (unsigned i = 0; i < each; ++i) {
        mine[i].pusher = p;
        mine[i].number = i;
        queue.push(&mine[i]);
      }
    });
  }
  std::array<unsigned, pushers> next{};
  unsigned taken = 0;
  bool in_order = true;
  while (taken < pushers * each) {
    task* newest = queue.take_all();
    task* oldest = nullptr;
    while (newest != nullptr) {
      task* following = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = following;
    }
    for (; oldest != nullptr; oldest = oldest->next, ++taken) {
      const auto& n = *static_cast<numbered*>(oldest);
      in_order = in_order && n.number == next[n.pusher];
      ++next[n.pusher];
    }
  }
  for (std::thread& t : threads) t.join();
  CHECK(in_order);
  CHECK_FALSE(queue.has_tasks());
}
