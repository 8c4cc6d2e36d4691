// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/scanner.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using karyon::tools::identifier_use;
using karyon::tools::scanner;
using namespace std::string_literals;

using uses = std::vector<std::pair<std::string, unsigned>>;

uses scan(std::string_view text) {
  uses found;
  scanner s(text);
  identifier_use use;
  while (s.next(use)) found.emplace_back(std::string(use.name), use.line);
  CHECK_FALSE(s.next(use));  // the end is final
  return found;
}

std::vector<std::string> names(std::string_view text) {
  std::vector<std::string> found;
  for (auto& [name, line] : scan(text)) found.push_back(name);
  return found;
}

using list = std::vector<std::string>;

}  // namespace

TEST_CASE("identifiers are reported with the line they start on, in order") {
  CHECK(scan("alpha beta\n\n  gamma = alpha;\n") == uses{{"alpha", 1}, {"beta", 1}, {"gamma", 3}, {"alpha", 3}});
  CHECK(scan("").empty());
  CHECK(scan("last_without_newline") == uses{{"last_without_newline", 1}});
  CHECK(names("_ a1 $cash x_Y2 _Z9") == list{"_", "a1", "$cash", "x_Y2", "_Z9"});
}

TEST_CASE("keywords of C and C++ and of the compilers are no uses") {
  CHECK(names("static constexpr auto f(int x) noexcept -> decltype(x) { return x; }") == list{"f", "x", "x", "x"});
  CHECK(names("_Static_assert(1, \"\"); __attribute__((packed)) _Bool b; restrict and xor_eq") == list{"packed", "b"});
  CHECK(names("intx xint if_ _if While override final import") ==
        list{"intx", "xint", "if_", "_if", "While", "override", "final", "import"});
  CHECK(karyon::tools::is_keyword("reinterpret_cast"));
  CHECK_FALSE(karyon::tools::is_keyword("reinterpret_casts"));
  CHECK_FALSE(karyon::tools::is_keyword("i"));
  CHECK_FALSE(karyon::tools::is_keyword(""));
}

TEST_CASE("comments are skipped and counted in lines") {
  CHECK(scan("a // b c\nd /* e\n f\n*/ g") == uses{{"a", 1}, {"d", 2}, {"g", 4}});
  CHECK(names("a /* no /* nesting */ b") == list{"a", "b"});
  CHECK(names("a /**/ b /***/ c /* * / */ d /*/ e */ f") == list{"a", "b", "c", "d", "f"});
  CHECK(names("a / b /= c") == list{"a", "b", "c"});
  CHECK(scan("a // b \\\n still_comment\nc") == uses{{"a", 1}, {"c", 3}});
  CHECK(names("a /\\\n/ b\nc /\\\n* d *\\\n/ e") == list{"a", "c", "e"});
  CHECK(names("\"/*\" a /* \" */ b \"//\" c") == list{"a", "b", "c"});
}

TEST_CASE("a comment that never ends takes the rest of the text and no more time than that") {
  CHECK(names("a /* b c\n d") == list{"a"});
  CHECK(names("a // b") == list{"a"});
  CHECK(names("a /*") == list{"a"});
  CHECK(names("a /") == list{"a"});
  CHECK(names("a /\\") == list{"a"});
}

TEST_CASE("string and character literals are skipped, whatever they escape") {
  CHECK(names(R"(a "b\"c" d 'e' '\'' f "\\" g)") == list{"a", "d", "f", "g"});
  CHECK(names(R"(L"x" u"x" U"x" u8"x" L'x' u'x' U'x' u8'x' a)") == list{"a"});
  CHECK(names("\"a\\\nb\" c") == list{"c"});
  CHECK(scan("\"a\\\r\nb\" c") == uses{{"c", 2}});
  CHECK(names("\"x\\\\\nn y\" z") == list{"z"});  // lines are spliced first: this is one \n
}

TEST_CASE("the suffix of a string or character literal is a use, that of a number is none") {
  CHECK(names(R"("%"PRIu64 "x"_tag 'c'_c 10_km 0x1fULL 1.5e-3f a)") == list{"PRIu64", "_tag", "_c", "a"});
}

TEST_CASE("a literal that is not terminated ends with its line") {
  CHECK(scan("\"a b\nc") == uses{{"c", 2}});
  CHECK(scan("'a b\nc") == uses{{"c", 2}});
  CHECK(scan("#if 0\nit isn't code\n#endif\nd") == uses{{"it", 2}, {"isn", 2}, {"d", 4}});
  CHECK(names("\"").empty());
  CHECK(names("'").empty());
  CHECK(names("\"\\").empty());
  CHECK(names("L\"").empty());
}

TEST_CASE("raw strings end at their own delimiter only") {
  CHECK(names("R\"(a \" ) b)\" c") == list{"c"});
  CHECK(scan("R\"x(a )\" )y\" \n\\\n)x\" c") == uses{{"c", 3}});
  CHECK(names("u8R\"x(a)x\" LR\"(b)\" uR\"(c)\" UR\"(d)\" e") == list{"e"});
  CHECK(names("R\"0123456789abcdef(x)0123456789abcdef\" e") == list{"e"});
  CHECK(names("xR\"(a)\" b") == list{"xR", "b"});  // R is a prefix only when it stands alone
  CHECK(names("R'a' b") == list{"R", "b"});
  CHECK(names("//R\"(\na //)\"") == list{"a"});
}

TEST_CASE("a raw string with a malformed delimiter is taken for an ordinary one") {
  CHECK(names("R\"0123456789abcdefg(x)\" e") == list{"e"});
  CHECK(names("R\"a b(c)a b\" d") == list{"d"});
  CHECK(scan("R\"a\nb(c") == uses{{"b", 2}, {"c", 2}});
  CHECK(names("R\"") == list{});
  CHECK(names("R\"abc") == list{});
}

TEST_CASE("a raw string that is not terminated takes the rest of the text") {
  CHECK(scan("a R\"(b\nc)\nd") == uses{{"a", 1}});
  CHECK(names("a R\"x(b)y\" c") == list{"a"});
}

TEST_CASE("digit separators start no character literal") {
  CHECK(names("x = 1'000'000 + 0x1'FFp-3 + 1e+5 + .5e3 + 0b1'0; y") == list{"x", "y"});
  CHECK(names("1'0 'a' b") == list{"b"});
  CHECK(names("a.b1 .5 ...c") == list{"a", "b1", "c"});
  CHECK(names("0xe+f") == list{});  // one preprocessing number, as the standard has it
}

TEST_CASE("lines are spliced inside identifiers, numbers and literals") {
  CHECK(scan("al\\\npha beta") == uses{{"alpha", 1}, {"beta", 2}});
  CHECK(scan("al\\\r\npha beta") == uses{{"alpha", 1}, {"beta", 2}});
  CHECK(scan("al\\ \t\npha beta") == uses{{"alpha", 1}, {"beta", 2}});
  CHECK(names("a\\\n\\\n\\\nb") == list{"ab"});
  CHECK(names("re\\\nturn x") == list{"x"});  // a keyword in two pieces is a keyword
  CHECK(names("10\\\n00 x") == list{"x"});
  CHECK(names("u8\\\nR\\\n\"(x\n)\" y") == list{"y"});
  CHECK(names("\\\n\\\nx") == list{"x"});
  CHECK(names("a\\") == list{"a"});
  CHECK(names("a\\ b") == list{"a", "b"});
}

TEST_CASE("trigraphs are what they have been since C++17: punctuation") {
  CHECK(names("a ?\?/\nb \"?\?/\" c ?\?= define d") == list{"a", "b", "c", "define", "d"});
}

TEST_CASE("line ends are \\n, \\r\\n or \\r") {
  CHECK(scan("a\r\nb\r\nc") == uses{{"a", 1}, {"b", 2}, {"c", 3}});
  CHECK(scan("a\rb // x\rc /* \r\r\n */ d") == uses{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 5}});
}

TEST_CASE("the preprocessor's own words are no uses, what it works on is") {
  CHECK(names("#define WIDTH(x) ((x) + OFFSET)") == list{"WIDTH", "x", "x", "OFFSET"});
  CHECK(names("#if defined(A) && !defined B\n#elif C\n#else\n#endif\n#undef D\n#ifdef E\n#ifndef F") ==
        list{"A", "B", "C", "D", "E", "F"});
  CHECK(names("  # /* x */ define /* y */ G h") == list{"G", "h"});
  CHECK(names("/* x */ #define H") == list{"H"});
  CHECK(names("%:define I") == list{"I"});
  CHECK(names("#de\\\nfine J") == list{"J"});
  CHECK(names("# 33 \"file.c\" 2 3\nk") == list{"k"});
  CHECK(names("#\nl") == list{"l"});
  CHECK(names("#define STR(x) #x\n a # define") == list{"STR", "x", "x", "a", "define"});
  CHECK(names("defined") == list{"defined"});  // means something in #if only
  CHECK(scan("#define M \\\n  first \\\n  second\nthird") == uses{{"M", 1}, {"first", 2}, {"second", 3}, {"third", 4}});
}

TEST_CASE("header names are no uses") {
  CHECK(names("#include <sys/types.h>\n#include \"a/b.h\"\n#include MACRO_H\nx") == list{"MACRO_H", "x"});
  CHECK(names("#include_next <limits.h>\n#import <Foundation/Foundation.h>\nx < y > z") == list{"x", "y", "z"});
  CHECK(names("#if __has_include(<optional>) || __has_include(\"x y.h\")\nq") == list{"q"});
  CHECK(names("#include <it's/odd.h> // c\nx") == list{"x"});
  CHECK(names("#include <unclosed.h\nx") == list{"x"});
  CHECK(names("#include \"back\\slash\\\"\nx") == list{"x"});
  CHECK(names("#include") == list{});
  CHECK(names("include <vector>") == list{"include", "vector"});
}

TEST_CASE("the text of #error, #warning and #pragma is no code, but its comments are comments") {
  CHECK(names("#error don't \"do\" this\nx") == list{"x"});
  CHECK(names("#warning it's /* a\n b */ c\nx") == list{"x"});
  CHECK(names("#pragma GCC diagnostic push\nx") == list{"x"});
  CHECK(scan("#pragma omp parallel \\\n  shared(a)\nx") == uses{{"x", 3}});
}

TEST_CASE("bytes that are no text harm nothing") {
  CHECK(scan("a\0b\0\nc"s) == uses{{"a", 1}, {"b", 1}, {"c", 2}});
  CHECK(names("\"a\0b\" c"s) == list{"c"});
  CHECK(names("a\xFF\xFE b \x80\xBF c\xC3") == list{"a", "b", "c"});
  CHECK(names("/* \xE9 */ a // \xE9\nb '\xE9' \"\xE9\" c") == list{"a", "b", "c"});
  CHECK(names("\xEF\xBB\xBF#define a") == list{"a"});
  CHECK(names("a @ b ` c \x01 d") == list{"a", "b", "c", "d"});
}

TEST_CASE("names may hold UTF-8 and universal character names, which are the same names") {
  CHECK(names("caf\xC3\xA9 caf\\u00E9 \xC3\xA9t\xC3\xA9 \\U000000E9") ==
        list{"caf\xC3\xA9", "caf\xC3\xA9", "\xC3\xA9t\xC3\xA9", "\xC3\xA9"});
  CHECK(names("a\xC2\xA0"
              "b") == list{"a", "b"});                               // a no-break space
  CHECK(names("x\xE2\x80\x9Cy\xE2\x80\x9D") == list{"x", "y"});      // quotation marks
  CHECK(names("x\xC0\xAFy \xED\xA0\x80 z") == list{"x", "y", "z"});  // overlong, surrogate
  CHECK(names("\\u12 \\uGGGG") == list{"u12", "uGGGG"});
}

TEST_CASE("very long lines, names and runs of anything are scanned in one pass") {
  const std::size_t n = 1'000'000;
  CHECK(names(std::string(n, 'x')).front().size() == n);
  CHECK(names(std::string(n, ' ') + "a").size() == 1);
  CHECK(names(std::string(n, '*')).empty());
  CHECK(names(std::string(n, '\'')).empty());
  std::string many;
  for (std::size_t i = 0; i < n / 10; ++i) many += "R\"a(";
  CHECK(names(many).empty());
  many.clear();
  for (std::size_t i = 0; i < n / 10; ++i) many += "a\\\nb ";
  CHECK(names(many).size() == n / 10);
  many.clear();
  for (std::size_t i = 0; i < n / 10; ++i) many += "/*";
  CHECK(names(many).empty());
}

TEST_CASE("no text of the bytes that matter makes the scanner read outside of it or run on") {
  // Every text of up to five bytes over this alphabet; the sanitizer builds would see a read beyond the end.
  const std::string_view alphabet = "a\\\n/*\"'R(#1.";
  std::vector<std::size_t> digits;
  for (std::size_t length = 0; length <= 5; ++length) {
    digits.assign(length, 0);
    for (;;) {
      const std::string text = [&] {
        std::string t;
        for (const std::size_t d : digits) t += alphabet[d];
        return t;
      }();
      const std::vector<char> exact(text.begin(), text.end());  // no terminating NUL to hide behind
      scanner s({exact.data(), exact.size()});
      identifier_use use;
      std::size_t found = 0;
      while (s.next(use)) ++found;
      if (s.consumed() != text.size() || found > text.size()) FAIL("text: " << text);
      std::size_t i = 0;
      while (i < length && ++digits[i] == alphabet.size()) digits[i++] = 0;
      if (i == length) break;
    }
  }
}
