// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/karyon_driver.hpp"

/// One producer and one consumer, for all suites that measure the price of a signal by them.
namespace karyon::bench {

struct item {
  std::uint64_t value;
};
struct grant {};
class consumer;

struct feed_to {
  ref<consumer> sink;
};

class producer : public cell {
public:
  using accepts = signals<feed_to, grant>;
  producer(std::uint64_t items, std::uint64_t window) : left_(items), half_(window / 2) {}
  void on(feed_to to) {
    sink_ = to.sink;
    send_half();
    send_half();
  }
  void on(grant) { send_half(); }

private:
  void send_half();

  ref<consumer> sink_;
  std::uint64_t left_;
  std::uint64_t half_;
};

inline std::uint64_t consumed_sum = 0;

class consumer : public cell {
public:
  using accepts = signals<item>;
  consumer(ref<producer> feed, std::uint64_t items, std::uint64_t window)
      : feed_(feed), left_(items), half_(window / 2), until_(half_) {}

  void on(item one) {
    sum_ += one.value;
    if (--left_ == 0) {
      consumed_sum = sum_;
      all_arrived.arrive();
    } else if (--until_ == 0) {
      until_ = half_;
      feed_.send(grant{});
    }
  }

private:
  ref<producer> feed_;
  std::uint64_t left_;
  std::uint64_t half_;
  std::uint64_t until_;
  std::uint64_t sum_ = 0;
};

inline void producer::send_half() {
  for (auto i = half_; i > 0 && left_ > 0; --i) {
    sink_.send(item{left_--});
  }
}

/// Sends so many integers from a new producer to a new consumer, at most a window of them in flight, on one worker or, with
/// `apart`, on two; the nanoseconds until the last is summed.
inline std::int64_t feed_items(runtime& rt, std::uint64_t items, std::uint64_t window, bool apart) {
  all_arrived.arm(1);
  auto const feed = rt.spawn_at<producer>(placement::on_worker(0), items, window);
  auto const sink = rt.spawn_at<consumer>(placement::on_worker(apart && rt.workers() > 1 ? 1 : 0), feed, items, window);
  auto const begin = now_ns();
  feed.send(feed_to{sink});
  all_arrived.await();
  auto const elapsed = now_ns() - begin;
  verify(consumed_sum == items * (items + 1) / 2, "fan_in: items were lost");
  return elapsed;
}

}  // namespace karyon::bench
