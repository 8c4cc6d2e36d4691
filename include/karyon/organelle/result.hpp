// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <karyon/core/result.hpp>
#include <karyon/organelle/handle.hpp>

namespace karyon {

/// What went wrong in a call of an organelle: the organelle's own status for programs that know it, and a code as everywhere else.
class organelle_error {
public:
  organelle_error(karyon_status status, std::int32_t detail, std::string message)
      : message_(std::move(message)), status_(status), detail_(detail) {}
  /// The host's: the call was not made.
  explicit organelle_error(const error& why)
      : message_(why.message()), status_(KARYON_CANCELLED), code_(why.code()), is_host_(true) {}

  /// KARYON_NOT_FOUND and so on, see karyon/organelle/abi.h.
  [[nodiscard]] karyon_status status() const noexcept { return status_; }
  /// errno, or a number of the organelle's own; 0: none.
  [[nodiscard]] std::int32_t detail() const noexcept { return detail_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] KARYON_API errc code() const noexcept;

private:
  std::string message_;
  karyon_status status_;
  std::int32_t detail_ = 0;
  errc code_ = errc::refused;
  bool is_host_ = false;
};

namespace detail {

template <class T, class... Kinds>
constexpr bool is_kind_of(const std::variant<Kinds...>*) noexcept {
  return (std::is_same_v<T, Kinds> || ...);
}

}  // namespace detail

/// What a call returned: none, one or several values. One costs no allocation.
class organelle_results {
public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// `i` below size().
  [[nodiscard]] const organelle_value& operator[](std::size_t i) const noexcept {
    return i == 0 ? first_ : rest_[i - 1];
  }
  /// The i-th, if it is there and is a T (bool, std::int64_t, std::uint64_t, double, handle, view or columns); else null.
  template <class T>
  [[nodiscard]] const T* get_if(std::size_t i = 0) const noexcept {
    static_assert(detail::is_kind_of<T>(static_cast<const organelle_value*>(nullptr)),
                  "karyon: a call gives bool, std::int64_t, std::uint64_t, double, handle, view or columns");
    return i < size_ ? std::get_if<T>(&(*this)[i]) : nullptr;
  }
  /// A copy of the i-th, or invalid_argument.
  template <class T>
  [[nodiscard]] result<T> get(std::size_t i = 0) const {
    if (const T* const value = get_if<T>(i)) return *value;
    return fail(errc::invalid_argument, "the call's result " + std::to_string(i) + " is not there, or of another kind");
  }

  /// Makes room for so many more, so that add() does not fail. Throws std::bad_alloc.
  void reserve(std::size_t more) {
    if (size_ + more > 1) rest_.reserve(size_ + more - 1);
  }
  void add(organelle_value value) {
    if (size_ == 0) {
      first_ = std::move(value);
    } else {
      rest_.push_back(std::move(value));
    }
    ++size_;
  }

private:
  organelle_value first_;
  std::vector<organelle_value> rest_;
  std::size_t size_ = 0;
};

using organelle_result = tl::expected<organelle_results, organelle_error>;

}  // namespace karyon
