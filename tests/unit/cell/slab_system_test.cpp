// SPDX-License-Identifier: Apache-2.0
#include "cell/slab.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <new>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.hpp"

namespace {

using karyon::detail::slab_cache;
using karyon::detail::slab_chunk;
using karyon::detail::slab_store;

void prepare(void*, void*) {}

std::size_t page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

// How much of a slot's chunk the system has given memory for.
std::size_t resident_bytes_of_chunk(const void* slot) {
  auto* const base =
      reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(slot) & ~(karyon::detail::slab_chunk_bytes - 1));
  std::vector<unsigned char> pages(karyon::detail::slab_chunk_bytes / page_bytes());
  REQUIRE(::mincore(base, karyon::detail::slab_chunk_bytes, pages.data()) == 0);
  std::size_t resident = 0;
  for (const unsigned char page : pages) resident += (page & 1U) != 0 ? page_bytes() : 0;
  return resident;
}

std::size_t address_space_bytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  unsigned long pages = 0;
  const bool read = file != nullptr && std::fscanf(file, "%lu", &pages) == 1;
  if (file != nullptr) std::fclose(file);
  return read ? pages * page_bytes() : 0;
}

// In a child with little address space left: what fails there fails nowhere else. The exit status is the step that went
// wrong, 0 for none.
[[noreturn]] void exhaust(slab_cache* cache) {
  slab_store store({slab_store::node{}}, &prepare, nullptr);
  if (cache != nullptr) store.attach(*cache, 0);
  constexpr std::size_t bytes = 8192;
  std::vector<void*> slots;
  slots.reserve(100'000);
  slots.push_back(store.allocate(bytes, 0, cache));
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = address_space_bytes() + (std::size_t{24} << 20U);
  if (limit.rlim_cur == 24U << 20U || ::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(1);
  bool refused = false;
  while (!refused && slots.size() < slots.capacity()) {
    try {
      slots.push_back(store.allocate(bytes, 0, cache));
    } catch (const std::bad_alloc&) {
      refused = true;
    }
  }
  if (!refused) ::_exit(2);
  if (store.slots_in_use() != slots.size() || store.slots_carved() != slots.size()) ::_exit(3);
  const std::size_t count = slots.size();
  while (!slots.empty()) {
    store.release(slots.back(), cache);
    slots.pop_back();
  }
  if (store.slots_in_use() != 0) ::_exit(4);
  try {
    for (std::size_t i = 0; i < count; ++i) slots.push_back(store.allocate(bytes, 0, cache));
  } catch (const std::bad_alloc&) {
    ::_exit(5);
  }
  ::_exit(store.slots_carved() == count ? 0 : 6);
}

[[maybe_unused]] int status_of_child(slab_cache* cache) {
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) exhaust(cache);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("when the process has no address space left an allocation throws and no slot is lost") {
  slab_cache cache;
  CHECK(status_of_child(nullptr) == 0);
  CHECK(status_of_child(&cache) == 0);
}
#endif

TEST_CASE("a small runtime stays small: a chunk takes memory only as it is carved") {
  slab_store store({slab_store::node{}}, &prepare, nullptr);
  void* const slot = store.allocate(256, 0, nullptr);
  CHECK(store.bytes_mapped() == 2U << 20U);
  CHECK(resident_bytes_of_chunk(slot) <= 48 * 1024);
  store.release(slot, nullptr);
}

TEST_CASE("the system's chunks are read and written over their whole length") {
  slab_store store({slab_store::node{}}, &prepare, nullptr);
  std::vector<std::uint64_t*> slots;
  while (store.bytes_mapped() < 3 * karyon::detail::slab_chunk_bytes) {
    slots.push_back(static_cast<std::uint64_t*>(store.allocate(4096, 0, nullptr)));
    slots.back()[0] = slots.size();
    slots.back()[511] = slots.size();
  }
  std::uint64_t expected = 0;
  for (const std::uint64_t* slot : slots) {
    ++expected;
    REQUIRE(slot[0] == expected);
    REQUIRE(slot[511] == expected);
  }
  // Header lines of successive chunks lie in different cache sets.
  CHECK(reinterpret_cast<std::uintptr_t>(&slab_chunk::of(slots.front())) % 4096 !=
        reinterpret_cast<std::uintptr_t>(&slab_chunk::of(slots.back())) % 4096);
  for (std::uint64_t* slot : slots) store.release(slot, nullptr);
}
