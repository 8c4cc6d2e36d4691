#include "core/report_text.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

std::string json(std::string_view words) {
  std::string s;
  karyon::detail::append_json_string(s, words);
  return s;
}

std::string escaped(std::string_view words) {
  std::string s;
  karyon::detail::append_escaped(s, words);
  return s;
}

using pairs = std::vector<std::pair<std::string, std::string>>;
using namespace std::string_literals;

}  // namespace

TEST_CASE("a string of JSON keeps valid UTF-8 and escapes quotes, backslashes and control characters") {
  const pairs expected{{"", R"("")"},
                       {"plain", R"("plain")"},
                       {R"(say "a\b")", R"("say \"a\\b\"")"},
                       {"a\nb\tc\rd\be\ff", R"("a\nb\tc\rd\be\ff")"},
                       {"\x01\x1f\x7f"s, "\"\\u0001\\u001f\\u007f\""},
                       {"a\0b"s, R"("a\u0000b")"},
                       {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf",
                        "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\""}};
  for (const auto& [words, text] : expected) CHECK(json(words) == text);
}

TEST_CASE("in a string of JSON each maximal part of a broken character becomes one replacement character") {
  const std::string r = "\xef\xbf\xbd";
  const pairs expected{{"\x80", r},                          // a continuation alone
                       {"\xff\xfe", r + r},                  // never in UTF-8
                       {"\xc0\xaf", r + r},                  // overlong
                       {"\xe0\x80\xaf", r + r + r},          // overlong
                       {"\xed\xa0\x80", r + r + r},          // a surrogate
                       {"\xf4\x90\x80\x80", r + r + r + r},  // beyond U+10FFFF
                       {"\xe2\x82", r},                      // cut off at the end
                       {"\xf0\x9f\x98x", r + "x"},           // cut off by another
                       {"\xf0\x9f\x98\xe2\x82\xac", r + "\xe2\x82\xac"},
                       {"\xc3\"", r + "\\\""}};
  for (const auto& [words, text] : expected) CHECK(json(words) == "\"" + text + "\"");
}

TEST_CASE("words in a line of text stay one line, and say which bytes were not text") {
  const pairs expected{{"plain \"quoted\"", "plain \"quoted\""},
                       {"one\ntwo\r\n", R"(one\ntwo\r\n)"},
                       {"\x1b[31mred", R"(\x1b[31mred)"},
                       {R"(C:\new)", R"(C:\\new)"},
                       {"\xe2\x82\xac \xe2\x82 \xff", "\xe2\x82\xac \\xe2\\x82 \\xff"},
                       {"a\0b"s, R"(a\x00b)"}};
  for (const auto& [words, text] : expected) CHECK(escaped(words) == text);
}

TEST_CASE("large numbers are grouped by thousands") {
  CHECK(karyon::detail::with_thousands(0) == "0");
  CHECK(karyon::detail::with_thousands(999) == "999");
  CHECK(karyon::detail::with_thousands(1000) == "1,000");
  CHECK(karyon::detail::with_thousands(12'345'678) == "12,345,678");
  CHECK(karyon::detail::with_thousands(~std::uint64_t{0}) == "18,446,744,073,709,551,615");
}

TEST_CASE("an object of JSON has its fields in the order given, nested ones too") {
  std::string text;
  karyon::detail::json_object o(text);
  o.text("a", "x\"y").number("b", 7).boolean("c", true).key("d");
  karyon::detail::json_object inner(text);
  inner.boolean("e", false).close();
  o.number("f", 0).close();
  CHECK(text == R"({"a":"x\"y","b":7,"c":true,"d":{"e":false},"f":0})");
  std::string empty;
  karyon::detail::json_object(empty).close();
  CHECK(empty == "{}");
}
