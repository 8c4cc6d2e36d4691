// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <karyon/cell/ref.hpp>
#include <karyon/nerve/signal.hpp>

#include "tools/colony/use.hpp"

namespace karyon::tools {

class symbol;

/// Which process a symbol lives in: 0 is the one with the eyes, others are members in the order in which they joined; and which of
/// that member's symbols it is.
struct symbol_home {
  std::uint32_t member = 0;
  std::uint32_t number = 0;
};

/// To the conductor, from a member's porter: it is there, and has room for symbols.
struct member_ready {
  std::string name;
  cell_ref who;
};
KARYON_SIGNAL(member_ready, name, who)

/// To a porter, from the conductor: start so many symbols, as symbols of that member; answered by signals `stock` (symbol.hpp).
struct provide {
  std::uint32_t member = 0;
  std::uint32_t count = 0;
};
KARYON_SIGNAL(provide, member, count)

/// To a porter: kill these symbols of yours.
struct kill_symbols {
  std::vector<std::uint32_t> numbers;
};
KARYON_SIGNAL(kill_symbols, numbers)

/// The members of a colony that is spread over processes, as the process with the eyes knows them: symbols that they have started for
/// names to come, and whose name each of them has become. Any thread.
class guest_book {
public:
  struct member {
    std::string name;
    std::uint64_t symbols = 0;  // that have a name
    bool lost = false;
  };

  /// The number of a new member, 1 or more.
  std::uint32_t add(std::string name, cell_ref who);
  /// Symbols that are nobody's yet, numbered from `first`.
  void add_stock(std::uint32_t which, std::uint32_t first, std::span<const child<symbol>> symbols);
  /// A symbol of the member that has been given the fewest, for the name with this id; false if none has any left. `low`: the member that
  /// is to be asked for more, or 0.
  bool take(symbol_id id, child<symbol>& handle, std::uint32_t& low);
  /// The names whose symbols were there; nothing more is taken from it.
  [[nodiscard]] std::vector<symbol_id> lose(std::uint32_t which);
  /// False if that member is lost, or that symbol has no name.
  [[nodiscard]] bool name_of(std::uint32_t which, std::uint32_t number, symbol_id& id) const;
  [[nodiscard]] symbol_home home_of(symbol_id id) const;
  [[nodiscard]] cell_ref porter_of(std::uint32_t which) const;
  /// Members that are there and have room.
  [[nodiscard]] std::uint32_t ready() const;
  /// Acquire pairs with lose's release: who sees a loss counted finds that member lost.
  [[nodiscard]] std::uint32_t losses() const noexcept { return losses_.load(std::memory_order_acquire); }
  [[nodiscard]] std::vector<member> members() const;

  static constexpr std::uint32_t stock_size = 16'384;

private:
  static constexpr symbol_id nobody = ~symbol_id{0};
  struct guest {
    member what;
    cell_ref who;
    std::vector<child<symbol>> symbols;  // by number
    std::vector<symbol_id> names;        // by number
    std::uint32_t next = 0;              // the first that has no name
    bool asked = true;                   // for more
  };
  mutable std::mutex mutex_;
  std::vector<guest> guests_;       // mutex_
  std::vector<symbol_home> homes_;  // mutex_; by id
  std::atomic<bool> any_{false};    // whoever has no members pays no lock
  std::atomic<std::uint32_t> losses_{0};
};

}  // namespace karyon::tools
