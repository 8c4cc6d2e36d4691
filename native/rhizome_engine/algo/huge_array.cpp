// SPDX-License-Identifier: Apache-2.0
#include "algo/huge_array.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

namespace rhizome::detail {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// What a request maps: whole huge pages, and one more to align them.
std::size_t rounded(std::size_t bytes) { return (bytes + huge_page_bytes - 1) & ~(huge_page_bytes - 1); }

}  // namespace

void* allocate_zeroed(std::size_t bytes) {
  if (bytes < huge_page_bytes / 2) {
    void* const memory = std::calloc(1, bytes);
    if (memory == nullptr) {
      throw std::bad_alloc();
    }
    return memory;
  }
  auto const size = rounded(bytes);
  void* const mapped =
      mmap(nullptr, size + huge_page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    throw std::bad_alloc();
  }
  auto* const begin = static_cast<char*>(mapped);
  auto const misaligned = reinterpret_cast<std::uintptr_t>(begin) & (huge_page_bytes - 1);
  auto const head = misaligned == 0 ? 0 : huge_page_bytes - misaligned;
  auto* const aligned = begin + head;
  if (head != 0) {
    munmap(begin, head);
  }
  munmap(aligned + size, huge_page_bytes - head);  // what is left behind it: never empty
  madvise(aligned, size, MADV_HUGEPAGE);           // where it is refused, small pages do
  return aligned;
}

void release_zeroed(void* memory, std::size_t bytes) noexcept {
  if (bytes < huge_page_bytes / 2) {
    std::free(memory);
  } else {
    munmap(memory, rounded(bytes));
  }
}

}  // namespace rhizome::detail
