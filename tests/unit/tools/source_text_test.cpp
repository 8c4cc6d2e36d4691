// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/source_text.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/temporary_tree.hpp"

namespace {

using karyon::tools::outcome;
using karyon::tools::read_source;
using karyon::tools::source_text;
using namespace std::string_literals;

constexpr std::uint64_t plenty = 1U << 20U;

}  // namespace

TEST_CASE("a file is read whole, byte for byte") {
  karyon::tests::temporary_tree tree;
  std::string text = "int x;\r\n\xFF\xFE";
  text += std::string(300000, 'y');
  tree.write("a.h", text);
  tree.write("empty.h", "");
  const source_text read = read_source(tree.path("a.h"), plenty);
  CHECK(read.what == outcome::scanned);
  CHECK((read.text == text));
  CHECK(read_source(tree.path("empty.h"), plenty).what == outcome::scanned);
}

TEST_CASE("a NUL among the first 8192 bytes makes a file binary, a later one does not") {
  karyon::tests::temporary_tree tree;
  tree.write("a.h", "x\0y"s);
  tree.write("b.h", std::string(8191, 'x') + '\0');
  tree.write("c.h", std::string(8192, 'x') + '\0');
  CHECK(read_source(tree.path("a.h"), plenty).what == outcome::binary);
  CHECK(read_source(tree.path("b.h"), plenty).what == outcome::binary);
  CHECK(read_source(tree.path("c.h"), plenty).what == outcome::scanned);
}

TEST_CASE("a file over the limit is enormous, one at the limit is not") {
  karyon::tests::temporary_tree tree;
  tree.write("a.h", std::string(100, 'x'));
  CHECK(read_source(tree.path("a.h"), 100).what == outcome::scanned);
  const source_text over = read_source(tree.path("a.h"), 99);
  CHECK(over.what == outcome::enormous);
  CHECK(over.text.empty());
  CHECK(over.reason == "longer than 99 bytes");
}

TEST_CASE("a file that claims to be empty and never ends is cut off at the limit") {
  // Regular, of size 0 by its own account, and much longer than that.
  const source_text read = read_source("/proc/self/smaps", 1000);
  CHECK(read.what == outcome::enormous);
}

TEST_CASE("what can not be read says why") {
  karyon::tests::temporary_tree tree;
  tree.link_to("/proc/self/mem", "evil.h");  // opens even for root, and fails at its first byte
  tree.link("loop.h", "loop.h");
  tree.pipe("pipe.h");
  CHECK(read_source(tree.path("evil.h"), plenty).what == outcome::unreadable);
  CHECK(read_source(tree.path("evil.h"), plenty).reason == "Input/output error");
  CHECK(read_source(tree.path("absent.h"), plenty).what == outcome::vanished);
  CHECK(read_source(tree.path("absent.h/x"), plenty).what == outcome::vanished);
  CHECK(read_source(tree.path("loop.h"), plenty).what == outcome::symlink_loop);
  CHECK(read_source(tree.path("pipe.h"), plenty).what == outcome::not_regular);
  CHECK(read_source(tree.path(), plenty).what == outcome::not_regular);
}

TEST_CASE("a file that its mode closes is unreadable") {
  karyon::tests::temporary_tree tree;
  tree.write("a.h", "x");
  tree.mode("a.h", 0);
  bool refused = false;
  karyon::tests::as_nobody([&] { return read_source(tree.path("a.h"), plenty).what == outcome::unreadable; }, refused);
  CHECK(refused);
}
