// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <karyon/organelle/abi.h>  // Arrow's structs, as its C data interface has each library define them

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/types.hpp"

namespace rhizome {

/// A moment, as a column: Arrow's timestamp in microseconds, UTC.
struct moment {
  time_us since_1970 = 0;
};

template <class T>
concept arrow_value = std::same_as<T, std::uint32_t> || std::same_as<T, std::uint64_t> ||
    std::same_as<T, std::int64_t> || std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, moment>;

/// Columns of equal length, handed to a consumer that knows Arrow without copying them: whoever reads the exported structs keeps
/// their memory alive until it calls their release, on whatever thread.
class arrow_table {
public:
  /// `values` are `owner`'s, and never change while it lives.
  template <arrow_value T>
  void add(std::string name, std::span<const T> values, std::shared_ptr<const void> owner) {
    columns_.push_back({std::move(name), format_of<T>(), values.data(), values.size(), std::move(owner)});
  }
  template <arrow_value T>
  void add(std::string name, std::vector<T> values) {
    auto kept = std::make_shared<const std::vector<T>>(std::move(values));
    add(std::move(name), std::span<const T>(*kept), kept);
  }

  /// Times that lie as bare numbers, as a column of moments.
  void add_moments(std::string name, std::span<const time_us> values, std::shared_ptr<const void> owner) {
    columns_.push_back({std::move(name), format_of<moment>(), values.data(), values.size(), std::move(owner)});
  }

  [[nodiscard]] std::size_t columns() const noexcept { return columns_.size(); }

  /// Fills in both structs as a record batch (a struct array). The caller calls each one's release when it is through, or moves
  /// it as the specification says. Refuses columns of different lengths; then neither struct is touched. May throw
  /// std::bad_alloc, with the same.
  [[nodiscard]] result<void> export_to(ArrowSchema& schema, ArrowArray& array) const;

private:
  struct column {
    std::string name;
    const char* format;
    const void* data;
    std::size_t length;
    std::shared_ptr<const void> owner;
  };

  template <class T>
  static constexpr const char* format_of() {
    if constexpr (std::same_as<T, std::uint32_t>) {
      return "I";
    } else if constexpr (std::same_as<T, std::uint64_t>) {
      return "L";
    } else if constexpr (std::same_as<T, std::int64_t>) {
      return "l";
    } else if constexpr (std::same_as<T, float>) {
      return "f";
    } else if constexpr (std::same_as<T, double>) {
      return "g";
    } else {
      return "tsu:UTC";
    }
  }

  std::vector<column> columns_;
};

}  // namespace rhizome
