// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/organelle/abi.h>
#include <karyon/organelle/load_error.hpp>

#include "organelle/organelle_file.hpp"

namespace karyon::detail {

class library;

/// The host's table as one library sees it.
struct host_table {
  karyon_host table;  // first: its address is the whole's
  library* owner;
};

/// A function as the host calls it: what the library says of it, checked once.
struct native_function {
  const karyon_function* entry = nullptr;
  std::string_view name;
  std::vector<std::uint32_t> parameters;  // KARYON_..., one an argument
  std::vector<bool> optional;             // of each
  bool more_parameters = false;
  std::uint32_t results_max = 0;
};

/// A library in this process: from dlopen to dlclose, and the descriptor that both go by.
///
/// Referred to by organelle values, functions and resources. The last one gone closes it, on that thread.
class library {
public:
  /// not_loaded, build_id, features, table, not_opened.
  [[nodiscard]] static load_result<library*> load(sealed_organelle sealed);

  library(const library&) = delete;
  library& operator=(const library&) = delete;

  // Relaxed: whoever keeps has a reference already.
  void keep() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  /// Acquire-release pairs with that of the others: the last one sees what they did before they let go.
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) close();
  }
  /// For a thread that may be the library's own, which can not wait for itself: the rest is done by another one.
  void release_from_within() noexcept;

  [[nodiscard]] const karyon_organelle& table() const noexcept { return *table_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::vector<native_function>& functions() const noexcept { return functions_; }
  [[nodiscard]] const native_function* find(std::string_view name) const noexcept;

private:
  library() noexcept;
  ~library() = default;
  void close() noexcept;
  [[nodiscard]] load_result<void> open_system(sealed_organelle& sealed);
  [[nodiscard]] load_result<void> open_table(const sealed_organelle& sealed);
  [[nodiscard]] load_result<void> check_table(const sealed_organelle& sealed);

  std::atomic<std::uint64_t> references_{1};
  host_table host_;
  std::string path_;
  std::string system_name_;  // what dlopen was given
  descriptor memory_;
  void* loaded_ = nullptr;
  const karyon_organelle* table_ = nullptr;
  std::vector<native_function> functions_;
};

/// The functions that the host gives to libraries; src/organelle/host_table.cpp.
[[nodiscard]] karyon_host make_host_table() noexcept;

}  // namespace karyon::detail
