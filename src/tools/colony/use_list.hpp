// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tools/colony/use.hpp"

namespace karyon::tools {

/// The set of uses that a symbol has learned, in 16 bytes and 8 a use.
///
/// Half of all names of a code base are used once, so the first use needs no allocation. A use may be added again (an eye
/// that was restarted, or asked to, tells all it knows): `sorted` drops what came twice, and gives back spare room.
/// One thread at a time; not copied, moving leaves an empty list.
class use_list {
public:
  use_list() noexcept : single_{} {}
  use_list(use_list&& other) noexcept;
  use_list& operator=(use_list&& other) noexcept;
  use_list(const use_list&) = delete;
  use_list& operator=(const use_list&) = delete;
  ~use_list() { release(); }

  /// Amortised O(1); throws std::bad_alloc and is then unchanged.
  void add(use u);

  /// The distinct uses in ascending order, valid until the next call that changes the list. O(n log n) after an `add`.
  [[nodiscard]] std::span<const use> sorted();

  /// Uses held, those counted twice that came twice since `sorted` was last called.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Bytes allocated beside the object itself.
  [[nodiscard]] std::size_t heap_bytes() const noexcept { return capacity_ > 1 ? capacity_ * sizeof(use) : 0; }

private:
  [[nodiscard]] use* data() noexcept { return capacity_ > 1 ? many_ : &single_; }
  void reallocate(std::uint32_t capacity);
  void release() noexcept;

  union {
    use single_;  // while capacity_ is 1
    use* many_;
  };
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 1;
};

static_assert(sizeof(use_list) == 16);

}  // namespace karyon::tools
