// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

/// Whether what several threads saw of a table could have been seen of one that does one thing after the other, each at some
/// moment between its call and its return (Herlihy and Wing, "Linearizability", 1990; the search is Wing and Gong's, 1993, with the
/// states that were reached remembered as Lowe, "Testing for linearizability", 2017, has them).
namespace karyon::tests {

inline constexpr int history_keys = 4;

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
  std::uint64_t called = 0;
  std::uint64_t returned = 0;
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
    // Next can be whatever was called before the first return of those that are left.
    std::uint64_t first_return = ~std::uint64_t{0};
    for (std::size_t i = 0; i < events_.size(); ++i) {
      if ((done >> i & 1U) == 0) first_return = std::min(first_return, events_[i].returned);
    }
    for (std::size_t i = 0; i < events_.size(); ++i) {
      if ((done >> i & 1U) != 0 || events_[i].called > first_return) continue;
      small_map then = m;
      if (agrees(events_[i], then) && search(done | std::uint64_t{1} << i, then)) return true;
    }
    return false;
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

/// Lets each thread do its events at the same time as the others; when each began and ended is noted.
template <class Table>
std::vector<event> record(Table& t, std::vector<std::vector<event>> of_threads, int spread = 1) {
  std::atomic<std::uint64_t> clock{0};
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (auto& events : of_threads) {
    threads.emplace_back([&] {
      ready.fetch_add(1);
      while (ready.load() < static_cast<int>(of_threads.size())) std::this_thread::yield();
      for (event& e : events) {
        e.called = clock.fetch_add(1);
        perform(t, e, spread);
        e.returned = clock.fetch_add(1);
      }
    });
  }
  for (std::thread& each : threads) each.join();
  std::vector<event> all;
  for (auto& events : of_threads) all.insert(all.end(), events.begin(), events.end());
  return all;
}

}  // namespace karyon::tests
