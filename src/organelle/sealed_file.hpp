// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <karyon/organelle/load_error.hpp>

namespace karyon::detail {

[[nodiscard]] inline tl::unexpected<load_error> refuse(load_refusal cause, std::string message) {
  return tl::unexpected<load_error>(load_error(cause, std::move(message)));
}

/// A descriptor that is closed with it.
class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int number) noexcept : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor();

  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }
  /// It stays open; for whom it was kept open knows it.
  [[nodiscard]] int detach() noexcept { return std::exchange(number_, -1); }

private:
  int number_ = -1;
};

/// Bytes in a memfd that has all seals: nobody, this process included, can change them. Mapped for reading.
class sealed_bytes {
public:
  sealed_bytes() = default;
  sealed_bytes(sealed_bytes&& other) noexcept
      : memory_(std::move(other.memory_)), bytes_(std::exchange(other.bytes_, {})) {}
  sealed_bytes& operator=(sealed_bytes&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  sealed_bytes(const sealed_bytes&) = delete;
  sealed_bytes& operator=(const sealed_bytes&) = delete;
  ~sealed_bytes();

  [[nodiscard]] std::span<const std::byte> get() const noexcept { return bytes_; }
  [[nodiscard]] descriptor& memory() noexcept { return memory_; }

  /// Seals the memfd and maps it. `name` is for the sentence of a refusal: not_sealed.
  [[nodiscard]] static load_result<sealed_bytes> seal(descriptor memory, const std::string& name);
  /// A sealed copy of bytes; not_sealed.
  [[nodiscard]] static load_result<sealed_bytes> copy_of(std::span<const std::byte> bytes, const std::string& name);

private:
  descriptor memory_;
  std::span<const std::byte> bytes_;
};

/// Opens once, without following a link at the path's end, and copies what is there: missing, unreadable, not_sealed.
[[nodiscard]] load_result<sealed_bytes> read_sealed(const std::string& path, std::uint64_t bytes_max);

/// The whole of a small file (a checksum, a signature), opened in the same way.
[[nodiscard]] load_result<std::string> read_small(const std::string& path);

}  // namespace karyon::detail
