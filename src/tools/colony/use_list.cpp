// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/use_list.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace karyon::tools {

use_list::use_list(use_list&& other) noexcept : single_{} { *this = std::move(other); }

use_list& use_list::operator=(use_list&& other) noexcept {
  if (this != &other) {
    release();
    if (other.capacity_ > 1) {
      many_ = other.many_;
    } else {
      single_ = other.single_;
    }
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 1);
    other.single_ = use{};
  }
  return *this;
}

void use_list::add(use u) {
  if (size_ == capacity_) {
    reallocate(capacity_ < 4 ? 4 : capacity_ + capacity_ / 2);
  }
  data()[size_++] = u;
}

std::span<const use> use_list::sorted() {
  use* const first = data();
  use* const last = first + size_;
  if (std::adjacent_find(first, last, [](use a, use b) { return !(a < b); }) != last) {
    std::sort(first, last);
    size_ = static_cast<std::uint32_t>(std::unique(first, last) - first);
  }
  if (capacity_ > 1 && size_ < capacity_) {
    reallocate(size_);
  }
  return {data(), size_};
}

// To a capacity of at least size_; 0 and 1 bring the list back into the object.
void use_list::reallocate(std::uint32_t capacity) {
  if (capacity <= 1) {
    const use kept = size_ == 1 ? data()[0] : use{};
    const std::uint32_t size = size_;
    release();
    single_ = kept;
    size_ = size;
    return;
  }
  auto* const fresh = static_cast<use*>(::operator new(capacity * sizeof(use)));
  std::copy_n(data(), size_, fresh);
  const std::uint32_t size = size_;
  release();
  many_ = fresh;
  size_ = size;
  capacity_ = capacity;
}

void use_list::release() noexcept {
  if (capacity_ > 1) {
    ::operator delete(many_);
  }
  single_ = use{};
  size_ = 0;
  capacity_ = 1;
}

}  // namespace karyon::tools
