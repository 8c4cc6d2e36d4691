// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "colony_oracle.hpp"
#include "support/catch.hpp"
#include "tools/colony/scanner.hpp"
#include "tools/colony/source_text.hpp"
#include "tools/colony/walker.hpp"

namespace {

using karyon::tests::colony_oracle;
using namespace karyon::tools;

colony_oracle::uses scan(const std::string& text) {
  colony_oracle::uses found;
  scanner s(text);
  identifier_use use;
  while (s.next(use)) found.emplace_back(std::string(use.name), use.line);
  return found;
}

colony_oracle::uses without_keywords(colony_oracle::uses uses) {
  uses.erase(std::remove_if(uses.begin(), uses.end(), [](const auto& u) { return is_keyword(u.first); }), uses.end());
  return uses;
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// The first place where they part, for whoever has to find out why.
std::string difference(const colony_oracle::uses& a, const colony_oracle::uses& b) {
  std::size_t i = 0;
  while (i < a.size() && i < b.size() && a[i] == b[i]) ++i;
  const auto show = [i](const colony_oracle::uses& u) {
    return i < u.size() ? u[i].first + " on line " + std::to_string(u[i].second) : std::string("nothing");
  };
  return "scanner: " + show(a) + ", oracle: " + show(b);
}

}  // namespace

TEST_CASE("the scanner and the oracle agree on this machine's own headers") {
  // A spread of at most some 3000 files; the project's own sources alone where there are no headers.
  std::vector<std::string> roots = header_directories();
  roots.insert(roots.end(), {"include", "src", "tests"});
  const std::vector<std::string> files = walk(roots).files;
  const std::size_t step = std::max<std::size_t>(files.size() / 3000, 1);
  std::size_t compared = 0;
  std::size_t uses = 0;
  for (std::size_t i = 0; i < files.size(); i += step) {
    const source_text source = read_source(files[i], 1U << 20U);
    if (source.what != outcome::scanned || !is_ascii(source.text)) continue;
    const auto ours = scan(source.text);
    const auto theirs = without_keywords(colony_oracle(source.text).found());
    if (ours != theirs) FAIL_CHECK(files[i] << ": " << difference(ours, theirs));
    ++compared;
    uses += ours.size();
  }
  CHECK(compared > 20);
  CHECK(uses > 1000);
}

TEST_CASE("the scanner and the oracle agree on every short text of the bytes that matter") {
  const std::string_view alphabet = "aR\\\n/*\"'(#1. ";
  std::vector<std::size_t> digits;
  for (std::size_t length = 0; length <= 5; ++length) {
    digits.assign(length, 0);
    for (;;) {
      std::string text;
      for (const std::size_t d : digits) text += alphabet[d];
      const auto ours = scan(text);
      const auto theirs = without_keywords(colony_oracle(text).found());
      if (ours != theirs) FAIL_CHECK("text <" << text << ">: " << difference(ours, theirs));
      std::size_t i = 0;
      while (i < length && ++digits[i] == alphabet.size()) digits[i++] = 0;
      if (i == length) break;
    }
  }
}
