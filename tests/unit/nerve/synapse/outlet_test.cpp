// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_outlet.hpp"

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "nerve/frame.hpp"
#include "nerve/link_clock.hpp"
#include "support/catch.hpp"

using namespace karyon::detail;

namespace {

constexpr std::uint64_t life = 5;

frame_fate put(outlet& out, std::uint64_t number, std::size_t bytes, std::uint64_t incarnation = life) {
  std::vector<std::byte> payload(bytes);
  for (std::size_t i = 0; i < bytes; ++i) payload[i] = static_cast<std::byte>((number + i) & 0xFFU);
  frame_header header;
  header.source.index = static_cast<std::uint32_t>(number);
  return out.put(incarnation, header, payload, 0);
}

bool is_as_put(const outlet::record& r) {
  std::vector<std::byte> payload(r.first.begin(), r.first.end());
  payload.insert(payload.end(), r.second.begin(), r.second.end());
  bool same = payload.size() == r.header.length;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    same &= payload[i] == static_cast<std::byte>((r.header.source.index + i) & 0xFFU);
  }
  return same;
}

frame_header sample() {
  frame_header h;
  h.kind = frame_kind::answer;
  h.flags = 5;
  h.length = 3;
  h.ttl_us = 0x01020304;
  h.epoch = 0xA1A2A3A4;
  h.sequence = 0xB1B2;
  h.type = 0xC1C2;
  h.destination = {0xD1D2D3D4, 0xD5D6};
  h.source = {0xE1E2E3E4, 0xE5E6};
  return h;
}

}  // namespace

TEST_CASE("a header lies on the wire as its table of offsets says") {
  std::byte bytes[frame_header_bytes];
  encode_frame(sample(), bytes);
  const unsigned char expected[frame_header_bytes] = {0x4B, 0x59, 1,    0x52, 3,    0,    0,    0,    0x04, 0x03, 0x02,
                                                      0x01, 0xA4, 0xA3, 0xA2, 0xA1, 0xB2, 0xB1, 0xC2, 0xC1, 0xD4, 0xD3,
                                                      0xD2, 0xD1, 0xD6, 0xD5, 0xE4, 0xE3, 0xE2, 0xE1, 0xE6, 0xE5};
  CHECK(std::memcmp(bytes, expected, sizeof bytes) == 0);
}

TEST_CASE("each fault of a header has its name") {
  std::byte bytes[frame_header_bytes + 3] = {};
  encode_frame(sample(), bytes);
  frame_header into;
  CHECK(decode_frame(bytes, 3, into) == frame_fault::none);
  CHECK(into.destination == sample().destination);
  CHECK(decode_frame(bytes, 2, into) == frame_fault::too_long);
  CHECK(decode_frame({bytes, sizeof bytes - 1}, 3, into) == frame_fault::truncated);
  CHECK(decode_frame({bytes, frame_header_bytes - 1}, 3, into) == frame_fault::truncated);
  bytes[3] = std::byte{0x5F};
  CHECK(decode_frame(bytes, 3, into) == frame_fault::kind);
  bytes[2] = std::byte{0};
  CHECK(decode_frame(bytes, 3, into) == frame_fault::version);
  bytes[0] = std::byte{0};
  CHECK(decode_frame(bytes, 3, into) == frame_fault::magic);
}

TEST_CASE("a ring takes frames as far as the credit goes, and gives them back whole around its end") {
  outlet out(16);
  out.open(life, 100, 16, 1000);
  outlet::record r;
  std::uint64_t number = 0;
  for (int round = 0; round < 50; ++round) {
    REQUIRE(put(out, number, 100) == frame_fate::accepted);      // 5 slots
    REQUIRE(put(out, number + 1, 200) == frame_fate::accepted);  // 8 slots
    REQUIRE(put(out, number + 2, 100) == frame_fate::no_credit);
    for (const std::uint64_t slots : {5U, 8U}) {
      REQUIRE(out.front(r));
      REQUIRE(r.header.source.index == number++);
      REQUIRE(is_as_put(r));
      out.pop();
      out.give(1, slots);
    }
    REQUIRE_FALSE(out.front(r));
  }
}

TEST_CASE("a closed outlet lets nothing in, and is empty when all that was let in is taken away") {
  outlet out(64);
  CHECK(put(out, 0, 10) == frame_fate::peer_down);
  out.open(life, 10, 64, 100);
  CHECK(put(out, 0, 101) == frame_fate::too_large);
  CHECK(put(out, 0, 10, life + 1) == frame_fate::peer_down);
  CHECK(put(out, 0, 10) == frame_fate::accepted);
  out.close();
  CHECK(put(out, 1, 10) == frame_fate::peer_down);
  CHECK_FALSE(out.is_empty());
  out.pop();
  CHECK(out.is_empty());
  out.open(life + 1, 10, 64, 100);
  CHECK(put(out, 0, 10) == frame_fate::peer_down);
  CHECK(put(out, 0, 10, life + 1) == frame_fate::accepted);
}

TEST_CASE("frames of several threads come out whole, each thread's in its order, through opening and closing") {
  outlet out(256);
  constexpr std::uint32_t senders = 3;
  constexpr std::uint32_t each = 3'000;
  std::atomic<std::uint32_t> done{0};
  std::atomic<std::uint64_t> accepted{0};
  out.open(life, 64, 256, 1000);
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < senders; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < each; ++i) {
        const frame_fate fate = put(out, t * each + i, (i * 7) % 150);
        if (fate == frame_fate::accepted) accepted.fetch_add(1);
        if (fate == frame_fate::no_credit) std::this_thread::yield();
      }
      done.fetch_add(1);
    });
  }
  std::uint64_t taken = 0;
  std::vector<std::int64_t> last(senders, -1);
  bool whole = true;
  for (bool over = false; !over || out.has_front();) {
    over = done.load() == senders;
    outlet::record r;
    if (!out.front(r)) {
      std::this_thread::yield();
      continue;
    }
    whole &= is_as_put(r) && last[r.header.source.index / each] < static_cast<std::int64_t>(r.header.source.index);
    last[r.header.source.index / each] = r.header.source.index;
    const std::uint64_t slots = slots_of(r.header.length);
    out.pop();
    if (++taken % 200 != 0) {
      out.give(1, slots);
      continue;
    }
    out.close();
    while (!out.is_empty()) {
      if (!out.has_front()) continue;
      out.pop();
      ++taken;
    }
    out.open(life, 64, 256, 1000);
  }
  for (auto& thread : threads) thread.join();
  while (out.has_front()) {
    out.pop();
    ++taken;
  }
  CHECK(whole);
  CHECK(taken == accepted);
}

TEST_CASE("a clock's bound is never below the true age, however far the clocks are apart") {
  const std::uint64_t apart =
      GENERATE(std::uint64_t{0}, std::uint64_t{1} << 60U, (std::uint64_t{1} << 63U) + 950, ~std::uint64_t{0} - 12345);
  link_clock clock;
  // Ours shows t, theirs t + apart. A pulse leaves at 1000 and is looked at there 50 later.
  clock.learn(1000, 1050 + apart, 1100);
  CHECK(clock.age_ns_at_most(2000 + apart, 2300) == 350 + 1);
  clock.learn(3000, 3010 + apart, 3100);  // a better one
  CHECK(clock.age_ns_at_most(4000 + apart, 4100) == 110 + 1);
  clock.learn(5000, 5900 + apart, 6000);  // a worse one is of no use yet
  CHECK(clock.age_ns_at_most(6000 + apart, 6100) == 110 + 3);
}
