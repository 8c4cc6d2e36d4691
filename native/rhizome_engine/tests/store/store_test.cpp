// SPDX-License-Identifier: Apache-2.0
#include "store/store.hpp"

#include <string>
#include <vector>

#include "store/detail/core.hpp"
#include "support/catch.hpp"

using namespace rhizome;

namespace {

store_options small(arcs_kind kind = arcs_kind::directed) {
  store_options o;
  o.memory_limit_bytes = std::size_t{64} << 20;
  o.vertices_max = 1 << 20;
  o.huge_pages = false;
  o.arcs = kind;
  return o;
}

/// A store with ten vertices, as of commit 1.
store with_ten(store_options o = small()) {
  store s = store::make(o).value();
  transaction tx = s.begin().value();
  REQUIRE(tx.add_vertices(10).value() == 0);
  REQUIRE(tx.commit().value() == 1);
  return s;
}

template <class T>
errc code_of(const result<T>& r) {
  REQUIRE(!r.has_value());
  REQUIRE(!r.error().text.empty());
  return r.error().code;
}

commit_number add(store& s, vertex a, vertex b, interval valid = {}) {
  transaction tx = s.begin().value();
  REQUIRE(tx.add_arc(0, a, b, valid));
  return tx.commit().value();
}

std::vector<vertex> out(const snapshot& s, vertex v, label l = 0) {
  std::vector<vertex> found;
  s.newest(l).for_each(v, [&found](vertex w) { found.push_back(w); });
  return found;
}

/// A sink that keeps what it is told, and fails when it is told to.
class memory_sink final : public commit_sink {
public:
  struct kept {
    commit_number number;
    time_us time;
    std::vector<change> changes;
    std::vector<value> values;
  };
  result<void> append(const commit_record& record) override {
    if (fail_append) return fail(errc::no_space, "the disk is full");
    kept k{record.number, record.time, {record.changes.begin(), record.changes.end()}, {}};
    k.values.reserve(k.changes.size());
    for (change& c : k.changes)
      if (c.data != nullptr) c.data = &k.values.emplace_back(*c.data);
    commits.push_back(std::move(k));
    return {};
  }
  result<void> sync() override {
    ++syncs;
    if (fail_sync) return fail(errc::io, "the disk is gone");
    return {};
  }
  std::vector<kept> commits;
  int syncs = 0;
  bool fail_append = false, fail_sync = false;
};

time_us fake_time = 0;
time_us fake_clock() { return fake_time; }

}  // namespace

TEST_CASE("an arc is seen from both ends once its transaction is committed") {
  store s = store::make(small()).value();
  transaction tx = s.begin().value();
  vertex a = tx.add_vertices(2).value();
  vertex b = a + 1;
  REQUIRE(tx.add_arc(0, a, b));
  CHECK(tx.contains(0, a, b));
  snapshot before = s.now().value();
  CHECK(tx.commit().value() == 1);
  snapshot after = s.now().value();
  CHECK(before.vertices() == 0);
  CHECK(after.newest(0).degree(a) == 1);
  CHECK(after.newest(0).contains(a, b));
  CHECK(after.newest(0, direction::in).contains(b, a));
  CHECK(after.newest(0).arcs() == 1);
  CHECK(after.newest(1).arcs() == 0);
  CHECK(after.newest(1).degree(a) == 0);
  CHECK(code_of(tx.commit()) == errc::read_only);
}

TEST_CASE("an arc of a symmetric store is seen from either end, and a loop once") {
  store s = with_ten(small(arcs_kind::symmetric));
  add(s, 3, 1);
  add(s, 4, 4);
  snapshot now = s.now().value();
  CHECK(out(now, 1) == std::vector<vertex>{3});
  CHECK(out(now, 3) == std::vector<vertex>{1});
  CHECK(out(now, 4) == std::vector<vertex>{4});
  CHECK(now.newest(0).arcs() == 3);
  transaction tx = s.begin().value();
  CHECK(code_of(tx.add_arc(0, 1, 3)) == errc::already_there);
  REQUIRE(tx.remove_arc(0, 1, 3));
  REQUIRE(tx.remove_arc(0, 4, 4));
  REQUIRE(tx.commit());
  CHECK(s.now().value().newest(0).arcs() == 0);
}

TEST_CASE("a snapshot does not change when the store does, and outlives it") {
  auto s = std::make_unique<store>(with_ten());
  add(*s, 0, 1);
  snapshot before = s->now().value();
  snapshot copy = before;
  transaction tx = s->begin().value();
  REQUIRE(tx.remove_arc(0, 0, 1));
  REQUIRE(tx.add_arc(0, 0, 2));
  REQUIRE(tx.commit());
  snapshot after = s->now().value();
  transaction open = s->begin().value();
  REQUIRE(open.add_arc(0, 5, 6));
  s.reset();
  CHECK(out(before, 0) == std::vector<vertex>{1});
  CHECK(out(copy, 0) == std::vector<vertex>{1});
  CHECK(out(after, 0) == std::vector<vertex>{2});
  CHECK(code_of(open.commit()) == errc::read_only);
}

TEST_CASE("the first committer wins and the other is told of the conflict") {
  store s = with_ten();
  add(s, 0, 1);
  SECTION("two that add the same arc") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(a.add_arc(0, 2, 3));
    REQUIRE(b.add_arc(0, 2, 3));
    REQUIRE(a.commit());
    CHECK(code_of(b.commit()) == errc::conflict);
  }
  SECTION("two that remove the same arc") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(a.remove_arc(0, 0, 1));
    REQUIRE(b.remove_arc(0, 0, 1));
    REQUIRE(a.commit());
    CHECK(code_of(b.commit()) == errc::conflict);
  }
  SECTION("one that adds what another added and removed meanwhile") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(b.add_arc(0, 2, 3));
    REQUIRE(a.add_arc(0, 2, 3));
    REQUIRE(a.commit());
    transaction c = s.begin().value();
    REQUIRE(c.remove_arc(0, 2, 3));
    REQUIRE(c.commit());
    CHECK(code_of(b.commit()) == errc::conflict);
  }
  SECTION("an arc to a vertex that another removed") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(a.remove_vertex(7));
    REQUIRE(b.add_arc(0, 6, 7));
    REQUIRE(a.commit());
    CHECK(code_of(b.commit()) == errc::conflict);
  }
  SECTION("the removal of a vertex that another gave an arc") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(a.add_arc(0, 6, 7));
    REQUIRE(b.remove_vertex(7));
    REQUIRE(a.commit());
    CHECK(code_of(b.commit()) == errc::conflict);
  }
  SECTION("two values for one property") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(a.set_property(0, 1, std::int64_t{1}));
    REQUIRE(b.set_property(0, 1, std::int64_t{2}));
    REQUIRE(a.commit());
    CHECK(code_of(b.commit()) == errc::conflict);
    CHECK(s.now().value().property(0, 1).value() == value(std::int64_t{1}));
  }
  SECTION("but not arcs of the same vertex to different ones") {
    transaction a = s.begin().value(), b = s.begin().value();
    REQUIRE(a.add_arc(0, 0, 2));
    REQUIRE(b.add_arc(0, 0, 3));
    REQUIRE(a.commit());
    REQUIRE(b.commit());
    CHECK(s.now().value().newest(0).degree(0) == 3);
  }
}

TEST_CASE("what a transaction adds and removes itself never was") {
  store s = with_ten();
  transaction tx = s.begin().value();
  REQUIRE(tx.add_arc(0, 1, 2));
  REQUIRE(tx.set_property(0, 1, 2, 5, std::int64_t{1}));
  REQUIRE(tx.remove_arc(0, 1, 2));
  CHECK(!tx.contains(0, 1, 2));
  CHECK(tx.size() == 0);
  CHECK(tx.commit().value() == 1);
  CHECK(s.newest() == 1);
}

TEST_CASE("an arc that is removed and added again in one transaction is another version, without its properties") {
  store s = with_ten();
  transaction first = s.begin().value();
  REQUIRE(first.add_arc(0, 1, 2));
  REQUIRE(first.set_property(0, 1, 2, 5, std::string("old")));
  REQUIRE(first.commit());
  transaction tx = s.begin().value();
  REQUIRE(tx.remove_arc(0, 1, 2));
  REQUIRE(tx.add_arc(0, 1, 2));
  REQUIRE(tx.commit());
  snapshot now = s.now().value();
  CHECK(now.history(0, 1, 2) == std::vector<arc_version>{{2, 3, {}}, {3, newest_commit, {}}});
  CHECK(now.property(0, 1, 2, 5, std::nullopt).value() == value{});
  CHECK(now.property(0, 1, 2, 5, commit_number{2}).value() == value(std::string("old")));
}

TEST_CASE("bad input is refused with a reason and leaves the transaction as it was") {
  store s = with_ten();
  add(s, 0, 1);
  transaction tx = s.begin().value();
  CHECK(code_of(tx.add_arc(labels_max, 0, 1)) == errc::invalid_argument);
  CHECK(code_of(tx.add_arc(0, 0, 10)) == errc::not_found);
  CHECK(code_of(tx.add_arc(0, no_vertex, 1)) == errc::not_found);
  CHECK(code_of(tx.add_arc(0, 0, 2, {5, 5})) == errc::invalid_argument);
  CHECK(code_of(tx.add_arc(0, 0, 1)) == errc::already_there);
  CHECK(code_of(tx.remove_arc(0, 1, 0)) == errc::not_found);
  CHECK(code_of(tx.remove_arc(7, 0, 1)) == errc::not_found);
  CHECK(code_of(tx.set_valid(0, 0, 1, {9, 3})) == errc::invalid_argument);
  CHECK(code_of(tx.set_valid(0, 1, 0, {3, 9})) == errc::not_found);
  CHECK(code_of(tx.remove_vertex(10)) == errc::not_found);
  CHECK(code_of(tx.add_vertices(0)) == errc::invalid_argument);
  CHECK(code_of(tx.add_vertices(1 << 20)) == errc::limit);
  CHECK(code_of(tx.set_property(0, property_keys_max, {})) == errc::invalid_argument);
  CHECK(code_of(tx.set_property(10, 0, {})) == errc::not_found);
  CHECK(code_of(tx.set_property(0, 1, 0, 0, {})) == errc::not_found);
  CHECK(code_of(tx.name_label("")) == errc::invalid_argument);
  std::vector<arc> twice{{2, 3}, {2, 3}}, beyond{{2, 10}};
  CHECK(code_of(tx.add_arcs(0, twice)) == errc::already_there);
  CHECK(code_of(tx.add_arcs(0, beyond)) == errc::not_found);
  CHECK(!tx.contains(0, 2, 3));
  CHECK(tx.size() == 0);
  snapshot now = s.now().value();
  CHECK(code_of(now.as_of(3, 0)) == errc::invalid_argument);
  CHECK(code_of(now.as_of(1, labels_max)) == errc::invalid_argument);
  CHECK(code_of(now.property(10, 0)) == errc::not_found);
  CHECK(code_of(now.property(0, property_keys_max)) == errc::invalid_argument);
  CHECK(code_of(now.property(0, 1, 0, 0, std::nullopt)) == errc::not_found);
  CHECK(code_of(now.diff(1, 9)) == errc::invalid_argument);
  CHECK(code_of(now.log(2, 1)) == errc::invalid_argument);
  CHECK(code_of(now.time_of(0)) == errc::invalid_argument);
  CHECK(code_of(s.trim(9)) == errc::invalid_argument);
  CHECK(code_of(s.keep(9)) == errc::invalid_argument);
  store_options bad = small();
  bad.memory_limit_bytes = 1;
  CHECK(code_of(store::make(bad)) == errc::invalid_argument);
  bad = small();
  bad.vertices_max = 0;
  CHECK(code_of(store::make(bad)) == errc::invalid_argument);
}

TEST_CASE("a bulk of arcs refuses or skips those that are there") {
  store s = with_ten(small(arcs_kind::symmetric));
  add(s, 0, 1);
  std::vector<arc> list{{2, 3}, {1, 0}, {3, 2}, {4, 4}};
  transaction refused = s.begin().value();
  REQUIRE(refused.add_arcs(0, std::span(list).first(2)));
  CHECK(code_of(refused.commit()) == errc::already_there);
  transaction skipped = s.begin().value();
  REQUIRE(skipped.add_arcs(0, list, on_duplicate::skip));
  REQUIRE(skipped.commit());
  CHECK(s.now().value().newest(0).arcs() == 5);
}

TEST_CASE("parallel arcs are kept where arcs need not be unique, and removed one at a time") {
  store_options o = small();
  o.unique_arcs = false;
  store s = with_ten(o);
  for (int i = 0; i < 3; ++i) add(s, 0, 1);
  transaction tx = s.begin().value();
  REQUIRE(tx.remove_arc(0, 0, 1));
  REQUIRE(tx.remove_arc(0, 0, 1));
  REQUIRE(tx.commit());
  CHECK(out(s.now().value(), 0) == std::vector<vertex>{1});
}

TEST_CASE("commits of one instant keep their order and are found by their time") {
  fake_time = 100;
  store_options o = small();
  o.clock = fake_clock;
  store s = with_ten(o);
  add(s, 0, 1);
  fake_time = 50;  // a clock that goes back does not take the commits with it
  add(s, 0, 2);
  fake_time = 200;
  add(s, 0, 3);
  snapshot now = s.now().value();
  CHECK(now.time_of(3).value() == 100);
  CHECK(now.commit_at(99) == 0);
  CHECK(now.commit_at(100) == 3);
  CHECK(now.commit_at(199) == 3);
  CHECK(now.commit_at(200) == 4);
}

TEST_CASE("a name is seen from its commit on and keeps its number") {
  store s = with_ten();
  transaction tx = s.begin().value();
  label calls = tx.name_label("calls").value();
  CHECK(tx.name_label("calls").value() == calls);
  CHECK(tx.name_property("line").value() == 0);
  CHECK(!s.now().value().find_label("calls"));
  REQUIRE(tx.commit());
  transaction again = s.begin().value();
  CHECK(again.name_label("calls").value() == calls);
  CHECK(again.size() == 0);
  CHECK(again.name_label("uses").value() == calls + 1);
  CHECK(s.now().value().find_label("calls") == calls);
  CHECK(s.now().value().find_property("line") == property_key{0});
  CHECK(!s.now().value().find_label("uses"));
}

TEST_CASE("the memory limit refuses a commit and leaves the store readable and writable") {
  store_options o = small();
  o.memory_limit_bytes = std::size_t{4} << 20;
  store s = with_ten(o);
  add(s, 0, 1);
  std::vector<arc> many(100'000, arc{2, 3});
  transaction big = s.begin().value();
  REQUIRE(big.add_arcs(0, many, on_duplicate::skip));
  CHECK(big.commit().has_value() == false);
  CHECK(out(s.now().value(), 0) == std::vector<vertex>{1});
  add(s, 0, 2);
}

TEST_CASE("commit numbers that run out refuse the next commit") {
  store_options o = small();
  o.commit_base = newest_commit - 3;
  store s = store::make(o).value();
  for (commit_number n = newest_commit - 2; n < newest_commit; ++n) {
    transaction tx = s.begin().value();
    REQUIRE(tx.add_vertex());
    CHECK(tx.commit().value() == n);
  }
  transaction tx = s.begin().value();
  REQUIRE(tx.add_vertex());
  CHECK(code_of(tx.commit()) == errc::limit);
  CHECK(s.now().value().vertices() == 2);
}

TEST_CASE("a group is synced once and each of its transactions has an outcome of its own") {
  memory_sink sink;
  store_options o = small();
  o.sink = &sink;
  store s = with_ten(o);
  std::vector<transaction> group;
  for (int i = 0; i < 3; ++i) group.push_back(s.begin().value());
  REQUIRE(group[0].add_arc(0, 0, 1));
  REQUIRE(group[1].add_arc(0, 0, 1));
  REQUIRE(group[2].add_arc(0, 0, 2));
  auto outcomes = s.commit_group(group);
  CHECK(outcomes[0].value() == 2);
  CHECK(code_of(outcomes[1]) == errc::conflict);
  CHECK(outcomes[2].value() == 3);
  CHECK(sink.syncs == 2);
  CHECK(s.newest() == 3);
}

TEST_CASE("a sink that fails leaves nothing visible of the commit and the store readable") {
  memory_sink sink;
  store_options o = small();
  o.sink = &sink;
  store s = with_ten(o);
  add(s, 0, 1);
  SECTION("in append") { sink.fail_append = true; }
  SECTION("in sync") { sink.fail_sync = true; }
  snapshot before = s.now().value();
  transaction tx = s.begin().value();
  REQUIRE(tx.add_arc(0, 0, 2));
  REQUIRE(tx.remove_arc(0, 0, 1));
  errc first = code_of(tx.commit());
  CHECK((first == errc::no_space || first == errc::io));
  sink.fail_append = sink.fail_sync = false;
  transaction next = s.begin().value();
  REQUIRE(next.add_arc(0, 3, 4));
  CHECK(code_of(next.commit()) == errc::read_only);
  CHECK(code_of(s.writable()) == first);
  CHECK(out(s.now().value(), 0) == std::vector<vertex>{1});
  CHECK(out(before, 0) == std::vector<vertex>{1});
  CHECK(s.now().value().newest(0).arcs() == 1);
  CHECK(s.now().value().newest(0).degree(0) == 1);
}

TEST_CASE("what a sink was told makes the same store when it is replayed") {
  memory_sink sink;
  store_options o = small();
  o.sink = &sink;
  store s = with_ten(o);
  transaction tx = s.begin().value();
  label named = tx.name_label("knows").value();
  REQUIRE(tx.add_arc(named, 0, 1, {3, 9}));
  REQUIRE(tx.add_arc(named, 0, 2));
  REQUIRE(tx.set_property(3, 0, std::string("three"), {1, 2}));
  REQUIRE(tx.commit());
  transaction more = s.begin().value();
  REQUIRE(more.remove_vertex(2));
  REQUIRE(more.set_valid(named, 0, 1, {4, 5}));
  REQUIRE(more.set_property(named, 0, 1, 7, 2.5));
  REQUIRE(more.commit());

  store copy = store::make(small()).value();
  for (const auto& k : sink.commits) REQUIRE(copy.replay({k.number, k.time, k.changes}));
  snapshot a = s.now().value(), b = copy.now().value();
  CHECK(a.commit() == b.commit());
  CHECK(a.alive() == b.alive());
  CHECK(b.find_label("knows") == named);
  CHECK(a.history(named, 0, 1) == b.history(named, 0, 1));
  CHECK(a.history(named, 0, 2) == b.history(named, 0, 2));
  CHECK(b.history(named, 0, 2) == std::vector<arc_version>{{2, 3, {}}});
  CHECK(b.property(3, 0, std::nullopt, time_us{1}).value() == value(std::string("three")));
  CHECK(b.property(named, 0, 1, 7, std::nullopt).value() == value(2.5));
  CHECK(a.time_of(2).value() == b.time_of(2).value());

  change wrong;
  wrong.kind = change_kind::remove_arc;
  wrong.arc_label = named;
  wrong.source = 0;
  wrong.target = 2;
  CHECK(code_of(copy.replay({4, 0, {&wrong, 1}})) == errc::corrupt);
  wrong.kind = change_kind::add_arc;
  CHECK(code_of(copy.replay({9, 0, {&wrong, 1}})) == errc::corrupt);
  CHECK(copy.newest() == 3);
}

TEST_CASE("trimming forgets the past but for what a lease or a snapshot keeps") {
  store s = with_ten();
  add(s, 0, 1);
  transaction tx = s.begin().value();
  REQUIRE(tx.remove_arc(0, 0, 1));
  REQUIRE(tx.commit());
  for (vertex v = 1; v < 5; ++v) add(s, 0, v);
  std::optional<lease> held = s.keep(2).value();
  CHECK(s.trim(5).value() == 2);
  CHECK(s.now().value().as_of(2, 0).value().contains(0, 1));
  held.reset();
  std::optional<snapshot> old = s.now().value();
  std::optional<view> past = old->as_of(3, 0).value();
  CHECK(s.trim(5).value() == 3);
  past.reset();
  CHECK(s.trim(5).value() == 5);
  CHECK(code_of(s.now().value().as_of(4, 0)) == errc::trimmed);
  CHECK(code_of(s.now().value().diff(2, 6)) == errc::trimmed);
  CHECK(code_of(s.keep(4)) == errc::trimmed);
  CHECK(s.now().value().history(0, 0, 1).size() == 1);
  CHECK(s.now().value().as_of(5, 0).value().degree(0) == 2);
}

TEST_CASE("memory is counted by what it is for and given back") {
  store s = with_ten(small(arcs_kind::symmetric));
  transaction tx = s.begin().value();
  vertex first = tx.add_vertices(2000).value();
  for (vertex v = 0; v < 2000; ++v) REQUIRE(tx.add_arc(0, 0, first + v));
  REQUIRE(tx.commit());
  memory_report full = s.memory();
  CHECK(full.newest >= 4000 * 8);
  CHECK(full.log >= 4000 * 16);
  transaction less = s.begin().value();
  for (vertex v = 0; v < 1000; ++v) REQUIRE(less.remove_arc(0, 0, first + v));
  REQUIRE(less.commit());
  CHECK(s.memory().history >= 2000 * 12);
  CHECK(s.memory().index > 0);
  CHECK(s.trim(s.newest()).has_value());
  while (s.compact(1 << 20).value().left_bytes != 0) {
  }
  s.collect();
  memory_report small_again = s.memory();
  CHECK(small_again.history == 0);
  CHECK(small_again.log < full.log);
  CHECK(small_again.retired == 0);
  CHECK(small_again.newest < full.newest);
  CHECK(s.now().value().newest(0).degree(0) == 1000);
}

TEST_CASE("a property costs a place for each vertex up to the last one that has it, and its values") {
  store_options o = small();
  o.memory_limit_bytes = std::size_t{2} << 20;
  store s = store::make(o).value();
  constexpr vertex count = 20'000;
  transaction tx = s.begin().value();
  REQUIRE(tx.add_vertices(count).value() == 0);
  REQUIRE(tx.commit());
  const auto set = [&s](vertex v, property_key key) {
    transaction one = s.begin().value();
    REQUIRE(one.set_property(v, key, std::int64_t{1}));
    return one.commit();
  };
  const auto in_properties = [&s] { return s.memory().property; };
  const std::size_t before = in_properties();
  REQUIRE(set(count - 1, 0));
  const std::size_t value_bytes = in_properties() - before - count * sizeof(std::uint32_t);
  CHECK(value_bytes == 32);
  REQUIRE(set(count - 1, 0));
  REQUIRE(set(0, 0));
  CHECK(in_properties() == before + count * sizeof(std::uint32_t) + 3 * value_bytes);
  property_key key = 1;
  while (key < 40 && set(count - 1, key)) ++key;
  CHECK(code_of(set(count - 1, key)) == errc::limit);  // they count there, too
  CHECK(key < 30);
  CHECK(s.memory().in_use() <= o.memory_limit_bytes);
}

TEST_CASE("a commit that would make columns beyond the memory limit is refused before any of it is there") {
  store_options o = small();
  o.memory_limit_bytes = std::size_t{2} << 20;
  store s = store::make(o).value();
  constexpr vertex count = 20'000;
  transaction tx = s.begin().value();
  REQUIRE(tx.add_vertices(count).value() == 0);
  REQUIRE(tx.commit());
  const std::size_t before = s.memory().property;
  const auto set = [&s](property_key keys) {
    transaction many = s.begin().value();
    for (property_key key = 0; key < keys; ++key) {
      REQUIRE(many.set_property(count - 1, key, std::int64_t{1}));
      REQUIRE(many.set_property(count - 2, key, std::int64_t{2}));
    }
    return many.commit();
  };
  CHECK(code_of(set(40)) == errc::limit);  // 40 columns of 80 kB
  CHECK(code_of(set(40)) == errc::limit);  // and they are none that are there already
  CHECK(s.memory().property == before);
  CHECK(s.now().value().commit() == 1);
  // What was refused is not held against the next one, and a column is counted once.
  REQUIRE(set(10));
  REQUIRE(set(10));
  const std::size_t made = s.memory().property - before;
  CHECK(made >= std::size_t{10} * count * sizeof(std::uint32_t));
  CHECK(made < std::size_t{11} * count * sizeof(std::uint32_t));
  CHECK(s.memory().in_use() <= o.memory_limit_bytes);
}

TEST_CASE("a transaction of a group is held to what those before it in the group have made") {
  store_options o = small();
  o.memory_limit_bytes = std::size_t{2} << 20;
  store s = store::make(o).value();
  constexpr vertex count = 20'000;
  transaction tx = s.begin().value();
  REQUIRE(tx.add_vertices(count).value() == 0);
  REQUIRE(tx.commit());
  std::vector<transaction> group;
  for (property_key first : {property_key{0}, property_key{15}, property_key{0}}) {
    group.push_back(s.begin().value());
    for (property_key key = 0; key < 15; ++key)
      REQUIRE(
          group.back().set_property(group.size() == 3 ? 0 : count - 1, static_cast<property_key>(first + key), 1.5));
  }
  const auto outcomes = s.commit_group(group);
  REQUIRE(outcomes.size() == 3);
  CHECK(outcomes[0]);
  CHECK(code_of(outcomes[1]) == errc::limit);
  CHECK(outcomes[2]);  // its columns are there by then
  CHECK(s.memory().in_use() <= o.memory_limit_bytes);
}

TEST_CASE("what a large commit needs for its sink is given back, and what a small one needs is kept") {
  memory_sink sink;
  store_options o = small();
  o.sink = &sink;
  store s = store::make(o).value();
  const auto add_some = [&s](vertex count) {
    transaction tx = s.begin().value();
    REQUIRE(tx.add_vertices(count));
    REQUIRE(tx.commit());
    return s.inside().changes_.capacity();
  };
  CHECK(add_some(1'000) >= 1'000);
  CHECK(add_some(300'000) == 0);
  CHECK(add_some(10) >= 10);
  CHECK(sink.commits.size() == 3);
}

TEST_CASE("what a large commit needs is given back where it is refused, too") {
  memory_sink sink;
  store_options o = small();
  o.sink = &sink;
  store s = store::make(o).value();
  constexpr vertex count = 800;
  transaction first = s.begin().value();
  REQUIRE(first.add_vertices(count).value() == 0);
  REQUIRE(first.commit());
  std::vector<arc> none;
  for (vertex v = 0; v < count * count; ++v) none.push_back({v / count, v % count});
  transaction less = s.begin().value();
  REQUIRE(less.remove_arcs(0, none));
  CHECK(code_of(less.commit()) == errc::not_found);
  CHECK(s.inside().found_.capacity() == 0);
  transaction more = s.begin().value();
  REQUIRE(more.add_vertices(300'000));
  sink.fail_append = true;
  CHECK(code_of(more.commit()) == errc::no_space);
  CHECK(s.inside().changes_.capacity() == 0);
}

TEST_CASE("the first deletion in a large block costs its ends and a mark, which are history") {
  store s = store::make(small()).value();
  transaction tx = s.begin().value();
  const vertex first = tx.add_vertices(101).value();
  for (vertex v = 1; v <= 100; ++v) REQUIRE(tx.add_arc(0, first, first + v));
  REQUIRE(tx.commit());
  std::vector<std::size_t> grew;
  for (const vertex v : {7U, 8U, 9U}) {
    const std::size_t before = s.memory().history;
    transaction less = s.begin().value();
    REQUIRE(less.remove_arc(0, first, first + v));
    REQUIRE(less.commit());
    grew.push_back(s.memory().history - before);
  }
  CHECK(grew[2] == grew[1]);  // the closed version at the arc's other end
  CHECK(grew[0] - grew[1] == 512 + 32);
}
