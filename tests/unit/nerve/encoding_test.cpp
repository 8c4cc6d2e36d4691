#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <karyon/nerve/signal.hpp>

#include "nerve/node_hello.hpp"
#include "nerve/payload.hpp"
#include "support/catch.hpp"

namespace encoding_tests {

enum class colour : std::uint8_t { red, green };

struct inner {
  std::string name;
  std::optional<double> weight;
  friend bool operator==(const inner&, const inner&) = default;
};

struct branch {
  std::string name;
  std::vector<branch> below;
  friend bool operator==(const branch&, const branch&) = default;
};

struct everything {
  bool yes = false;
  std::int8_t small = 0;
  std::uint64_t large = 0;
  float single = 0;
  double real = 0;
  double zero = 0;
  colour shade = colour::red;
  std::string text;
  std::vector<std::byte> bytes;
  std::array<std::int16_t, 3> three{};
  std::map<std::string, std::vector<int>> by_name;
  std::set<int> some;
  std::variant<int, std::string, inner> one_of;
  std::pair<int, inner> both;
  std::chrono::milliseconds period{0};
  std::unique_ptr<inner> owned;
};
KARYON_SIGNAL(everything, yes, small, large, single, real, zero, shade, text, bytes, three, by_name, some, one_of, both,
              period, owned)

struct tree {
  branch root;
};
KARYON_SIGNAL(tree)

struct position {
  std::int32_t x = 0;
  std::int32_t y = 0;
  double height = 0;
};
KARYON_SIGNAL(position, x, y, height)

struct upside_down {
  double height = 0;
  std::int32_t y = 0;
  std::int32_t x = 0;
};
KARYON_SIGNAL(upside_down, x, y, height)

struct with_gap {
  std::int8_t a = 0;
  std::int64_t b = 0;
};
KARYON_SIGNAL(with_gap, a, b)

struct reasons {
  karyon::exit_reason why;
  karyon::result<int> number = 0;
};
KARYON_SIGNAL(reasons, why, number)

struct empties {
  struct nothing {};
  std::vector<nothing> many;
  std::map<int, nothing> keys;
};
KARYON_SIGNAL(empties, many, keys)

}  // namespace encoding_tests

using namespace encoding_tests;
using karyon::detail::goes_raw;
using karyon::detail::payload_reader;
using karyon::detail::payload_writer;
using karyon::detail::unreadable;
using karyon::detail::wire_type_of;

static_assert(goes_raw<position> && goes_raw<upside_down>);
static_assert(!goes_raw<with_gap>);  // what lies in the gap is no part of the value
static_assert(!goes_raw<tree>);
static_assert(karyon::detail::is_declared<tree> && !karyon::detail::is_declared<inner>);
static_assert(!karyon::detail::can_cross<void*>());

namespace {

struct no_cells final : karyon::detail::handle_map {
  bool to_wire(const karyon::detail::address&, bool, karyon::detail::wire_handle&) override { return false; }
  bool from_wire(const karyon::detail::wire_handle&, karyon::detail::address&, bool&,
                 const karyon::detail::class_info*) override {
    return false;
  }
};

template <class T>
std::vector<std::byte> written(const T& v) {
  no_cells cells;
  payload_writer w;
  w.begin(cells, 1 << 20);
  karyon::detail::write_payload(w, v);
  const auto bytes = w.finish();
  REQUIRE_FALSE(w.failed());
  return {bytes.begin(), bytes.end()};
}

template <class T>
unreadable why_not(std::span<const std::byte> bytes, T& v, const karyon::detail::payload_limits& limits = {}) {
  no_cells cells;
  payload_reader r;
  r.begin(bytes, cells, limits);
  const bool read = karyon::detail::read_payload(r, v);
  if (read && r.complete()) return unreadable::none;
  CHECK(r.why() != unreadable::none);  // there is always a reason
  return r.why();
}

everything sample() {
  everything e;
  e.yes = true;
  e.small = -7;
  e.large = ~std::uint64_t{0};
  e.single = 0.5F;
  e.real = -1.25e100;
  e.zero = -0.0;
  e.shade = colour::green;
  e.text = std::string("with a \0 in it", 14);
  e.bytes = {std::byte{1}, std::byte{255}};
  e.three = {1, -2, 3};
  e.by_name = {{"a", {1, 2}}, {"b", {}}};
  e.some = {5, -5};
  e.one_of = inner{"chosen", 2.5};
  e.both = {9, inner{"second", std::nullopt}};
  e.period = std::chrono::milliseconds(1500);
  e.owned = std::make_unique<inner>(inner{"owned", 1.0});
  return e;
}

}  // namespace

TEST_CASE("what is written is read again, whatever it is made of") {
  const everything sent = sample();
  everything got;
  REQUIRE(why_not(written(sent), got) == unreadable::none);
  CHECK(got.yes);
  CHECK(got.small == -7);
  CHECK(got.large == ~std::uint64_t{0});
  CHECK(got.single == 0.5F);
  CHECK(got.real == -1.25e100);
  CHECK(std::signbit(got.zero));
  CHECK(got.shade == colour::green);
  CHECK(got.text == sent.text);
  CHECK(got.bytes == sent.bytes);
  CHECK(got.three == sent.three);
  CHECK(got.by_name == sent.by_name);
  CHECK(got.some == sent.some);
  CHECK(got.one_of == sent.one_of);
  CHECK(got.both == sent.both);
  CHECK(got.period == sent.period);
  REQUIRE(got.owned != nullptr);
  CHECK(*got.owned == *sent.owned);

  const tree t{{"root", {{"left", {}}, {"right", {{"leaf", {}}}}}}};
  tree again;
  REQUIRE(why_not(written(t), again) == unreadable::none);
  CHECK(again.root == t.root);

  reasons r{karyon::exit_reason::error("std::logic_error", "no"), karyon::fail(karyon::errc::not_found, "none")};
  reasons other;
  REQUIRE(why_not(written(r), other) == unreadable::none);
  CHECK(other.why == r.why);
  CHECK(other.number == r.number);
}

TEST_CASE("a signal of plain numbers goes as it lies in memory") {
  const position p{3, -4, 0.5};
  const auto bytes = written(p);
  CHECK(bytes.size() == sizeof(position));
  position got;
  REQUIRE(why_not(bytes, got) == unreadable::none);
  CHECK(got.x == 3);
  CHECK(got.y == -4);
  CHECK(got.height == 0.5);
  CHECK(why_not(std::span(bytes).first(bytes.size() - 1), got) == unreadable::malformed);
}

TEST_CASE("a payload that is cut off anywhere, or goes on, is not read") {
  const auto bytes = written(sample());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    everything got;
    CAPTURE(n);
    REQUIRE(why_not(std::span(bytes).first(n), got) != unreadable::none);
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  everything got;
  CHECK(why_not(longer, got) == unreadable::malformed);
}

TEST_CASE("a payload with any bit changed is read as another value or not at all") {
  const auto bytes = written(sample());
  std::size_t read = 0;
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    auto changed = bytes;
    changed[bit / 8] ^= std::byte(1U << (bit % 8));
    everything got;
    if (why_not(changed, got) == unreadable::none) ++read;
  }
  CHECK(read < 8 * bytes.size());  // some bits are of numbers and texts, others are not
}

TEST_CASE("random bytes are no payload that takes memory or time") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes(random() % 64);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    if (!bytes.empty() && i % 2 == 0) bytes[0] = static_cast<std::byte>(0x90 + random() % 16);  // an array, at least
    everything got;
    static_cast<void>(why_not(bytes, got));
    tree t;
    static_cast<void>(why_not(bytes, t));
  }
}

TEST_CASE("a list that says it is longer than its frame is not begun") {
  no_cells cells;
  payload_writer w;
  w.begin(cells, 1000);
  w.natural(std::uint64_t{1} << 40);
  const auto bytes = w.finish();
  tree t;
  everything e;
  payload_reader r;
  r.begin(bytes, cells);
  std::vector<int> numbers;
  CHECK_FALSE(karyon::detail::wire_read(r, numbers));
  CHECK(r.why() == unreadable::too_much);
  CHECK(numbers.capacity() == 0);
  // Also where elements take nothing in the frame.
  empties many;
  CHECK(why_not(bytes, many) == unreadable::too_much);
  CHECK(many.many.empty());
}

TEST_CASE("values that take nothing in a frame are read again") {
  empties sent;
  sent.many.resize(3);
  for (int i = 0; i < 5; ++i) sent.keys[i] = {};
  empties got;
  REQUIRE(why_not(written(sent), got) == unreadable::none);
  CHECK(got.many.size() == 3);
  CHECK(got.keys.size() == 5);
}

TEST_CASE("a small frame can not claim millions of values that take nothing in it") {
  empties sent;
  sent.many.resize(65'537);
  empties got;
  CHECK(why_not(written(sent), got) == unreadable::too_much);
  CHECK(got.many.capacity() == 0);
}

TEST_CASE("values within values are read to a limit of depth") {
  branch b{"leaf", {}};
  for (int i = 0; i < 40; ++i) {
    std::vector<branch> below;
    below.push_back(std::move(b));
    b = branch{"node", std::move(below)};
  }
  const auto bytes = written(tree{b});
  tree got;
  CHECK(why_not(bytes, got) == unreadable::too_deep);
  CHECK(why_not(bytes, got, {.depth = 64}) == unreadable::none);
}

TEST_CASE("a value of another type, or beyond its type's range, is not read") {
  no_cells cells;
  payload_writer w;
  w.begin(cells, 1000);
  w.text("words");
  payload_reader r;
  r.begin(w.finish(), cells);
  std::int32_t number = 0;
  CHECK_FALSE(karyon::detail::wire_read(r, number));
  CHECK(r.why() == unreadable::wrong_type);

  w.begin(cells, 1000);
  w.integer(300);
  std::int8_t small = 0;
  r.begin(w.finish(), cells);
  CHECK_FALSE(karyon::detail::wire_read(r, small));
  CHECK(r.why() == unreadable::out_of_range);

  w.begin(cells, 1000);
  w.natural(7);
  w.natural(1);
  std::variant<int, bool> one_of;
  r.begin(w.finish(), cells);
  CHECK_FALSE(karyon::detail::wire_read(r, one_of));
  CHECK(r.why() == unreadable::out_of_range);
}

TEST_CASE("what does not fit is refused before it is copied") {
  no_cells cells;
  payload_writer w;
  w.begin(cells, 100);
  w.text(std::string(99, 'x'));
  CHECK(w.finish().empty());
  CHECK(w.failed());
}

TEST_CASE("a type is told by its name, and the names and types of its fields") {
  CHECK(wire_type_of<position>().name == "encoding_tests::position");
  CHECK(wire_type_of<position>().text == "{int32 x, int32 y, float64 height}");
  // The same list as that of position, but the bytes lie otherwise: not to be taken for it.
  CHECK(wire_type_of<upside_down>().text == "{int32 x, int32 y, float64 height} at bytes 12 8 0");
  CHECK(karyon::detail::schema_of<upside_down>() != karyon::detail::schema_of<position>());
  CHECK(wire_type_of<tree>().text == "{{text, [encoding_tests::branch]}}");
  CHECK(wire_type_of<reasons>().text == "{exit_reason why, result<int32, error> number}");
}

TEST_CASE("a type that two nodes declare differently is refused by name, and the others are not") {
  const karyon::detail::wire_type& here = wire_type_of<position>();
  const std::vector<karyon::detail::greeted_type> there{
      {"encoding_tests::position", "{int32 x, int32 y}", 1},
      {"theirs::alone", "{}", 2},
      {std::string(wire_type_of<tree>().name), wire_type_of<tree>().text, wire_type_of<tree>().schema}};
  const auto both = karyon::detail::compare_types(karyon::detail::listed_wire_types(), there);
  REQUIRE(both.differences.size() == 1);
  CHECK(both.differences.front() ==
        "signal encoding_tests::position: here {int32 x, int32 y, float64 height}, there {int32 x, int32 y}");
  CHECK_FALSE(both.they_have(here));
  CHECK(both.from_them(1) == nullptr);
  CHECK(both.from_them(2) == nullptr);
  CHECK(both.from_them(3) == &wire_type_of<tree>());
  CHECK(both.from_them(4) == nullptr);
  CHECK(both.from_them(0) == nullptr);
  CHECK(both.they_have(wire_type_of<tree>()));
}

TEST_CASE("a greeting is read as it was written, and nothing else is one") {
  const auto hello = karyon::detail::write_node_hello("alpha").value();
  const auto g = karyon::detail::read_node_hello(hello).value();
  CHECK(g.node == "alpha");
  CHECK(g.types.size() == karyon::detail::listed_wire_types().size());
  for (std::size_t n = 0; n < hello.size(); n += 7) {
    CHECK_FALSE(karyon::detail::read_node_hello(std::span(hello).first(n)).has_value());
  }
}
