// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>

#include "core/file_descriptor.hpp"
#include "nerve/synapse_lane.hpp"
#include "synapse_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

std::vector<std::byte> message_of(std::size_t bytes, std::uint64_t seed) {
  std::vector<std::byte> m(4 + bytes);
  for (std::size_t i = 0; i < 4; ++i) m[i] = static_cast<std::byte>(bytes >> (8 * i));
  for (std::size_t i = 0; i < bytes; ++i) m[4 + i] = static_cast<std::byte>(seed * 31 + i);
  return m;
}

constexpr std::size_t longest = 1U << 20U;

/// What another process of this user could do.
file_descriptor opened_again(const lane_offer& offer) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%u", offer.descriptor);
  return file_descriptor(::open(path, O_RDWR | O_CLOEXEC));
}

errc why_not(const lane_offer& offer) {
  const auto opened = lane::open(offer);
  return opened ? errc{} : opened.error().code();
}

}  // namespace

TEST_CASE("messages of any length come out of a lane as they went in, by a sender that never waits") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const auto opened = lane::open(in->offer());
  REQUIRE(opened.has_value());
  const auto& out = *opened;
  REQUIRE(in->settle());
  constexpr std::uint64_t n = 2000;
  const auto bytes_of_message = [](std::uint64_t i) { return static_cast<std::size_t>(1 + i * 7919 % 200'000); };
  std::atomic<bool> given_up{false};
  std::thread sender([&] {
    for (std::uint64_t i = 0; i < n; ++i) {
      const auto m = message_of(bytes_of_message(i), i);
      for (std::size_t gone = 0; gone < m.size() && !given_up.load();) {
        gone += out->put(std::span<const std::byte>(m).subspan(gone));
        if (gone < m.size()) std::this_thread::yield();
      }
    }
  });
  std::uint64_t right = 0;
  std::vector<std::byte> got;
  for (std::uint64_t i = 0; i < n && right == i; ++i) {
    const bool came = eventually([&] { return in->take(got, longest) == lane::found::message; });
    const auto sent = message_of(bytes_of_message(i), i);
    right += came && std::equal(got.begin(), got.end(), sent.begin() + 4, sent.end()) ? 1U : 0U;
  }
  given_up.store(true);
  sender.join();
  CHECK(right == n);
  CHECK(in->take(got, longest) == lane::found::nothing);
}

TEST_CASE("a lane is opened where it is offered, and not afterwards") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const lane_offer offer = in->offer();
  CHECK(lane::open(offer).has_value());
  CHECK(why_not(offer) == errc::refused);  // by one sender
  const auto other = lane::make(lane::bytes_min);
  REQUIRE(other != nullptr);
  const lane_offer of_other = other->offer();
  CHECK(why_not({of_other.process, of_other.descriptor, of_other.key + 2}) == errc::refused);
  CHECK(in->settle());
  CHECK(in->settle());
  CHECK(why_not(offer) == errc::system_error);
}

TEST_CASE("memory whose size could change is refused, and so is what others could touch, or is none") {
  constexpr auto bytes = static_cast<off_t>(4096 + lane::bytes_min);
  const file_descriptor file(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(file.get() >= 0);
  REQUIRE(::ftruncate(file.get(), bytes) == 0);
  const std::uint64_t key = 1;
  REQUIRE(::pwrite(file.get(), &key, sizeof key, 16) == static_cast<ssize_t>(sizeof key));
  const lane_offer offer{static_cast<std::uint32_t>(::getpid()), static_cast<std::uint32_t>(file.get()), key};
  CHECK(why_not(offer) == errc::refused);  // everybody's
  REQUIRE(::fchmod(file.get(), 0600) == 0);
  CHECK(why_not(offer) == errc::refused);
  REQUIRE(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW) == 0);
  CHECK(why_not(offer) == errc::refused);
  REQUIRE(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  CHECK(lane::open(offer).has_value());
  int line[2];
  REQUIRE(::pipe2(line, O_CLOEXEC) == 0);
  const file_descriptor reading(line[0]);
  const file_descriptor writing(line[1]);
  CHECK(why_not({offer.process, static_cast<std::uint32_t>(line[0]), key}) == errc::refused);
}

TEST_CASE("no hole can be punched into a lane that either end touches, and those from before are filled") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const file_descriptor file = opened_again(in->offer());
  constexpr auto bytes = static_cast<off_t>(4096 + lane::bytes_min);
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  REQUIRE(memory != MAP_FAILED);
  const auto pages = [&] {
    struct stat about {};
    return ::fstat(file.get(), &about) == 0 ? about.st_blocks * 512 : -1;
  };
  const auto punch = [&](off_t at) {
    return ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes - at) == 0;
  };
  REQUIRE(punch(4096));
  REQUIRE(pages() == 4096);
  const bool opens = GENERATE(true, false);  // or the receiver alone
  if (opens) {
    REQUIRE(lane::open(in->offer()).has_value());
    CHECK(pages() == bytes);
    CHECK_FALSE(punch(4096));
  }
  CHECK(in->settle());
  CHECK(pages() == bytes);
  CHECK_FALSE(punch(0));
  CHECK(::madvise(memory, bytes, MADV_REMOVE) != 0);
  CHECK(pages() == bytes);
  ::munmap(memory, bytes);
}

TEST_CASE("a receiver touches nothing of a lane until it is settled, and finds what was put in before") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const auto opened = lane::open(in->offer());
  REQUIRE(opened.has_value());
  const auto m = message_of(100, 1);
  REQUIRE((*opened)->put(m) == m.size());
  std::vector<std::byte> got;
  CHECK(in->take(got, longest) == lane::found::nothing);
  CHECK_FALSE(in->begins_before(in->end()));
  CHECK(in->prepare_sleep());
  REQUIRE(in->settle());
  CHECK(in->begins_before(in->end()));
  CHECK(in->take(got, longest) == lane::found::message);
}

TEST_CASE("a lane that somebody has kept from being sealed is touched by neither end") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const file_descriptor file = opened_again(in->offer());
  REQUIRE(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL) == 0);
  CHECK(why_not(in->offer()) == errc::refused);
  CHECK_FALSE(in->settle());
  CHECK_FALSE(in->settle());
  std::vector<std::byte> got;
  CHECK(in->take(got, longest) == lane::found::nothing);
}

TEST_CASE("a bell is heard, and can be rung when nobody is there any more") {
  int line[2];
  REQUIRE(::pipe2(line, O_CLOEXEC | O_NONBLOCK) == 0);
  const auto me = static_cast<std::uint32_t>(::getpid());
  const auto rings = bell::open(me, static_cast<std::uint32_t>(line[1]));
  REQUIRE(rings != nullptr);
  CHECK(rings->ring());
  char heard = 1;
  CHECK(::read(line[0], &heard, 1) == 1);
  while (::write(line[1], &heard, 1) == 1) {
  }
  CHECK(rings->ring());  // it is full of rings
  ::close(line[0]);
  ::close(line[1]);
  CHECK(rings->ring());
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  CHECK(bell::open(me, in->offer().descriptor) == nullptr);
}

TEST_CASE("a length that can not be is nonsense, and nothing is made for it") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const auto opened = lane::open(in->offer());
  REQUIRE(opened.has_value());
  const auto& out = *opened;
  REQUIRE(in->settle());
  const std::vector<std::byte> length(4, GENERATE(std::byte{0}, std::byte{0xFF}));
  CHECK(out->put(length) == length.size());
  std::vector<std::byte> got;
  CHECK(in->take(got, longest) == lane::found::nonsense);
}

TEST_CASE("what the other process says of a lane and can not be is nonsense, and moves nothing") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const file_descriptor file = opened_again(in->offer());
  REQUIRE(file.get() >= 0);
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  REQUIRE(memory != MAP_FAILED);
  auto* const tail = static_cast<std::atomic<std::uint64_t>*>(memory);
  auto* const head = tail + 8;
  const auto opened = lane::open(in->offer());
  REQUIRE(opened.has_value());
  const auto& out = *opened;
  REQUIRE(in->settle());
  CHECK_FALSE(out->is_over());
  head->store(1);  // of nothing that was put in
  CHECK(out->is_over());
  CHECK(out->room() == 0);
  tail->store(lane::bytes_min + 1);
  CHECK(in->end() == lane::bytes_min);
  std::vector<std::byte> got;
  CHECK(in->take(got, longest) == lane::found::nonsense);
  CHECK_FALSE(in->prepare_sleep());
  ::munmap(memory, 4096);
}

TEST_CASE("who sleeps at a lane is told once that there is something, or room") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const auto opened = lane::open(in->offer());
  REQUIRE(opened.has_value());
  const auto& out = *opened;
  REQUIRE(in->settle());
  in->wake_up();
  CHECK_FALSE(out->has_sleeper());
  CHECK(in->prepare_sleep());
  const auto m = message_of(lane::bytes_min, 1);  // does not fit, with its length
  const std::size_t gone = out->put(m);
  CHECK(gone == lane::bytes_min);
  CHECK(out->has_sleeper());
  CHECK_FALSE(out->has_sleeper());
  CHECK_FALSE(in->prepare_sleep());
  CHECK(out->wait_for_room());
  CHECK(out->put(std::span<const std::byte>(m).subspan(gone)) == 0);
  std::vector<std::byte> got;
  CHECK(in->take(got, longest) == lane::found::nothing);  // not whole yet
  CHECK(in->has_waiter());
  CHECK_FALSE(in->has_waiter());
  CHECK_FALSE(out->wait_for_room());
  CHECK(out->put(std::span<const std::byte>(m).subspan(gone)) == 4);
  CHECK(in->take(got, longest) == lane::found::message);
  CHECK(got.size() == lane::bytes_min);
}
