#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <karyon/cell/ref.hpp>

#include "cell/extras.hpp"
#include "nerve/transport.hpp"
#include "nerve/wire_types.hpp"

namespace karyon::detail {

/// A cell number in one word, for stubs and tables.
[[nodiscard]] constexpr std::uint64_t packed(cell_number n) noexcept {
  return (std::uint64_t{n.tenant} << 32U) | n.index;
}
[[nodiscard]] constexpr cell_number unpacked(std::uint64_t far) noexcept {
  return {static_cast<std::uint32_t>(far), static_cast<std::uint16_t>(far >> 32U)};
}

/// The questions that wait for an answer from one peer. A question is owned by whoever takes it out. Not synchronised.
class question_table {
public:
  /// False if there are `most` of them.
  [[nodiscard]] bool add(signal* question, std::size_t most, cell_number& number) {
    if (waiting_ >= most) return false;
    if (free_.empty()) {
      // Room for each place at any time, since take() must not need memory; and no index before its place is there.
      places_.emplace_back();
      try {
        free_.reserve(places_.capacity());
      } catch (...) {
        places_.pop_back();
        throw;
      }
      free_.push_back(static_cast<std::uint32_t>(places_.size() - 1));
    }
    const std::uint32_t index = free_.back();
    free_.pop_back();
    places_[index].question = question;
    ++waiting_;
    number = {index + 1, places_[index].turn};
    return true;
  }
  /// Null if it was taken before. With 65,536 turns of a place an answer that is so late would find another question.
  [[nodiscard]] signal* take(cell_number number) noexcept {
    if (number.index == 0 || number.index > places_.size()) return nullptr;
    place& p = places_[number.index - 1];
    if (p.question == nullptr || p.turn != number.tenant) return nullptr;
    return take_from(number.index - 1);
  }
  /// As a list; needs no memory, since nobody would answer those that are lost on the way.
  [[nodiscard]] signal* take_all() noexcept {
    signal* all = nullptr;
    for (auto i = static_cast<std::uint32_t>(places_.size()); i-- > 0;) {
      if (places_[i].question == nullptr) continue;
      signal* const s = take_from(i);
      s->next = std::exchange(all, s);
    }
    return all;
  }

private:
  struct place {
    signal* question = nullptr;
    std::uint16_t turn = 0;
  };
  signal* take_from(std::uint32_t index) noexcept {
    place& p = places_[index];
    ++p.turn;
    --waiting_;
    free_.push_back(index);  // has room for all
    return std::exchange(p.question, nullptr);
  }

  std::vector<place> places_;
  std::vector<std::uint32_t> free_;
  std::size_t waiting_ = 0;
};

/// A link's two ends: one of ours, one of theirs.
struct linked_pair {
  address here;
  std::uint64_t there = 0;
  friend bool operator==(const linked_pair&, const linked_pair&) = default;
};
struct linked_pair_hash {
  std::size_t operator()(const linked_pair& p) const noexcept { return address_hash()(p.here) * 31 + p.there; }
};

/// What a node knows of a link between two such ends. An unlink is over when it is acknowledged, and either side may link again before:
/// so the entry stays for as long as there is a link, or an unlink without its acknowledgement.
struct link_state {
  cell_number named;              // of our end, as they know it
  bool linked = false;            // by the last link or unlink, of either side
  std::uint32_t unlinks_out = 0;  // of ours, that they have not acknowledged
  std::uint32_t unlinks_in = 0;   // of theirs, that our cell has not acknowledged
  [[nodiscard]] bool over() const noexcept { return !linked && unlinks_out == 0 && unlinks_in == 0; }
};
using link_map = std::unordered_map<linked_pair, link_state, linked_pair_hash>;

/// A monitor across the link: of one of ours on one of theirs, or the other way round.
struct far_monitor {
  address here;
  std::uint64_t there = 0;
  std::uint64_t their_id = 0;  // where they made it
  cell_number named;           // of `here`, as they named it
};

/// What could not be sent at once and must not be lost while the link holds.
struct unsent_notice {
  frame_header header;
  std::vector<std::byte> payload;
};

/// A cell of a peer that handles here name. `vouched`: the peer has named it itself, and not another node alone.
struct known_stub {
  address at;
  bool vouched = false;
};

/// One life of another node. Never freed before the node that knows it, since stubs point to it.
struct peer_state {
  explicit peer_state(const peer_id& i) noexcept : id(i) {}

  const peer_id id;
  std::atomic<bool> up{false};
  std::atomic<bool> retired{false};  // a later life of it has been seen
  /// Set before `up`, released by it; the old ones stay, since senders may look at them. Who sends loads `up` with acquire and then this
  /// with acquire as well: a link that has gone and come meanwhile may have brought new ones.
  std::atomic<const shared_types*> types{nullptr};

  std::mutex mutex;
  std::string name;                                                      // mutex
  std::vector<std::unique_ptr<const shared_types>> all_types;            // mutex
  std::unordered_map<std::uint64_t, known_stub> stubs;                   // mutex; by number there
  std::size_t sweep_stubs_at = 1024;                                     // mutex; so many of them
  question_table questions;                                              // mutex
  link_map links;                                                        // mutex
  std::map<std::uint64_t, far_monitor> monitors;                         // mutex; by our id; of theirs on ours
  std::unordered_map<std::uint64_t, std::uint64_t> monitor_by_their_id;  // mutex; our id of it
  std::map<std::uint64_t, far_monitor> watched;                          // mutex; by our id; of ours on theirs
  std::deque<unsent_notice> unsent;                                      // mutex
};

}  // namespace karyon::detail
