#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include <karyon/cell/ref.hpp>

#include "nerve/frame.hpp"

namespace karyon::detail {

/// A cell of this process as others may name it.
struct exported_cell {
  address at;
  bool role = false;
  friend bool operator==(const exported_cell&, const exported_cell&) = default;
};

struct exported_hash {
  std::size_t operator()(const exported_cell& e) const noexcept {
    return std::hash<std::uint64_t>()(identity(e.at) * 2 + (e.role ? 1 : 0));
  }
};

/// The cells that others hold handles to. A number stays its cell's until that has ended; then the place is used again, with another
/// tenant, when room is needed. Any thread.
class export_table {
public:
  explicit export_table(std::size_t limit) noexcept : limit_(limit) {}
  /// Index 0.
  void set_node(const exported_cell& desk);
  /// The number of a cell, given now if it has none. False if no room is found.
  [[nodiscard]] bool number_of(const exported_cell& e, cell_number& number);
  /// False if the cell of that number has ended.
  [[nodiscard]] bool find(cell_number number, exported_cell& e) const;
  [[nodiscard]] std::size_t size() const;

private:
  struct place {
    exported_cell cell;
    std::uint16_t tenant = 0;
    bool used = false;
  };
  void sweep(std::size_t most);

  /// Of a full table so many places are looked at for each cell that finds no room: not all of them each time, under the lock.
  static constexpr std::size_t full_look = 4096;
  const std::size_t limit_;
  mutable std::shared_mutex mutex_;
  std::vector<place> places_ = std::vector<place>(1);                        // mutex_; by index
  std::vector<std::uint32_t> free_;                                          // mutex_
  std::unordered_map<exported_cell, std::uint32_t, exported_hash> by_cell_;  // mutex_
  std::size_t sweep_at_ = 1024;                                              // mutex_
  std::uint32_t hand_ = 0;                                                   // mutex_; where the next sweep begins
};

}  // namespace karyon::detail
