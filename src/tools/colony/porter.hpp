// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <vector>

#include <karyon/cell/cell.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "tools/colony/conductor.hpp"
#include "tools/colony/ground.hpp"
#include "tools/colony/guests.hpp"
#include "tools/colony/symbol.hpp"

namespace karyon::tools {

/// From a porter to itself: the stock had no room on its way.
struct send_the_rest {};

/// The cell that stands for a member of a spread colony: starts symbols here for the conductor of the process that has the eyes, and kills
/// them when it is told to. Ends when that process is gone.
class porter : public karyon::cell {
public:
  using accepts = karyon::signals<provide, kill_symbols, send_the_rest, karyon::down>;

  porter(std::string name, symbol_ground* ground, supervisor keeper, child<conductor> lead);

  void on_start();
  void on(const provide& wanted);
  void on(const kill_symbols& which);
  void on(send_the_rest);
  void on(const karyon::down& gone);

private:
  std::string name_;
  symbol_ground* ground_;
  supervisor keeper_;
  child<conductor> lead_;
  std::vector<child<symbol>> symbols_;  // by number
  std::deque<stock> unsent_;
};

}  // namespace karyon::tools
