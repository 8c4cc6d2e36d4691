// SPDX-License-Identifier: Apache-2.0
#include <karyon/matrix/table.hpp>

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <latch>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

thread_local bool no_memory = false;

}  // namespace

// The memory of a thread's record. Nothing else here asks for aligned memory in this way, and records are never freed.
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  const auto step = static_cast<std::size_t>(alignment);
  return no_memory ? nullptr : std::aligned_alloc(step, (size + step - 1) / step * step);
}

namespace {

using karyon::errc;
using karyon::table;
using karyon::table_options;

/// Compares, or throws when the test wants it to.
struct moody_less {
  bool* moody;
  bool operator()(int a, int b) const {
    if (*moody) throw std::runtime_error("can not tell");
    return a < b;
  }
};

/// Counts its living copies; the copying throws when the test wants it to.
struct fragile {
  static inline std::atomic<int> living{0};
  static inline std::atomic<bool> breaks{false};
  int n;
  explicit fragile(int v) : n(v) { ++living; }
  fragile(const fragile& other) : n(other.n) {
    if (breaks) throw std::runtime_error("broken");
    ++living;
  }
  fragile& operator=(const fragile& other) {
    if (breaks) throw std::runtime_error("broken");
    n = other.n;
    return *this;
  }
  ~fragile() { --living; }
};

/// Says what a call of the user's threw: type and text.
template <class T>
bool says(const karyon::result<T>& got, const char* what) {
  return !got && got.error().code() == errc::cell_failed &&
         got.error().message().find("std::runtime_error") != std::string::npos &&
         got.error().message().find(what) != std::string::npos;
}

TEST_CASE("a comparison that throws leaves the table as it was, and usable") {
  bool moody = false;
  table<int, int, moody_less> t({}, moody_less{&moody});
  for (int k = 0; k < 300; ++k) REQUIRE(t.insert(k, k).value());
  const auto before = t.snapshot();
  moody = true;
  REQUIRE(says(t.insert(1000, 1), "can not tell"));
  REQUIRE(says(t.insert(5, 1), "can not tell"));
  REQUIRE(says(t.erase(5), "can not tell"));
  REQUIRE(says(t.take(5), "can not tell"));
  REQUIRE_THROWS_AS(t.lookup(5), std::runtime_error);
  REQUIRE(says(t.update_counter(5, 1), "can not tell"));
  REQUIRE_THROWS_AS(t.range(5, 50), std::runtime_error);
  REQUIRE(says(t.attempt([](const auto& same) { return same.lookup(5); }), "can not tell"));
  REQUIRE(says(t.attempt([](const auto& same) { return same.range(5, 50); }), "can not tell"));
  moody = false;
  REQUIRE(t.attempt([](const auto& same) { return same.lookup(5); }).value() == 5);
  REQUIRE(t.snapshot() == before);
  REQUIRE(t.insert(1000, 1).value());
}

/// Throws at the n-th comparison from now.
struct fuse {
  int left = -1;  // below 0: never
};
struct fused_less {
  fuse* f;
  bool operator()(int a, int b) const {
    if (f->left >= 0 && f->left-- == 0) throw std::runtime_error("can not tell");
    return a < b;
  }
};
using fused = table<int, int, fused_less>;

/// Does it with a comparison that throws at the first, the second, ... until none does any more: each time all is as before.
template <class Operation>
bool holds_wherever_it_throws(fused& t, fuse& f, const Operation& operation) {
  const auto before = t.snapshot();
  const auto entries = t.size();
  for (int n = 0;; ++n) {
    f.left = n;
    const auto done = t.attempt([&](const fused&) { return operation(); });
    f.left = -1;
    if (done) return true;
    if (!says(done, "can not tell") || t.size() != entries || t.snapshot() != before) return false;
  }
}

TEST_CASE("wherever within an operation a comparison throws, the table is as it was before") {
  fuse f;
  fused t({}, fused_less{&f});
  // In order and out of it, so that nodes are split on the way.
  for (int i = 0; i < 400; ++i) {
    const int k = i % 2 == 0 ? i : 1000 - i;
    REQUIRE(holds_wherever_it_throws(t, f, [&] { return t.insert(k, i); }));
  }
  REQUIRE(t.size() == 400);
  for (int i = 0; i < 400; i += 7) {
    const int k = i % 2 == 0 ? i : 1000 - i;
    REQUIRE(holds_wherever_it_throws(t, f, [&] { return t.update(k, [](int v) { return v + 1; }); }));
    REQUIRE(holds_wherever_it_throws(t, f, [&] { return t.range(k, k + 300); }));
    REQUIRE(holds_wherever_it_throws(t, f, [&] { return t.prev(k); }));
    REQUIRE(holds_wherever_it_throws(t, f, [&] { return t.erase(k); }));
    REQUIRE(holds_wherever_it_throws(t, f, [&] { return t.load({{k, 1}}); }));
  }
  fused loaded({}, fused_less{&f});
  REQUIRE(holds_wherever_it_throws(loaded, f, [&] { return loaded.load({{3, 1}, {2, 1}, {1, 1}}); }));
  REQUIRE(loaded.size() == 3);
}

TEST_CASE("a value whose copy throws is neither lost nor put in") {
  {
    table<int, fragile> t;
    REQUIRE(t.insert(1, fragile(10)).value());
    const auto bytes = t.stats().bytes;
    fragile::breaks = true;
    REQUIRE(says(t.insert(2, fragile(20)), "broken"));
    REQUIRE(says(t.insert(1, fragile(11)), "broken"));
    REQUIRE(says(t.take(1), "broken"));
    REQUIRE_THROWS_AS(t.lookup(1), std::runtime_error);
    REQUIRE(says(t.update(1, [](const fragile& f) { return fragile(f.n + 1); }), "broken"));
    fragile::breaks = false;
    REQUIRE(t.size() == 1);
    REQUIRE(t.stats().bytes == bytes);
    REQUIRE(t.take(1).value()->n == 10);
  }
  karyon::detail::collect_all_retired();
  REQUIRE(fragile::living == 0);
}

/// Throws at the n-th copy from now.
struct brittle {
  static inline int left = -1;  // below 0: never
  int n = 0;
  explicit brittle(int v) : n(v) {}
  brittle(const brittle& other) : n(other.n) {
    if (left >= 0 && left-- == 0) throw std::runtime_error("broken");
  }
  brittle& operator=(const brittle&) = delete;
};

TEST_CASE("a value that is taken has been copied before it is out of the table, and is not copied again") {
  table<int, brittle> t;
  for (int n = 0;; ++n) {
    REQUIRE(t.insert(1, brittle(7)).has_value());
    brittle::left = n;
    const auto taken = t.take(1);
    brittle::left = -1;
    if (taken) {
      REQUIRE(n > 0);
      REQUIRE((*taken)->n == 7);
      REQUIRE(t.empty());
      return;
    }
    REQUIRE(says(taken, "broken"));
    REQUIRE(t.lookup(1)->n == 7);
  }
}

TEST_CASE("memory that runs out within the code of the table's user is an error of its own") {
  table<int, int> t;
  REQUIRE(t.insert(1, 7).value());
  REQUIRE(t.update(1, [](int) -> int { throw std::bad_alloc(); }).error().code() == errc::out_of_memory);
  REQUIRE(t.update(1, [](int) -> int { throw 7; }).error().code() == errc::cell_failed);
  REQUIRE(t.lookup(1) == 7);
}

TEST_CASE("of entries that are loaded none is put in if copying one of them throws") {
  fragile::living = 0;
  {
    table<int, fragile> t;
    const auto empty_bytes = t.stats().bytes;
    std::vector<std::pair<int, fragile>> many;
    many.reserve(300);
    for (int k = 0; k < 300; ++k) many.emplace_back(k, k);
    auto copy = many;
    fragile::breaks = true;
    REQUIRE(says(t.load(std::move(copy)), "broken"));
    fragile::breaks = false;
    REQUIRE(t.size() == 0);
    REQUIRE(t.stats().bytes == empty_bytes);
    REQUIRE(t.load(std::move(many)).value() == 300);
    fragile::breaks = true;
    REQUIRE_THROWS_AS(t.range(5, 50), std::runtime_error);
    fragile::breaks = false;
    REQUIRE(t.range(5, 50).size() == 45);
  }
  karyon::detail::collect_all_retired();
  REQUIRE(fragile::living == 0);
}

/// A key that can not be copied when the test wants it so.
struct fragile_key {
  fragile f;
  friend bool operator<(const fragile_key& a, const fragile_key& b) { return a.f.n < b.f.n; }
};

TEST_CASE("a key whose copy throws is not put in") {
  table<fragile_key, int> t;
  REQUIRE(t.insert({fragile(1)}, 1).value());
  const auto bytes = t.stats().bytes;
  fragile::breaks = true;
  REQUIRE(says(t.insert({fragile(2)}, 2), "broken"));
  REQUIRE(says(t.update_counter({fragile(2)}, 2), "broken"));
  REQUIRE_THROWS_AS(t.first(), std::runtime_error);
  REQUIRE(t.erase({fragile(2)}).value() == false);
  REQUIRE(t.update_counter({fragile(1)}, 4).value() == 5);  // what is there needs no copy
  fragile::breaks = false;
  REQUIRE(t.size() == 1);
  REQUIRE(t.stats().bytes == bytes);
}

TEST_CASE("what a condition throws erases and replaces nothing") {
  struct touchy {
    int n;
    bool operator==(const touchy&) const { throw std::runtime_error("do not compare me"); }
  };
  table<int, touchy> t;
  REQUIRE(t.insert(1, {7}).value());
  REQUIRE(says(t.compare_and_set(1, {7}, {8}), "do not compare me"));
  REQUIRE(says(t.erase_if(1, [](const touchy&) -> bool { throw std::runtime_error("no"); }), "no"));
  REQUIRE(t.lookup(1)->n == 7);
  REQUIRE(t.insert(2, {9}).value());
}

TEST_CASE("an update function that throws leaves the value as it was") {
  table<int, int> t;
  REQUIRE(t.insert(1, 7).value());
  REQUIRE(says(t.update(1, [](int) -> int { throw std::runtime_error("no"); }), "no"));
  REQUIRE(t.lookup(1) == 7);
  REQUIRE(t.update(1, [](int v) { return v + 1; }).value());
}

TEST_CASE("an update function may read its table but is refused a change of it") {
  table<int, int> t;
  table<int, int> other;
  REQUIRE(t.insert(1, 7).value());
  REQUIRE(t.insert(2, 30).value());
  errc refusals[9] = {};
  const auto done = t.update(1, [&](int v) {
    refusals[0] = t.insert(3, 1).error().code();
    refusals[1] = t.erase(2).error().code();
    refusals[2] = t.update(1, [](int x) { return x; }).error().code();
    refusals[3] = t.update_counter(1, 1).error().code();
    refusals[4] = t.load({{9, 9}}).error().code();
    refusals[5] = t.take(2).error().code();
    refusals[6] = t.insert_new(3, 1).error().code();
    refusals[7] = t.compare_and_set(2, 30, 31).error().code();
    refusals[8] = t.erase_if(2, [](int) { return true; }).error().code();
    other.insert(1, v).value();
    return v + *t.lookup(2);
  });
  REQUIRE(done.value());
  for (const errc c : refusals) REQUIRE(c == errc::refused);
  REQUIRE(t.lookup(1) == 37);
  REQUIRE(t.size() == 2);
  REQUIRE(other.lookup(1) == 7);
  REQUIRE(t.insert(3, 1).value());
}

/// Compares, and calls `meddle` with the greater number of each comparison; not within that call itself.
struct meddler {
  std::function<void(int)> meddle;
};
thread_local int comparisons_within = 0;
struct meddling_less {
  meddler* m;
  bool operator()(int a, int b) const {
    if (m->meddle && comparisons_within < 2) {
      struct within {
        within() { ++comparisons_within; }
        ~within() { --comparisons_within; }
      } one_more;
      m->meddle(a < b ? b : a);
    }
    return a < b;
  }
};
using meddled = table<int, int, meddling_less>;

constexpr int long_range = 20000;  // more base nodes than are read without holding them

TEST_CASE("a comparison that changes its table while a range holds it is refused, may read it, and the range ends") {
  meddler m;
  meddled t({}, meddling_less{&m});
  for (int k = 0; k < long_range; ++k) REQUIRE(t.insert(k, k).value());
  int done = 0;
  int refused = 0;
  int read = 0;
  m.meddle = [&](int key) {
    if (comparisons_within > 1 || key < long_range / 2) return;
    const auto put = t.insert(0, 7);  // in a node that the range has read already
    ++(put ? done : refused);
    if (!put && put.error().code() != errc::refused) std::abort();
    if (!put && t.lookup(0) == 7) ++read;
  };
  const auto all = t.snapshot();
  m.meddle = nullptr;
  REQUIRE(all.size() == long_range);
  REQUIRE(done > 0);
  REQUIRE(refused > 0);
  REQUIRE(read == refused);
  REQUIRE_FALSE(t.insert(0, 8).value());
}

TEST_CASE("a comparison that would wait for the range it is called by is told so") {
  meddler m;
  meddled t({}, meddling_less{&m});
  for (int k = 0; k < long_range; ++k) REQUIRE(t.insert(k, k).value());
  int told = 0;
  bool changed = false;
  m.meddle = [&](int key) {
    if (comparisons_within == 1 && key >= long_range / 4 && key < long_range / 2) {
      if (t.insert(0, 7)) return;  // nothing is held yet
      if (told++ != 0) return;
      static_cast<void>(t.snapshot());  // throws: what it reads changes, and it can not hold it
    } else if (comparisons_within == 2 && key >= long_range * 3 / 4 && told == 1 && !std::exchange(changed, true)) {
      // Another thread, in a node that is behind what the outer range holds and before what the inner one reads now.
      std::thread([&t] {
        comparisons_within = 2;
        t.insert(long_range * 5 / 8, 7).value();
      }).join();
    }
  };
  const auto all = t.attempt([](const meddled& same) { return same.snapshot(); });
  m.meddle = nullptr;
  REQUIRE_FALSE(all.has_value());
  REQUIRE(all.error().message().find("std::logic_error") != std::string::npos);
  REQUIRE(changed);
  REQUIRE(t.snapshot().size() == long_range);
}

TEST_CASE("a table refuses what its quota does not allow, and takes it once there is room") {
  table<std::uint64_t, std::uint64_t> t(table_options{.quota_bytes = 8 * 1024});
  std::uint64_t kept = 0;
  for (std::uint64_t k = 0; k < 10000; ++k) {
    const auto done = t.insert(k, k);
    if (!done) {
      REQUIRE(done.error().code() == errc::refused);
      break;
    }
    ++kept;
  }
  REQUIRE(kept > 64);
  REQUIRE(kept < 600);
  REQUIRE(t.size() == kept);
  REQUIRE(t.stats().bytes <= 8 * 1024);
  REQUIRE(t.snapshot().size() == kept);
  REQUIRE_FALSE(t.insert(0, 5).value());  // in place of what is there
  for (std::uint64_t k = 0; k < kept; ++k) REQUIRE(t.erase(k).value());
  for (std::uint64_t k = 0; k < 64; ++k) REQUIRE(t.insert(k, k).value());
}

TEST_CASE("a quota counts boxed keys and values, and gives back what was refused") {
  table<std::string, std::string> t(table_options{.quota_bytes = 16 * 1024});
  int kept = 0;
  while (t.insert("key " + std::to_string(kept), "value").has_value()) ++kept;
  const auto full = t.stats().bytes;
  for (int i = 0; i < 100; ++i) REQUIRE_FALSE(t.insert("one more", "value").has_value());
  for (int i = 0; i < kept; ++i) REQUIRE_FALSE(t.insert("key " + std::to_string(i), "another").value());
  REQUIRE(t.update("key 0", [](const std::string& v) { return v + "!"; }).value());
  REQUIRE(t.stats().bytes == full);
  REQUIRE(static_cast<int>(t.size()) == kept);
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 1000; ++i) many.emplace_back(std::to_string(i), "v");
  table<std::string, std::string> small(table_options{.quota_bytes = 16 * 1024});
  REQUIRE(small.load(many).error().code() == errc::refused);
  REQUIRE(small.size() == 0);
  REQUIRE(small.stats().bytes < 2 * 1024);
}

TEST_CASE("what a table held is destroyed once nobody can see it") {
  fragile::living = 0;
  {
    table<int, fragile> t;
    for (int k = 0; k < 1000; ++k) REQUIRE(t.insert(k, fragile(k)).value());
    for (int k = 0; k < 1000; ++k) REQUIRE_FALSE(t.insert(k, fragile(-k)).value());
    for (int k = 0; k < 500; ++k) REQUIRE(t.erase(k).value());
    karyon::detail::collect_all_retired();
    REQUIRE(fragile::living == 500);
  }
  karyon::detail::collect_all_retired();
  REQUIRE(fragile::living == 0);
}

struct last_words {
  table<int, fragile>* said;
  ~last_words() { static_cast<void>(said->insert(1, fragile(2))); }
};

TEST_CASE("what a thread replaces while its thread-local objects are destroyed is freed as well") {
  fragile::living = 0;
  {
    table<int, fragile> t;
    REQUIRE(t.insert(1, fragile(1)).value());
    std::thread([&t] {
      thread_local last_words words{&t};  // older than the thread's part in the epochs, so destroyed behind it
      static_cast<void>(t.lookup(1));
    }).join();
    REQUIRE(t.lookup(1)->n == 2);
    karyon::detail::collect_all_retired();
    REQUIRE(fragile::living == 1);
  }
}

TEST_CASE("a thread that has used no table before may use one where there is no memory for its part in the epochs") {
  fragile::living = 0;
  {
    table<int, fragile> t;
    REQUIRE(t.insert(1, fragile(1)).value());
    int seen = 0;
    // So many that none is left of a thread that has ended.
    std::latch have_theirs{32};
    std::latch done{1};
    std::vector<std::thread> others;
    for (int i = 0; i < 32; ++i) {
      others.emplace_back([&] {
        static_cast<void>(t.lookup(1));
        have_theirs.count_down();
        done.wait();
      });
    }
    have_theirs.wait();
    std::thread([&] {
      no_memory = true;
      for (int i = 0; i < 3; ++i) seen += t.lookup(1)->n;
      no_memory = false;
      static_cast<void>(t.insert(1, fragile(2)));
      seen += t.lookup(1)->n;
    }).join();
    done.count_down();
    for (std::thread& each : others) each.join();
    REQUIRE(seen == 5);
    karyon::detail::collect_all_retired();
    REQUIRE(fragile::living == 1);
  }
  karyon::detail::collect_all_retired();
  REQUIRE(fragile::living == 0);
}

TEST_CASE("a thread that is ended within an update function leaves the table as it was") {
  table<int, int> t;
  REQUIRE(t.insert(1, 1).value());
  std::thread([&t] { static_cast<void>(t.update(1, [](int) -> int { ::pthread_exit(nullptr); })); }).join();
  REQUIRE(t.lookup(1) == 1);
  REQUIRE(t.update(1, [](int n) { return n + 1; }).value());
  REQUIRE(t.lookup(1) == 2);
}

/// Ends its thread at the n-th comparison from now.
struct ending_less {
  int* left;  // below 0: never
  bool operator()(int a, int b) const {
    if (*left >= 0 && (*left)-- == 0) ::pthread_exit(nullptr);
    return a < b;
  }
};

TEST_CASE("wherever within an erasing a comparison ends its thread, the table goes on") {
  int left = -1;
  table<int, int, ending_less> t({}, ending_less{&left});
  for (int k = 0; k < 100; ++k) REQUIRE(t.insert(k, k).value());
  for (int k = 0; k < 100; ++k) {
    bool done = false;
    for (int n = 0; !done; ++n) {
      static_cast<void>(t.insert(k, k));  // gone where the thread was ended while nodes were put together
      std::thread([&] {
        left = n;
        static_cast<void>(t.erase(k));
        done = true;
      }).join();
      left = -1;
    }
  }
  REQUIRE(t.empty());
}

}  // namespace
