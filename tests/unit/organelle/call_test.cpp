// SPDX-License-Identifier: Apache-2.0
#include <thread>
#include <vector>

#include "organelle_testing.hpp"

namespace {

using namespace karyon;
using namespace karyon::tests;

handle new_tally(const organelle& tally, std::string_view name) {
  return tally.function("new").value()(name).now()->get<handle>().value();
}

}  // namespace

TEST_CASE("values go to an organelle and come back") {
  const organelle tally = load_tally();
  const handle t = new_tally(tally, "a");
  CHECK(t.type_name() == "tally");
  const auto add = tally.function("add").value();
  CHECK(add(t, 40).now()->get<std::int64_t>().value() == 40);
  CHECK(add(t, 2U).now()->get<std::int64_t>().value() == 42);
  const auto many = tally.function("many").value()(10).now();
  REQUIRE(many);
  REQUIRE(many->size() == 10);
  CHECK(many->get<std::int64_t>(9).value() == 9);
  CHECK(many->get_if<double>(9) == nullptr);
  CHECK(many->get<std::int64_t>(10).error().code() == errc::invalid_argument);
  CHECK(tally.function("many").value()(0).now()->empty());
}

TEST_CASE("what does not fit a function's parameters is refused with a sentence before it is called") {
  const organelle tally = load_tally();
  const handle t = new_tally(tally, "a");
  const auto add = tally.function("add").value();
  const auto refused = [](const organelle_result& r) {
    return !r && r.error().status() == KARYON_INVALID_ARGUMENT && r.error().code() == errc::invalid_argument;
  };
  CHECK(refused(add(t).now()));
  CHECK(refused(add(t, 1, 2).now()));
  CHECK(refused(add(1, t).now()));
  CHECK(refused(add(handle(), 1).now()));
  CHECK(refused(add(t, ~std::uint64_t{0}).now()));
  CHECK(refused(tally.function("squares").value()(-1).now()));
  CHECK(add(t, 1.5).now().error().message() ==
        "add: argument 2 is a floating-point number, and must be a signed number");
  CHECK(refused(add(tally.function("squares").value()(3).now()->get<columns>()->owner(), 1).now()));
  const auto name_of = tally.function("name_of").value();
  CHECK(name_of(t).now());
  CHECK(name_of(t, std::monostate()).now());
  CHECK(name_of(t, "text").now());
  CHECK(refused(name_of(t, 1).now()));
}

TEST_CASE("an organelle's error comes with its status, its words and a code") {
  const organelle tally = load_tally();
  const auto fail = tally.function("fail").value();
  const auto r = fail(KARYON_CONFLICT).now();
  REQUIRE_FALSE(r);
  CHECK(r.error().status() == KARYON_CONFLICT);
  CHECK(r.error().code() == errc::refused);
  CHECK(r.error().message() == "as you wish");
  CHECK(fail(KARYON_NOT_FOUND).now().error().code() == errc::not_found);
  CHECK(fail(77).now().error().status() == KARYON_INTERNAL);
  CHECK(tally.function("stuck").value()().now().error().status() == KARYON_INTERNAL);
}

TEST_CASE("an object lives as long as its last handle, wherever that is") {
  const organelle tally = load_tally();
  const auto living = tally.function("seen").value();
  handle t = new_tally(tally, "a");
  std::vector<handle> copies(8, t);
  CHECK(t.use_count() == 9);
  std::vector<std::thread> threads;
  for (handle& h : copies) {
    threads.emplace_back([mine = std::move(h)]() mutable {
      for (int i = 0; i < 1000; ++i) {
        handle copy = mine;
        mine = std::move(copy);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  threads.clear();
  copies.clear();
  CHECK(t.use_count() == 1);
  CHECK(seen(living, 0) == 1);
  t.reset();
  CHECK(seen(living, 0) == 0);
}

TEST_CASE("a slice of a view copies nothing and keeps the object alive") {
  const organelle tally = load_tally();
  const auto living = tally.function("seen").value();
  view slice;
  {
    const handle t = new_tally(tally, "temporal graph");
    const view whole = tally.function("name").value()(t).now()->get<view>().value();
    CHECK(whole.text() == "temporal graph");
    slice = whole.slice(9).slice(0, 4);
    CHECK(slice.data() == whole.data() + 9);
  }
  CHECK(slice.text() == "grap");
  CHECK(seen(living, 0) == 1);
  CHECK(slice.slice(100).empty());
  CHECK(slice.slice(2, 100).text() == "ap");
  slice = view();
  CHECK(seen(living, 0) == 0);
}

TEST_CASE("a container given to a view stays where it is") {
  std::vector<std::uint32_t> numbers = {1, 2, 3};
  const void* const at = numbers.data();
  const view v = view::of(std::move(numbers));
  CHECK(v.data() == at);
  CHECK(v.elements<std::uint32_t>().size() == 3);
  CHECK(v.slice(4).elements<std::uint32_t>()[0] == 2);
  CHECK(v.slice(1).elements<std::uint32_t>().empty());  // not aligned
}

TEST_CASE("columns are read in place, and released with their last owner") {
  const organelle tally = load_tally();
  const auto living = tally.function("seen").value();
  {
    const columns c = tally.function("squares").value()(5U).now()->get<columns>().value();
    REQUIRE(c.rows() == 5);
    CHECK(std::string_view(c.schema()->format) == "l");
    CHECK(static_cast<const std::int64_t*>(c.array()->buffers[1])[4] == 16);
    CHECK(seen(living, 0) == 1);
  }
  CHECK(seen(living, 0) == 0);
}

TEST_CASE("a call outside of cells goes through all parts of a result") {
  const organelle tally = load_tally();
  const auto parts = tally.function("count").value()(5U, 2U).now();
  REQUIRE(parts);
  REQUIRE(parts->size() == 3);
  CHECK(parts->get<std::int64_t>(2).value() == 6);
  CHECK(seen(tally.function("seen").value(), 0) == 0);  // its cursor is gone
}

TEST_CASE("only a call that a cell makes can be watched") {
  const organelle tally = load_tally();
  const handle t = new_tally(tally, "a");
  CHECK(tally.function("watch").value()(t).now().error().code() == errc::unsupported);
}
