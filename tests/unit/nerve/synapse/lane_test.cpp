// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
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

}  // namespace

TEST_CASE("messages of any length come out of a lane as they went in, by a sender that never waits") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const auto out = lane::open(in->name());
  REQUIRE(out != nullptr);
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

TEST_CASE("a lane is opened once, by its name, and can not be found afterwards") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  CHECK(lane::open(in->name() + 2) == nullptr);
  const auto first = lane::open(in->name());
  CHECK(first != nullptr);
  CHECK(lane::open(in->name()) == nullptr);
}

TEST_CASE("what a process that died has left of a lane is taken away, and what one has that lives is not") {
  const auto in = lane::make(lane::bytes_min);  // before the fork, or the child would choose the same name
  REQUIRE(in != nullptr);
  int line[2];
  REQUIRE(::pipe2(line, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto left = lane::make(lane::bytes_min);
    const std::uint64_t name = left != nullptr ? left->name() : 0;
    ::_exit(::write(line[1], &name, sizeof name) == static_cast<ssize_t>(sizeof name) ? 0 : 1);
  }
  const file_descriptor reading(line[0]);
  const file_descriptor writing(line[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  std::uint64_t name = 0;
  REQUIRE(::read(line[0], &name, sizeof name) == static_cast<ssize_t>(sizeof name));
  REQUIRE(name != 0);
  lane::forget_orphans();
  CHECK(lane::open(name) == nullptr);
  CHECK(lane::open(in->name()) != nullptr);
}

TEST_CASE("a length that can not be is nonsense, and nothing is made for it") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  const auto out = lane::open(in->name());
  REQUIRE(out != nullptr);
  const std::vector<std::byte> length(4, GENERATE(std::byte{0}, std::byte{0xFF}));
  CHECK(out->put(length) == length.size());
  std::vector<std::byte> got;
  CHECK(in->take(got, longest) == lane::found::nonsense);
}

TEST_CASE("what the other process says of a lane and can not be is nonsense, and moves nothing") {
  const auto in = lane::make(lane::bytes_min);
  REQUIRE(in != nullptr);
  char name[40];
  std::snprintf(name, sizeof name, "/karyon-lane-%016llx", static_cast<unsigned long long>(in->name()));
  const file_descriptor file(::shm_open(name, O_RDWR | O_CLOEXEC, 0));
  REQUIRE(file.get() >= 0);
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  REQUIRE(memory != MAP_FAILED);
  auto* const tail = static_cast<std::atomic<std::uint64_t>*>(memory);
  auto* const head = tail + 8;
  const auto out = lane::open(in->name());
  REQUIRE(out != nullptr);
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
  const auto out = lane::open(in->name());
  REQUIRE(out != nullptr);
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
