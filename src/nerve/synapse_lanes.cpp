// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "nerve/little_endian.hpp"
#include "nerve/synapse_reactor.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

/// Messages that are read of one lane before all else has its turn.
constexpr int messages_a_turn = 4;

}  // namespace

/// With a peer that is reached by ipc, so on this machine. Where it can not open what it is offered, its frames come by ZeroMQ.
void reactor::offer_lane(link& l) {
  const auto kind = kind_of(l.way->endpoint);
  if (options_.shared_bytes == 0 || !kind || *kind != endpoint_kind::ipc) return;
  l.lane_in = lane::make(options_.shared_bytes);
}

void reactor::close_lanes(link& l) noexcept {
  l.lane_in.reset();
  l.lane_out.reset();
  l.lane_offered = 0;
  l.left.clear();
  l.left_at = 0;
}

// --- what comes ------------------------------------------------------------------------------------------------------

bool reactor::hear_lanes() {
  bool progress = false;
  for (link* l : links_.all()) {
    if (l->lane_in != nullptr) progress |= hear_lane(*l, messages_a_turn);
  }
  return progress;
}

/// Whether there was anything.
bool reactor::hear_lane(link& l, int messages_most) {
  bool progress = false;
  for (int i = 0; i < messages_most && l.at == link::phase::up && l.lane_in != nullptr; ++i) {
    const lane::found found = l.lane_in->take(from_lane_, static_cast<std::size_t>(message_bytes_max()));
    if (found == lane::found::nothing) break;
    const auto in = routes_.find(l.route);
    if (in == routes_.end()) break;  // a link that is up has one
    progress = true;
    if (found == lane::found::nonsense) {
      ++count_.bad[static_cast<std::size_t>(frame_fault::too_long)];
      in->second.faults = faults_max;
      take_down(l, link_loss::refused, false);
      return true;
    }
    arrival a{l.route, &in->second, monotonic_ns(), nullptr};
    read_frames(a, from_lane_);  // the link, and its lane, may end within
  }
  if (progress && l.lane_in != nullptr && l.lane_in->has_waiter()) send_pulse(l, monotonic_ns());
  return progress;
}

// --- what goes out ---------------------------------------------------------------------------------------------------

/// What is in outgoing_, behind room for its length.
void reactor::pass_by_lane(link& l, std::uint64_t now) {
  store_le(outgoing_.data(), static_cast<std::uint32_t>(outgoing_.size() - lane_length_bytes));
  const std::size_t gone = l.lane_out->put(outgoing_);
  ++count_.messages_shared;
  if (gone < outgoing_.size()) {
    std::swap(l.left, outgoing_);
    l.left_at = gone;
  }
  if (l.lane_out->has_sleeper()) send_pulse(l, now);
}

/// Whether any of it went.
bool reactor::send_left(link& l, std::uint64_t now) {
  const std::size_t gone = l.lane_out->put(std::span<const std::byte>(l.left).subspan(l.left_at));
  if (gone == 0) return false;
  l.left_at += gone;
  if (l.left_at == l.left.size()) {
    l.left.clear();
    l.left_at = 0;
  }
  if (l.lane_out->has_sleeper()) send_pulse(l, now);
  return true;
}

// --- sleep -----------------------------------------------------------------------------------------------------------

bool reactor::lanes_may_sleep() {
  for (link* l : links_.all()) {
    if (l->at != link::phase::up) continue;
    if (l->lane_in != nullptr && !l->lane_in->prepare_sleep()) return false;
    if (!l->left.empty() && !l->lane_out->wait_for_room()) return false;
  }
  return true;
}

void reactor::wake_lanes() noexcept {
  for (link* l : links_.all()) {
    if (l->lane_in != nullptr) l->lane_in->wake_up();
  }
}

}  // namespace karyon::detail
