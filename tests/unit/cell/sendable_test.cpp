// SPDX-License-Identifier: Apache-2.0
#include <karyon/cell/sendable.hpp>

#include <any>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

#include <karyon/core/result.hpp>

#include "support/catch.hpp"

// The check happens at compile time, and so does its test; the cases below only group it under sentences. A
// static_assert that fails stops the build, which is the failure of this test.
namespace {

using karyon::is_sendable;
using karyon::detail::fields_of;
using karyon::detail::not_decomposable;
using karyon::detail::obstacle;
using karyon::detail::type_list;

template <class T>
inline constexpr obstacle reason = decltype(karyon::detail::judge<T>())::why;

struct question {};
struct amount {
  std::int64_t value;
};
enum class colour { red, green };

// A class without a default value, like a reference to a cell.
class handle {
public:
  explicit handle(int id) noexcept : id_(id) {}
  [[nodiscard]] int id() const noexcept { return id_; }

private:
  int id_;
};

struct explicit_default {
  explicit explicit_default() {}
  int x = 0;
};

template <class T>
struct holds {
  int before;
  T it;
  std::string after;
};

template <class T>
struct nests {
  std::vector<std::optional<holds<T>>> inner;
};

struct arrays {
  int numbers[3];
  char letter;
  double matrix[2][2];
  amount amounts[2];
};
struct text_block {
  char text[1024];
  std::uint16_t size;
};
struct rich {
  std::string name;
  std::vector<int> numbers;
  std::optional<int> maybe;
  std::unique_ptr<int> owned;
  std::array<int, 4> four;
  tl::expected<int, std::string> outcome;
  std::variant<int, std::string> either;
  std::any anything;
  std::tuple<int> one;
  std::pair<int, int> two;
};
struct no_defaults {
  handle first;
  int pair[2];
  std::optional<int> maybe;
  handle both[2];
  std::string name;
  amount nested;
  question nothing;
};
struct defaults {
  int a = 3;
  const int b = 4;
  std::string s{"x"};
  colour c = colour::red;
};
struct bits {
  unsigned low : 1;
  unsigned high : 3;
  bool flag;
};
struct unwritable {
  explicit_default odd;
  int y;
};
struct tag {};
struct tagged : tag {
  int x;
};
struct derived : amount {
  int y;
};
struct sixteen {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p;
};
struct seventeen {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct tree {
  int value;
  std::vector<tree> children;
  std::unique_ptr<tree> twin;
};
struct poisoned_tree {
  std::vector<poisoned_tree> children;
  int* value;
};
struct dispatch {
  void (*function)(int);
  int amount::*unused;
  std::int64_t amount::*member;
};
union either {
  int a;
  float b;
};
struct throws_on_move {
  throws_on_move() = default;
  throws_on_move(const throws_on_move&) {}
};
struct incomplete;
struct trusted_pointer {
  int* p;
};
struct forbidden {
  int id;
};
class comparer {
public:
  bool operator()(int, int) const { return false; }

private:
  [[maybe_unused]] int x_ = 0;
};
using stateful_set = std::set<int, comparer>;
struct unique_with_reference {
  std::unique_ptr<int, std::default_delete<int>&> p;
};

}  // namespace

template <>
inline constexpr bool karyon::enable_sendable<trusted_pointer> = true;
template <>
inline constexpr bool karyon::enable_sendable<forbidden> = false;

TEST_CASE("the fields of an aggregate are found with their declared types") {
  using std::is_same_v;
  STATIC_REQUIRE(is_same_v<fields_of<question>, type_list<>>);
  STATIC_REQUIRE(is_same_v<fields_of<amount>, type_list<std::int64_t>>);
  STATIC_REQUIRE(is_same_v<fields_of<defaults>, type_list<int, const int, std::string, colour>>);
  STATIC_REQUIRE(is_same_v<fields_of<bits>, type_list<unsigned, unsigned, bool>>);
  STATIC_REQUIRE(is_same_v<fields_of<tagged>, type_list<int>>);
  STATIC_REQUIRE(is_same_v<fields_of<unwritable>, type_list<explicit_default, int>>);
  STATIC_REQUIRE(is_same_v<fields_of<holds<int&>>, type_list<int, int&, std::string>>);
}

TEST_CASE("an array counts as one field, whatever it is an array of") {
  using std::is_same_v;
  STATIC_REQUIRE(is_same_v<fields_of<arrays>, type_list<int[3], char, double[2][2], amount[2]>>);
  STATIC_REQUIRE(is_same_v<fields_of<text_block>, type_list<char[1024], std::uint16_t>>);
}

TEST_CASE("fields that convert from much or have no default are counted once") {
  using std::is_same_v;
  STATIC_REQUIRE(is_same_v<fields_of<rich>,
                           type_list<std::string, std::vector<int>, std::optional<int>, std::unique_ptr<int>,
                                     std::array<int, 4>, tl::expected<int, std::string>, std::variant<int, std::string>,
                                     std::any, std::tuple<int>, std::pair<int, int>>>);
  STATIC_REQUIRE(is_same_v<fields_of<no_defaults>,
                           type_list<handle, int[2], std::optional<int>, handle[2], std::string, amount, question>>);
}

TEST_CASE("plain values are sendable") {
  STATIC_REQUIRE(is_sendable<int>);
  STATIC_REQUIRE(is_sendable<bool>);
  STATIC_REQUIRE(is_sendable<colour>);
  STATIC_REQUIRE(is_sendable<std::nullptr_t>);
  STATIC_REQUIRE(is_sendable<question>);
  STATIC_REQUIRE(is_sendable<amount>);
  STATIC_REQUIRE(is_sendable<handle>);
  STATIC_REQUIRE(is_sendable<std::string>);
  STATIC_REQUIRE(is_sendable<std::chrono::milliseconds>);
  STATIC_REQUIRE(is_sendable<std::chrono::steady_clock::time_point>);
  STATIC_REQUIRE(is_sendable<no_defaults>);
  STATIC_REQUIRE(is_sendable<defaults>);
  STATIC_REQUIRE(is_sendable<bits>);
  STATIC_REQUIRE(is_sendable<arrays>);
  STATIC_REQUIRE(is_sendable<text_block>);
  STATIC_REQUIRE(is_sendable<tagged>);
  STATIC_REQUIRE(is_sendable<sixteen>);
  STATIC_REQUIRE(is_sendable<karyon::error>);
  STATIC_REQUIRE(is_sendable<karyon::result<int>>);
}

TEST_CASE("containers and owning pointers of plain values are sendable") {
  STATIC_REQUIRE(is_sendable<std::vector<std::string>>);
  STATIC_REQUIRE(is_sendable<std::map<int, std::vector<amount>>>);
  STATIC_REQUIRE(is_sendable<std::unordered_map<std::string, int>>);
  STATIC_REQUIRE(is_sendable<std::optional<amount>>);
  STATIC_REQUIRE(is_sendable<std::variant<int, std::string, amount>>);
  STATIC_REQUIRE(is_sendable<std::tuple<int, std::string>>);
  STATIC_REQUIRE(is_sendable<std::pair<int, amount>>);
  STATIC_REQUIRE(is_sendable<std::array<char, 65536>>);
  STATIC_REQUIRE(is_sendable<tl::expected<int, std::string>>);
  STATIC_REQUIRE(is_sendable<stateful_set>);
  STATIC_REQUIRE(is_sendable<std::unique_ptr<amount>>);
  STATIC_REQUIRE(is_sendable<std::unique_ptr<int[]>>);
  STATIC_REQUIRE(is_sendable<std::unique_ptr<int, void (*)(int*)>>);
  STATIC_REQUIRE(is_sendable<std::shared_ptr<const std::string>>);
  STATIC_REQUIRE(is_sendable<std::shared_ptr<const int[]>>);
}

TEST_CASE("a type that contains itself through a container ends the look") {
  STATIC_REQUIRE(is_sendable<tree>);
  STATIC_REQUIRE(reason<poisoned_tree> == obstacle::pointer);
}

TEST_CASE("pointers to functions and to members reach no data and are sendable") {
  STATIC_REQUIRE(is_sendable<void (*)(int)>);
  STATIC_REQUIRE(is_sendable<dispatch>);
}

TEST_CASE("a raw pointer is refused wherever it hides") {
  STATIC_REQUIRE(reason<int*> == obstacle::pointer);
  STATIC_REQUIRE(reason<void*> == obstacle::pointer);
  STATIC_REQUIRE(reason<const char*> == obstacle::pointer);
  STATIC_REQUIRE(reason<incomplete*> == obstacle::pointer);
  STATIC_REQUIRE(reason<holds<int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<holds<int* [3]>> == obstacle::pointer);
  STATIC_REQUIRE(reason<holds<int* const>> == obstacle::pointer);
  STATIC_REQUIRE(reason<nests<const char*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::vector<int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::map<int*, int>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::map<int, int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::optional<int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::variant<int, int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::tuple<int, std::pair<int, int*>>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::array<int*, 2>> == obstacle::pointer);
  STATIC_REQUIRE(reason<tl::expected<int*, int>> == obstacle::pointer);
  STATIC_REQUIRE(reason<tl::expected<int, int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::unique_ptr<int*>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::shared_ptr<int* const>> == obstacle::pointer);
  STATIC_REQUIRE(reason<std::coroutine_handle<>> == obstacle::pointer);
}

TEST_CASE("references are refused") {
  STATIC_REQUIRE(reason<int&> == obstacle::reference);
  STATIC_REQUIRE(reason<int&&> == obstacle::reference);
  STATIC_REQUIRE(reason<holds<int&>> == obstacle::reference);
  STATIC_REQUIRE(reason<holds<std::string&>> == obstacle::reference);
  STATIC_REQUIRE(reason<std::tuple<int&>> == obstacle::reference);
  STATIC_REQUIRE(reason<unique_with_reference> == obstacle::reference);
  STATIC_REQUIRE_FALSE(is_sendable<holds<const int&>>);
  STATIC_REQUIRE_FALSE(is_sendable<holds<int&&>>);
}

TEST_CASE("views of memory that the signal does not own are refused") {
  STATIC_REQUIRE(reason<std::string_view> == obstacle::view);
  STATIC_REQUIRE(reason<std::span<int>> == obstacle::view);
  STATIC_REQUIRE(reason<std::span<const int, 4>> == obstacle::view);
  STATIC_REQUIRE(reason<std::initializer_list<int>> == obstacle::view);
  STATIC_REQUIRE(reason<std::reference_wrapper<int>> == obstacle::view);
  STATIC_REQUIRE(reason<std::vector<int>::iterator> == obstacle::view);
  STATIC_REQUIRE(reason<std::list<int>::const_iterator> == obstacle::view);
  STATIC_REQUIRE(reason<holds<std::string_view>> == obstacle::view);
  STATIC_REQUIRE(reason<nests<std::span<const char>>> == obstacle::view);
}

TEST_CASE("state that sender and receiver would share is refused") {
  STATIC_REQUIRE(reason<std::shared_ptr<int>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::weak_ptr<const int>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::atomic<int>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::mutex> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::unique_lock<std::mutex>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::condition_variable> == obstacle::shared_state);
  STATIC_REQUIRE(reason<holds<std::mutex>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::unique_ptr<std::atomic<int>>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<nests<std::shared_ptr<std::string>>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::shared_ptr<const holds<std::shared_ptr<int>>>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<std::pmr::vector<int>> == obstacle::shared_state);
  STATIC_REQUIRE(reason<holds<std::pmr::string>> == obstacle::shared_state);
}

TEST_CASE("what could hide a pointer is refused") {
  int x = 0;
  auto by_reference = [&x] { return x; };
  auto by_value = [x](int y) mutable { return x += y; };
  STATIC_REQUIRE(reason<decltype(by_reference)> == obstacle::type_erased);
  STATIC_REQUIRE(reason<decltype(by_value)> == obstacle::type_erased);
  STATIC_REQUIRE(reason<holds<decltype(by_value)>> == obstacle::type_erased);
  STATIC_REQUIRE(reason<std::function<void()>> == obstacle::type_erased);
  STATIC_REQUIRE(reason<std::any> == obstacle::type_erased);
  STATIC_REQUIRE(reason<either> == obstacle::not_visible);
  STATIC_REQUIRE(reason<derived> == obstacle::not_visible);
  STATIC_REQUIRE(reason<seventeen> == obstacle::not_visible);
  STATIC_REQUIRE(reason<std::unique_ptr<incomplete>> == obstacle::not_visible);
  STATIC_REQUIRE(reason<std::shared_ptr<const void>> == obstacle::not_visible);
  auto without_captures = [](int y) { return y; };
  STATIC_REQUIRE(is_sendable<decltype(without_captures)>);
  CHECK(by_reference() + by_value(1) + without_captures(0) == 1);
}

TEST_CASE("a signal is a movable value without qualifiers") {
  STATIC_REQUIRE_FALSE(is_sendable<throws_on_move>);
  STATIC_REQUIRE_FALSE(is_sendable<holds<throws_on_move>>);
  STATIC_REQUIRE_FALSE(is_sendable<const int>);
  STATIC_REQUIRE_FALSE(is_sendable<volatile int>);
  STATIC_REQUIRE_FALSE(is_sendable<int[3]>);
  STATIC_REQUIRE(reason<void> == obstacle::not_a_value);
  STATIC_REQUIRE(reason<void(int)> == obstacle::not_a_value);
  STATIC_REQUIRE(reason<int[]> == obstacle::not_a_value);
}

TEST_CASE("a type's author has the last word") {
  STATIC_REQUIRE(is_sendable<trusted_pointer>);
  STATIC_REQUIRE(is_sendable<std::vector<trusted_pointer>>);
  STATIC_REQUIRE(reason<forbidden> == obstacle::opted_out);
  STATIC_REQUIRE(reason<nests<forbidden>> == obstacle::opted_out);
}
