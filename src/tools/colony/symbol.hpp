// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <karyon/cell/cell.hpp>

#include "tools/colony/fingerprint.hpp"
#include "tools/colony/ground.hpp"
#include "tools/colony/use_list.hpp"

namespace karyon::tools {

/// Asks a symbol for all its uses, in order of file and line.
struct who_uses_you {};
KARYON_SIGNAL(who_uses_you)

/// From a symbol to itself: say once more that you have begun anew, there was no room for it on the way.
struct say_again {};

/// The cell of one identifier: knows where it is used, because eyes have told it, use by use.
///
/// Hearing a use twice is harmless, so an eye may always say all it knows. A symbol that was restarted knows nothing, and
/// asks the eyes again through the conductor.
class symbol : public karyon::cell {
public:
  using accepts = karyon::signals<use, who_uses_you, describe_yourself, say_again>;

  /// `id` is its name's where the eyes are, and elsewhere its number among that member's symbols.
  symbol(const symbol_ground* ground, symbol_id id) noexcept : ground_(ground), id_(id) {}

  void on_start();
  void on(use u) { uses_.add(u); }
  std::vector<use> on(who_uses_you);
  self_description on(describe_yourself question);
  void on(say_again);

private:
  const symbol_ground* ground_;
  use_list uses_;
  symbol_id id_;
};

/// To the conductor, from a member's porter: symbols that are nobody's yet, numbered from `first`.
struct stock {
  std::uint32_t member = 0;
  std::uint32_t first = 0;
  std::vector<child<symbol>> symbols;
};
KARYON_SIGNAL(stock, member, first, symbols)

}  // namespace karyon::tools
