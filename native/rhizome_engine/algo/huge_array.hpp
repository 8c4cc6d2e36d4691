// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace rhizome {
namespace detail {

/// Zeroed memory; in huge pages, as far as the system has any, from half a huge page upwards. Throws std::bad_alloc.
void* allocate_zeroed(std::size_t bytes);
void release_zeroed(void* memory, std::size_t bytes) noexcept;

}  // namespace detail

/// An array that is read at random: without huge pages a random read of a large array misses the TLB as well, which takes
/// a third longer. Zeroed, of fixed size, for types whose zero is all bits zero.
template <class T>
class huge_array {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

public:
  huge_array() = default;
  explicit huge_array(std::size_t size) : size_(size) {
    if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) {
      throw std::bad_alloc();
    }
    data_ = size == 0 ? nullptr : static_cast<T*>(detail::allocate_zeroed(size * sizeof(T)));
  }
  ~huge_array() { reset(); }
  huge_array(huge_array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  huge_array& operator=(huge_array&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  [[nodiscard]] std::span<const T> view() const noexcept { return {data_, size_}; }

private:
  void reset() noexcept {
    if (data_ != nullptr) {
      detail::release_zeroed(data_, size_ * sizeof(T));
    }
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rhizome
