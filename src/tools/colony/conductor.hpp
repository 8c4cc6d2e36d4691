// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <karyon/cell/cell.hpp>
#include <karyon/cell/runtime.hpp>

#include "tools/colony/ground.hpp"
#include "tools/colony/outcome.hpp"
#include "tools/colony/symbol.hpp"

namespace karyon::tools {

/// From an eye that has started, for the first time or again.
struct eye_ready {
  file_id file = 0;
};

/// From an eye that has read its file, or could not.
struct eye_done {
  file_id file = 0;
  std::uint32_t turn = 0;
  outcome what = outcome::scanned;
  std::string reason;
};

/// From an eye that has answered a recall.
struct recall_answered {
  file_id file = 0;
  std::uint32_t wave = 0;
};

/// From a symbol that was restarted and knows nothing. A member's symbol says its number there.
struct symbol_reborn {
  symbol_id id = 0;
  std::uint32_t member = 0;
};
KARYON_SIGNAL(symbol_reborn, id, member)

/// From whoever has taken one of the last symbols that this member has provided.
struct stock_low {
  std::uint32_t member = 0;
};

/// Asked by the main thread, answered with their number as soon as so many members are there and have room.
struct when_joined {
  std::uint32_t members = 0;
};

/// From the main thread: all eyes are started and can be reached through the ground.
struct begin {};

/// From the main thread, before it kills them: the colony is not settled before each of these has come back.
struct expect_rebirths {
  std::vector<file_id> eyes;
  std::vector<symbol_id> symbols;
};

/// Asked by the main thread, answered as soon as nothing is left to do.
struct when_settled {};

/// What became of the files, as the eyes have found them.
struct settlement {
  outcome_counts outcomes;
  std::vector<problem> problems;
};

/// A set of symbols that many eyes read at the same time; nobody writes to it once it is sent.
struct symbol_set {
  std::vector<bool> members;  // by symbol_id
  [[nodiscard]] bool contains(symbol_id id) const noexcept { return id < members.size() && members[id]; }
};

/// Gives the eyes their turns, and sees to it that what a restarted cell has forgotten is learned again.
///
/// Only some eyes read at a time, so that the colony holds a few files in memory and not all, and the signals in flight
/// stay few. Restarted symbols are gathered, and all eyes are asked for them in one wave; who is restarted meanwhile
/// waits for the next wave, which starts when the last eye has answered: no timer decides it. An eye that ends instead of
/// answering counts as having answered, for its next incarnation reads its file anew and tells all of it. While symbols
/// are missing that are known to come back, nobody is asked or given a turn: what is told to them now is told in vain.
///
/// Where the colony is spread, it also keeps the members: has them start symbols before they are needed, and gives the names of a member
/// that is lost new symbols, for which the eyes are asked like for restarted ones.
class conductor : public karyon::cell {
public:
  using accepts = karyon::signals<begin, eye_ready, eye_done, recall_answered, symbol_reborn, expect_rebirths,
                                  when_settled, member_ready, stock, stock_low, when_joined, karyon::down>;

  conductor(colony_ground* ground, std::uint32_t eyes_at_once);

  void on(begin);
  void on(eye_ready ready);
  void on(eye_done done);
  void on(recall_answered answer);
  void on(symbol_reborn reborn);
  void on(expect_rebirths expected);
  karyon::deferred<settlement> on(when_settled);
  void on(const member_ready& who);
  void on(const stock& more);
  void on(stock_low low);
  karyon::deferred<std::uint32_t> on(when_joined question);
  void on(const karyon::down& gone);

private:
  enum class eye_state : std::uint8_t { absent, waiting, looking, done };

  struct eye_record {
    eye_state state = eye_state::absent;
    outcome what = outcome::scanned;
    std::uint8_t failures = 0;  // incarnations lost in their turn since the last one that finished
    bool owes_answer = false;   // to the current wave
    bool rebirth_expected = false;
    std::uint32_t turn = 0;
    std::string reason;
  };

  void finish(eye_record& e, outcome what, std::string reason);
  void give_turns();
  void start_wave();
  void advance();
  void forgot(symbol_id id);

  colony_ground* ground_;
  std::vector<eye_record> eyes_;
  std::deque<file_id> queue_;
  std::uint32_t eyes_at_once_;
  std::uint32_t looking_ = 0;
  std::uint32_t done_ = 0;
  bool begun_ = false;

  std::vector<bool> forgetful_;  // symbols that wait for the next wave
  std::uint32_t forgetful_count_ = 0;
  std::uint32_t wave_ = 0;
  std::uint32_t answers_owed_ = 0;

  std::vector<bool> expected_symbols_;
  std::uint64_t eyes_expected_ = 0;
  std::uint64_t symbols_expected_ = 0;
  std::vector<karyon::promise<settlement>> waiting_;

  std::vector<cell_ref> porters_;  // by member; the first is member 1
  std::vector<std::pair<std::uint32_t, karyon::promise<std::uint32_t>>> waiting_for_members_;
};

}  // namespace karyon::tools
