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

/// The cell of one identifier: knows where it is used, because eyes have told it, use by use.
///
/// Hearing a use twice is harmless, so an eye may always say all it knows. A symbol that was restarted knows nothing, and
/// asks the eyes again through the conductor.
class symbol : public karyon::cell {
public:
  using accepts = karyon::signals<use, who_uses_you, describe_yourself>;

  symbol(colony_ground* ground, symbol_id id) noexcept : ground_(ground), id_(id) {}

  void on_start();
  void on(use u) { uses_.add(u); }
  std::vector<use> on(who_uses_you);
  self_description on(describe_yourself);

private:
  colony_ground* ground_;
  use_list uses_;
  symbol_id id_;
};

}  // namespace karyon::tools
