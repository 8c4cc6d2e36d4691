// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

/// Whether what several threads saw of a table could have been seen of one that does one thing after the other (Herlihy and Wing,
/// "Linearizability", 1990; the search is Wing and Gong's, 1993, with the states that were reached remembered as Lowe, "Testing for
/// linearizability", 2017, has them).
///
/// One event is before another if its thread knew so: by release stores and acquire loads of how many events each thread has
/// behind it. A clock that all threads count up would order more, but is a full barrier between any two events: what a table's
/// own barriers are there for would never show.
namespace karyon::tests {

inline constexpr int history_keys = 4;
inline constexpr std::size_t history_threads = 4;  // at most

/// The whole of a small table.
using small_map = std::array<std::optional<int>, history_keys>;

enum class act : std::uint8_t {
  insert,
  insert_new,
  erase,
  take,
  lookup,
  add,
  compare_and_set,
  update,
  range,
  next,
  prev
};

struct event {
  act what;
  int key = 0;
  int value = 0;      // to put in, to add, expected, what an update multiplies by
  int other = 0;      // desired
  bool said = false;  // what was answered
  std::optional<int> got;
  std::vector<std::pair<int, int>> seen;
  std::size_t thread = 0;
  std::uint32_t number = 0;  // of those of its thread
  std::array<std::uint32_t, history_threads>
      behind{};  // how many events of each thread were over when this one was called
};

/// Does the event to the map; whether it answers as was answered.
inline bool agrees(const event& e, small_map& m) {
  auto& at = m[static_cast<std::size_t>(e.key)];
  const std::optional<int> before = at;
  switch (e.what) {
    case act::insert: at = e.value; return e.said == !before;
    case act::insert_new:
      if (!before) at = e.value;
      return e.said == !before;
    case act::erase: at.reset(); return e.said == before.has_value();
    case act::take: at.reset(); return e.got == before;
    case act::lookup: return e.got == before;
    case act::add: at = before.value_or(0) + e.value; return e.got == at;
    case act::compare_and_set:
      if (before == e.value) at = e.other;
      return e.said == (before == e.value);
    case act::update:
      if (before) at = *before * 3 + e.value;
      return e.said == before.has_value();
    case act::range: {
      std::vector<std::pair<int, int>> all;
      for (int k = 0; k < history_keys; ++k) {
        if (m[static_cast<std::size_t>(k)]) all.emplace_back(k, *m[static_cast<std::size_t>(k)]);
      }
      return e.seen == all;
    }
    case act::next:
      for (int k = e.key + 1; k < history_keys; ++k) {
        if (m[static_cast<std::size_t>(k)]) return e.got == k;
      }
      return !e.got;
    case act::prev:
      for (int k = e.key - 1; k >= 0; --k) {
        if (m[static_cast<std::size_t>(k)]) return e.got == k;
      }
      return !e.got;
  }
  return false;
}

/// At most 64 events.
class linearizability {
public:
  explicit linearizability(const std::vector<event>& events) : events_(events) {}
  [[nodiscard]] bool holds(const small_map& begin) { return search(0, begin); }

private:
  bool search(std::uint64_t done, const small_map& m) {
    if (done == (events_.size() == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << events_.size()) - 1)) return true;
    if (!tried_.insert({done, m}).second) return false;
    // Next can be whatever was not called behind one of those that are left.
    std::array<std::uint32_t, history_threads> first_left;
    first_left.fill(~std::uint32_t{0});
    for (std::size_t i = 0; i < events_.size(); ++i) {
      std::uint32_t& first = first_left[events_[i].thread];
      if ((done >> i & 1U) == 0) first = std::min(first, events_[i].number);
    }
    for (std::size_t i = 0; i < events_.size(); ++i) {
      if ((done >> i & 1U) != 0 || !may_be_next(events_[i], first_left)) continue;
      small_map then = m;
      if (agrees(events_[i], then) && search(done | std::uint64_t{1} << i, then)) return true;
    }
    return false;
  }

  static bool may_be_next(const event& e, const std::array<std::uint32_t, history_threads>& first_left) {
    if (e.number != first_left[e.thread]) return false;
    for (std::size_t t = 0; t < history_threads; ++t) {
      if (first_left[t] < e.behind[t]) return false;
    }
    return true;
  }

  const std::vector<event>& events_;
  std::set<std::pair<std::uint64_t, small_map>> tried_;
};

/// Does one event to a table, key by `spread` apart, and notes the answer.
template <class Table>
void perform(Table& t, event& e, int spread) {
  const int k = e.key * spread;
  switch (e.what) {
    case act::insert: e.said = t.insert(k, e.value).value(); break;
    case act::insert_new: e.said = t.insert_new(k, e.value).value(); break;
    case act::erase: e.said = t.erase(k).value(); break;
    case act::take: e.got = t.take(k).value(); break;
    case act::lookup: e.got = t.lookup(k); break;
    case act::add: e.got = t.update_counter(k, e.value).value(); break;
    case act::compare_and_set: e.said = t.compare_and_set(k, e.value, e.other).value(); break;
    case act::update: e.said = t.update(k, [&](int v) { return v * 3 + e.value; }).value(); break;
    case act::range:
      e.seen.clear();
      for (const auto& [key, value] : t.range(0, history_keys * spread)) {
        if (key % spread == 0) e.seen.emplace_back(key / spread, value);
      }
      break;
    case act::next: {
      const auto n = t.next(k + spread - 1);
      e.got = n ? std::optional<int>(n->key / spread) : std::nullopt;
      break;
    }
    case act::prev: {
      const auto p = t.prev(k);
      e.got = p ? std::optional<int>(p->key / spread) : std::nullopt;
      break;
    }
  }
}

/// Lets each thread do its events at the same time as the others; which of the others' were over when each began is noted.
template <class Table>
std::vector<event> record(Table& t, std::vector<std::vector<event>> of_threads, int spread = 1) {
  std::array<std::atomic<std::uint32_t>, history_threads> over{};
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (std::size_t me = 0; me < of_threads.size(); ++me) {
    threads.emplace_back([&, me] {
      auto& events = of_threads[me];
      ready.fetch_add(1);
      while (ready.load() < static_cast<int>(of_threads.size())) std::this_thread::yield();
      std::uint32_t number = 0;
      for (event& e : events) {
        e.thread = me;
        e.number = number++;
        for (std::size_t o = 0; o < history_threads; ++o) e.behind[o] = over[o].load(std::memory_order_acquire);
        perform(t, e, spread);
        over[me].store(number, std::memory_order_release);  // with the acquire above
      }
    });
  }
  for (std::thread& each : threads) each.join();
  std::vector<event> all;
  for (auto& events : of_threads) all.insert(all.end(), events.begin(), events.end());
  return all;
}

}  // namespace karyon::tests
