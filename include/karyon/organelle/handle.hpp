// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <karyon/organelle/detail/resource.hpp>

namespace karyon {

/// Names an object of an organelle (a graph, a snapshot, a parsed file): however big it is, a cell holds and sends this.
///
/// A plain value that may travel in signals. Copying counts a reference, which is one atomic operation; moving counts nothing. The
/// object lives until its last handle is gone, and keeps its library loaded; its destructor runs on the thread that lets go last.
/// Any number of threads may use copies of a handle at once; one handle is for one thread at a time.
class handle {
public:
  handle() = default;
  handle(const handle& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) detail::keep_resource(object_);
  }
  handle(handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  handle& operator=(handle other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~handle() { reset(); }

  /// Takes over a reference that somebody has counted.
  [[nodiscard]] static handle adopt(void* object) noexcept {
    handle h;
    h.object_ = object;
    return h;
  }
  /// Counts a reference of its own; null makes an empty handle.
  [[nodiscard]] static handle share(void* object) noexcept {
    if (object != nullptr) detail::keep_resource(object);
    return adopt(object);
  }

  void reset() noexcept {
    if (object_ != nullptr) detail::release_resource(std::exchange(object_, nullptr));
  }
  /// Gives its reference away.
  [[nodiscard]] void* detach() noexcept { return std::exchange(object_, nullptr); }

  [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }
  /// The object itself, for those who know the organelle's types.
  [[nodiscard]] void* object() const noexcept { return object_; }
  /// The kind, as the organelle names it; empty for an empty handle.
  [[nodiscard]] std::string_view type_name() const noexcept {
    return object_ != nullptr ? detail::header_of(object_).type->name : "";
  }
  /// Of the moment: others may change it meanwhile.
  [[nodiscard]] std::uint64_t use_count() const noexcept {
    return object_ != nullptr ? detail::header_of(object_).references.load(std::memory_order_relaxed) : 0;
  }

  friend bool operator==(const handle& a, const handle& b) noexcept { return a.object_ == b.object_; }

private:
  void* object_ = nullptr;
};

/// Bytes in the memory of an organelle (or of the host: `of`), kept alive and unchanged by their owner. A slice is another view of the
/// same owner: nothing is copied, whatever its size. Threads and cost as handle.
class view {
public:
  view() = default;
  view(const void* data, std::size_t bytes, handle owner) noexcept
      : data_(static_cast<const std::byte*>(data)), size_(bytes), owner_(std::move(owner)) {}

  /// Gives a string or a vector to the view: its elements stay where they are, and live as long as some view of them. Throws
  /// std::bad_alloc, or what moving the container throws.
  template <class Container>
  [[nodiscard]] static view of(Container elements) {
    static_assert(std::is_trivially_copyable_v<typename Container::value_type>, "karyon: a view shows plain elements");
    static_assert(alignof(Container) <= 64);
    void* const object = detail::allocate_resource(detail::lent_type<Container>, nullptr, sizeof(Container));
    if (object == nullptr) throw std::bad_alloc();
    auto* const kept = ::new (object) Container(std::move(elements));
    return view(kept->data(), kept->size() * sizeof(typename Container::value_type), handle::adopt(object));
  }

  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] const handle& owner() const noexcept { return owner_; }

  /// The bytes from `offset` on, `count` of them at most; what lies beyond the end is left out.
  [[nodiscard]] view slice(std::size_t offset, std::size_t count = static_cast<std::size_t>(-1)) const noexcept {
    const std::size_t at = std::min(offset, size_);
    return view(data_ + at, std::min(count, size_ - at), owner_);
  }
  /// Good as long as this view, or one of the same owner.
  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  /// The whole elements T that lie here; none if they are not aligned for T. Good as text().
  template <class T>
  [[nodiscard]] std::span<const T> elements() const noexcept {
    static_assert(std::is_trivially_copyable_v<T>, "karyon: a view shows plain elements");
    if (reinterpret_cast<std::uintptr_t>(data_) % alignof(T) != 0) return {};
    return {reinterpret_cast<const T*>(data_), size_ / sizeof(T)};
  }

private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  handle owner_;
};

/// Columns in Arrow's C data layout, for reading: both structs, and all they lead to, belong to the owner and live as long as it.
/// They are neither released nor changed by who reads them. Threads and cost as handle.
class columns {
public:
  columns() = default;
  columns(const ArrowSchema* schema, const ArrowArray* array, handle owner) noexcept
      : schema_(schema), array_(array), owner_(std::move(owner)) {}

  [[nodiscard]] const ArrowSchema* schema() const noexcept { return schema_; }
  [[nodiscard]] const ArrowArray* array() const noexcept { return array_; }
  [[nodiscard]] const handle& owner() const noexcept { return owner_; }
  [[nodiscard]] std::uint64_t rows() const noexcept {
    return array_ != nullptr ? static_cast<std::uint64_t>(array_->length) : 0;
  }

private:
  const ArrowSchema* schema_ = nullptr;
  const ArrowArray* array_ = nullptr;
  handle owner_;
};

/// What a function of an organelle returns, one of several perhaps.
using organelle_value = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, handle, view, columns>;

}  // namespace karyon
