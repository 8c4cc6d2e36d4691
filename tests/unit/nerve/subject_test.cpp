// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <karyon/nerve/subject.hpp>

#include "nerve/duplicate_filter.hpp"
#include "nerve/endocrine_frame.hpp"
#include "nerve/storm_guard.hpp"
#include "nerve/subject_tree.hpp"
#include "support/catch.hpp"

using namespace karyon;

TEST_CASE("patterns stand for the subjects that NATS says") {
  CHECK(subject_matches("a.b", "a.b"));
  CHECK_FALSE(subject_matches("a.b", "a.b.c"));
  CHECK_FALSE(subject_matches("a.b.c", "a.b"));
  CHECK(subject_matches("a.*", "a.b"));
  CHECK_FALSE(subject_matches("a.*", "a"));
  CHECK_FALSE(subject_matches("a.*", "a.b.c"));
  CHECK(subject_matches("*.b", "a.b"));
  CHECK(subject_matches("a.>", "a.b.c"));
  CHECK_FALSE(subject_matches("a.>", "a"));
  CHECK(subject_matches(">", "a"));
}

TEST_CASE("a pattern covers those of which all subjects are its own") {
  CHECK(subject_covers("a.>", "a.*.b"));
  CHECK(subject_covers("a.>", "a.b.>"));
  CHECK(subject_covers("a.*", "a.*"));
  CHECK_FALSE(subject_covers("a.*", "a.>"));
  CHECK_FALSE(subject_covers("a.b", "a.*"));
  CHECK_FALSE(subject_covers("a.*", "*.b"));
}

TEST_CASE("a subject has 255 bytes and 32 tokens at most") {
  CHECK(is_subject(std::string(255, 'a')));
  CHECK_FALSE(is_subject(std::string(256, 'a')));
  std::string tokens = "a";
  for (int i = 1; i < 32; ++i) tokens += ".a";
  CHECK(is_subject(tokens));
  CHECK_FALSE(is_subject(tokens + ".a"));
}

TEST_CASE("the tree of patterns finds the same as one look at each") {
  const std::string alphabet[] = {"a", "b", "*", ">", "c"};
  std::vector<std::string> patterns;
  for (const auto& x : alphabet) {
    patterns.push_back(x);
    for (const auto& y : alphabet) {
      patterns.push_back(x + "." + y);
      for (const auto& z : alphabet) patterns.push_back(x + "." + y + "." + z);
    }
  }
  std::erase_if(patterns, [](const std::string& p) { return !is_subject_pattern(p); });
  detail::subject_tree<std::string> tree;
  for (const auto& p : patterns) tree.at(p) = p;
  REQUIRE(tree.size() == patterns.size());
  const auto compare = [&] {
    for (const auto& s : patterns) {
      if (!is_subject(s)) continue;
      std::size_t expected = 0;
      for (const auto& p : patterns) expected += tree.find(p) != nullptr && subject_matches(p, s) ? 1 : 0;
      std::size_t found = 0;
      tree.for_each_match(s, [&](const std::string& p) {
        CHECK(subject_matches(p, s));
        ++found;
      });
      CHECK(found == expected);
    }
  };
  compare();
  for (std::size_t i = 0; i < patterns.size(); i += 2) tree.erase(patterns[i]);
  CHECK(tree.size() == patterns.size() / 2);
  compare();
}

TEST_CASE("a bucket gives its burst at once, then so much a second, and is tripped until half has come back") {
  using answer = detail::token_bucket::answer;
  detail::token_bucket b;
  const storm_limit limit{10, 10};
  std::uint64_t now = 1'000'000'000;
  for (int i = 0; i < 10; ++i) CHECK(b.take(1, limit, now) == answer::given);
  CHECK(b.take(1, limit, now) == answer::tripped);
  CHECK(b.take(1, limit, now) == answer::refused);
  now += 400'000'000;
  CHECK(b.take(1, limit, now) == answer::refused);
  now += 200'000'000;
  CHECK(b.take(1, limit, now) == answer::given);
  // More than there is: given once, and paid for later.
  CHECK(b.take(100, limit, now) == answer::given);
  now += 5'000'000'000;
  CHECK(b.take(1, limit, now) == answer::tripped);
  now += 6'000'000'000;
  CHECK(b.take(1, limit, now) == answer::given);
}

TEST_CASE("of many senders the one that most of the cost is due to is named") {
  detail::heaviest_sender h;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    h.add({42, "app::loud", true}, 2);
    h.add({100 + i, "app::quiet", true}, 1);
  }
  CHECK(h.name() == "app::loud#42");
}

TEST_CASE("the senders' table keeps a storm apart from those who keep within their limits") {
  detail::sender_meters m({10, 10});
  std::uint64_t now = 1'000'000'000;
  int refused = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    now += 1'000'000;
    static_cast<void>(m.take(7, now));                                            // 1,000 a second
    if (m.take(1000 + i, now) != detail::token_bucket::answer::given) ++refused;  // each once
  }
  CHECK(refused < 100);
  CHECK(m.take(7, now) == detail::token_bucket::answer::refused);
}

TEST_CASE("what was seen before is known, in any order, within the window") {
  detail::duplicate_filter f(4);
  CHECK(f.is_new(1, 10));
  CHECK_FALSE(f.is_new(1, 10));
  CHECK(f.is_new(1, 12));
  CHECK(f.is_new(1, 11));
  CHECK_FALSE(f.is_new(1, 11));
  CHECK(f.is_new(2, 11));
  CHECK(f.is_new(1, 300));
  CHECK_FALSE(f.is_new(1, 12));
  CHECK_FALSE(f.is_new(1, 20));  // older than the window
  CHECK(f.is_new(1, 299));
  for (std::uint64_t o = 3; o < 100; ++o) CHECK(f.is_new(o, 1));
  CHECK(f.origins() == 4);
}

TEST_CASE("of many origins those that were heard of last are remembered") {
  detail::duplicate_filter f(500);
  for (std::uint64_t o = 1; o <= 5000; ++o) {
    CHECK(f.is_new(o, 1));
    CHECK_FALSE(f.is_new(1, 1));  // is heard of all the time
  }
  CHECK(f.origins() == 500);
  for (std::uint64_t o = 4600; o <= 5000; ++o) CHECK(f.has_seen(o, 1));
  CHECK_FALSE(f.has_seen(2, 1));
}

TEST_CASE("a frame is read as it was written, and no part of one is read") {
  detail::endocrine_frame f{3, 0x1122334455667788, 2, 3, 4, 5, "me/app::loud#1", {}};
  std::vector<std::byte> bytes = detail::encode_endocrine_head(f, 2);
  bytes.push_back(std::byte{1});
  bytes.push_back(std::byte{2});
  detail::endocrine_frame r;
  REQUIRE(detail::decode_endocrine_frame(bytes, r));
  CHECK(r.hops == 3);
  CHECK(r.type == f.type);
  CHECK(r.origin == 2);
  CHECK(r.sequence == 3);
  CHECK(r.published_us == 4);
  CHECK(r.ttl_us == 5);
  CHECK(r.sender == "me/app::loud#1");
  CHECK(r.value.size() == 2);
  detail::stamp_endocrine_sequence(bytes, 0x0102030405060708);
  REQUIRE(detail::decode_endocrine_frame(bytes, r));
  CHECK(r.sequence == 0x0102030405060708);
  CHECK(r.origin == 2);
  CHECK(r.published_us == 4);
  for (std::size_t n = 0; n < bytes.size() - 2; ++n) {
    CHECK_FALSE(detail::decode_endocrine_frame(std::span(bytes).first(n), r));
  }
  bytes[0] = std::byte{0};
  CHECK_FALSE(detail::decode_endocrine_frame(bytes, r));
}
