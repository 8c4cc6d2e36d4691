// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <karyon/cell/cell.hpp>

#include "tools/colony/conductor.hpp"
#include "tools/colony/fingerprint.hpp"
#include "tools/colony/ground.hpp"

namespace karyon::tools {

/// From the conductor: read your file now.
struct look {
  std::uint32_t turn = 0;
};

/// From an eye to itself: go on reading. A file is scanned in pieces, so that no eye holds its worker for long.
struct look_on {};

/// From an eye to itself: some of what it has to tell had no room on its way to another process.
struct tell_rest {};

/// From the conductor: tell these symbols again where your file uses them.
struct recall {
  std::shared_ptr<const symbol_set> wanted;
  std::uint32_t wave = 0;
};

/// The cell of one source file: reads it when its turn comes, and tells each identifier's symbol of each line that uses
/// it, one signal a use. It remembers what it has told, as symbols and lines and without the text, for symbols that
/// forget; one that was restarted reads its file again and tells everything again.
class eye : public karyon::cell {
public:
  using accepts = karyon::signals<look, look_on, recall, tell_rest, describe_yourself>;

  eye(colony_ground* ground, file_id file) noexcept;
  ~eye();

  void on_start();
  void on(look turn);
  void on(look_on);
  void on(recall question);
  void on(tell_rest);
  self_description on(describe_yourself);

private:
  struct reading;  // exists from look to eye_done
  struct backlog;  // exists while something that was told waits for room

  /// The lines of one symbol: from `lines_[begin]` to where the next symbol's begin.
  struct told {
    symbol_id symbol = 0;
    std::uint32_t begin = 0;
  };

  void tell(const child<symbol>& who, symbol_id id, std::uint32_t line);
  void remember();
  void finish(outcome what, std::string reason);
  void answer(const recall& question);
  void say_answered(std::uint32_t wave);
  [[nodiscard]] std::uint32_t end_of(std::size_t i) const noexcept;

  colony_ground* ground_;
  std::unique_ptr<reading> reading_;
  std::unique_ptr<backlog> backlog_;
  std::vector<told> told_;
  std::vector<std::uint32_t> lines_;
  file_id file_;
};

}  // namespace karyon::tools
