// SPDX-License-Identifier: Apache-2.0
#include "text/structure.hpp"

#include <random>
#include <string>
#include <utility>

#include "structure_model.hpp"
#include "support/catch.hpp"
#include "text/pieces.hpp"

namespace {

using namespace rhizome;

constexpr scan_path all_paths[] = {scan_path::portable, scan_path::avx2, scan_path::avx512};

/// All paths against the model, JSON and C, strict and forgiving.
class checker {
public:
  void check(const std::string& text) {
    CAPTURE(text);
    const auto json = model::json(text);
    for (auto& scanner : scanners_) {
      REQUIRE(model::same(scanner.json(text), json));
    }
    for (const bool lone_quotes : {false, true}) {
      const auto c = model::c(text, {lone_quotes});
      for (auto& scanner : scanners_) {
        REQUIRE(model::same(scanner.c(text, {lone_quotes}), c));
      }
    }
  }

private:
  structure_scanner scanners_[3] = {structure_scanner{all_paths[0]}, structure_scanner{all_paths[1]},
                                    structure_scanner{all_paths[2]}};
};

std::string random_text(std::mt19937_64& rng, std::size_t pieces) {
  static constexpr const char* vocabulary[] = {
      "{",  "}",    "[",     "]",    ",",    ":",       ";",    "(",     ")",        "\"",   "\"",  "\"",   "'",
      "\\", "\\\\", "\\\"",  "\n",   "\r\n", " ",       "   ",  "\t",    "#",        "/",    "//",  "/*",   "*/",
      "*",  "a",    "word",  "R\"(", ")\"",  "u8R\"x(", ")x\"", "1'000", "0x1f",     "\\\n", "1.5", "\x01", "true",
      "_x", "$",    "u8'c'", "ä",    "€",    "😀",       "\xff", "\xc3",  "\xe2\x82", "-",    "<",   "@",    "`"};
  // The last ones spoil the text; only some texts have them.
  const auto words = std::size(vocabulary) - (rng() % 4 == 0 ? 0 : 12);
  std::string text;
  for (std::size_t i = 0; i < pieces; ++i) {
    text += vocabulary[rng() % words];
  }
  return text;
}

std::vector<std::string> pieces_of(std::string_view text, c_scan_options options = {}) {
  structure_scanner scanner;
  const auto marks = scanner.c(text, options);
  REQUIRE(marks);
  std::vector<std::string> found;
  c_pieces pieces(text, *marks);
  while (const auto piece = pieces.next()) {
    found.emplace_back(piece->where.of(text));
  }
  return found;
}

std::vector<std::string> json_of(std::string_view text) {
  structure_scanner scanner;
  const auto marks = scanner.json(text);
  REQUIRE(marks);
  std::vector<std::string> found;
  for (std::size_t i = 0; i < marks->size(); ++i) {
    found.emplace_back(json_slice(text, *marks, i).of(text));
  }
  return found;
}

using words = std::vector<std::string>;

}  // namespace

TEST_CASE("marks of JSON cut it into brackets, separators and scalars", "[rhizome][text]") {
  CHECK(json_of(R"({"a b" : [1, -2.5e3 ,true], "c\"d":null} )") ==
        words{"{", "\"a b\"", ":", "[", "1", ",", "-2.5e3", ",", "true", "]", ",", "\"c\\\"d\"", ":", "null", "}"});
  CHECK(json_of("").empty());
  CHECK(json_of("  \n ").empty());
  CHECK(json_of("\"[,]\"") == words{"\"[,]\""});
}

TEST_CASE("marks of C tell code from literals, comments and directives", "[rhizome][text]") {
  CHECK(pieces_of("int f(char c); // { \"\nx['\\'']") ==
        words{"int", "f", "(", "char", "c", ")", ";", "// { \"", "x", "[", "'\\''", "]"});
  CHECK(pieces_of("#define A(x) \\\n  #x /* ; */\nB;") ==
        words{"#", "define", "A", "(", "x", ")", "x", "/* ; */", "\n", "B", ";"});
  CHECK(pieces_of("#error don't\n'c'") == words{"#", "error", "don", "t", "\n", "'c'"});
  CHECK(pieces_of("1'000'000 + u8'x' + L\"s\"") == words{"1'000'000", "u8", "'x'", "L", "\"s\""});
  CHECK(pieces_of("R\"(\" \\)\" ; R\"x()\")x\"") == words{"R", "\"(\" \\)\"", ";", "R", "\"x()\")x\""});
  CHECK(pieces_of("a # b") == words{"a", "b"});
  CHECK(pieces_of("isn't it", {.lone_quotes = true}) == words{"isn", "t", "it"});
}

TEST_CASE("what can not be scanned is refused with its cause and place", "[rhizome][text]") {
  for (const auto path : all_paths) {
    structure_scanner scanner(path);
    const auto json_fault = [&](std::string_view text) { return scanner.json(text).error(); };
    CHECK(json_fault("[\"abc") == scan_error{scan_fault::unterminated_string, 1});
    CHECK(json_fault("[\"a\nb\"]") == scan_error{scan_fault::control_in_string, 3});
    CHECK(json_fault("[\"\xc3\x28\"]") == scan_error{scan_fault::malformed_utf8, 2});
    CHECK(json_fault("\xed\xa0\x80") == scan_error{scan_fault::malformed_utf8, 0});
    const auto c_fault = [&](std::string_view text) { return scanner.c(text).error(); };
    CHECK(c_fault("x = \"abc\n\"") == scan_error{scan_fault::unterminated_string, 4});
    CHECK(c_fault("x /* y") == scan_error{scan_fault::unterminated_comment, 2});
    CHECK(c_fault("R\"a(b)\"") == scan_error{scan_fault::unterminated_string, 1});
    CHECK(scanner.c("x;")->size() == 2);  // a refusal leaves the scanner as good as new
  }
  CHECK(to_error({scan_fault::unterminated_string, 17}).text.find("byte 17") != std::string::npos);
}

TEST_CASE("a text of 4 GiB is refused before it is read", "[rhizome][text]") {
  const char one = ' ';
  const std::string_view text(&one, std::size_t{1} << 32);
  structure_scanner scanner;
  CHECK(scanner.json(text).error().fault == scan_fault::too_long);
  CHECK(scanner.c(text).error().fault == scan_fault::too_long);
  CHECK(to_error(scanner.c(text).error()).code == errc::limit);
}

TEST_CASE("all paths agree with the model wherever the blocks' boundaries fall", "[rhizome][text]") {
  checker all;
  const std::string samples[] = {
      "{\"k\\\\\":\"v\\\"\",\"z\":[12,true]}",
      "\"\\\\\\\\\\\"\" abc\"x\"",
      "f(\"a\\\\\", '\\'', 1'0); // x\\\n y\nz",
      "/**/a/*/ **/b//\r\n#if 'x \\\r\n \"y\nend;",
      "uR\"ab(c)a\")ab\" // \\\r\n z\n; /*\n\n*/ #no\n #yes\n",
      "€😀ä;\"€\"'\xc3\xa4'",
      "a\xe2\x82",
      "\"\x1f\"",
  };
  for (const auto& sample : samples) {
    for (std::size_t before = 0; before < 2 * 64 + 2; ++before) {
      all.check(std::string(before, ' ') + sample);
      all.check(std::string(before, 'w') + sample + std::string(before, '\n'));
    }
  }
  const std::string long_text(200, '"');
  for (std::size_t size = 0; size <= long_text.size(); ++size) {
    all.check(long_text.substr(0, size));
    all.check(std::string(size, '\\') + "\"");
    all.check("\"" + std::string(size, '\\') + "\"x");
    all.check(std::string(size, '/') + "*");
  }
}

TEST_CASE("all paths agree with the model on random texts", "[rhizome][text]") {
  checker all;
  std::mt19937_64 rng(20261121);
  for (int round = 0; round < 3000; ++round) {
    all.check(random_text(rng, rng() % 120));
  }
}

TEST_CASE("a character may be cut by the end of a chunk, and what is malformed there is found", "[rhizome][text]") {
  constexpr std::size_t chunk = 16 * 1024;
  for (const auto path : all_paths) {
    structure_scanner scanner(path);
    for (std::size_t before = chunk - 5; before < chunk + 2; ++before) {
      for (const std::string character : {"é", "€", "😀"}) {
        const auto good = std::string(before, ' ') + character + ";";
        REQUIRE(scanner.c(good));
        REQUIRE(scanner.c(good)->size() == 2);
        const auto bad = std::string(before, ' ') + character.substr(0, character.size() - 1) + ";";
        REQUIRE(scanner.c(bad).error() == scan_error{scan_fault::malformed_utf8, static_cast<std::uint32_t>(before)});
        const auto tails = std::string(before, ' ') + character + "\x80\x80\x80\x80\x80";
        REQUIRE(scanner.json(tails).error() ==
                scan_error{scan_fault::malformed_utf8, static_cast<std::uint32_t>(before + character.size())});
      }
    }
  }
}

TEST_CASE("UTF-8 is told from what is not, for each pair and triple of bytes that matter", "[rhizome][text]") {
  structure_scanner scanners[] = {structure_scanner{scan_path::portable}, structure_scanner{scan_path::avx2}};
  constexpr unsigned edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
  for (const auto a : edges) {
    for (const auto b : edges) {
      for (const auto c : edges) {
        for (const auto d : {0x41U, 0x80U, 0xBFU, 0xC2U}) {
          auto text = std::string(61, ' ');
          for (const auto byte : {a, b, c, d}) {
            text += static_cast<char>(byte);
          }
          const auto expected = model::malformed(text);
          for (auto& scanner : scanners) {
            const auto scanned = scanner.json(text);
            const bool refused = !scanned && scanned.error().fault == scan_fault::malformed_utf8;
            REQUIRE(refused == expected.has_value());
            REQUIRE((!refused || scanned.error().offset == *expected));
          }
        }
      }
    }
  }
}
