// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "nerve/link_clock.hpp"
#include "nerve/security.hpp"
#include "nerve/synapse_lane.hpp"
#include "nerve/synapse_outlet.hpp"
#include "nerve/synapse_stream.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

struct link;

inline constexpr std::uint64_t ns_per_ms = 1'000'000;

[[nodiscard]] inline std::uint64_t ns_of(std::chrono::nanoseconds time) noexcept {
  return static_cast<std::uint64_t>(time.count());
}

/// One number of several, as good as surely another one for each other several.
[[nodiscard]] inline std::uint64_t mixed(std::initializer_list<std::uint64_t> parts) noexcept {
  std::uint64_t all = 0;
  for (const std::uint64_t part : parts) {
    all = (all ^ part) * 0x9e37'79b9'7f4a'7c15;
    all ^= all >> 29U;
  }
  return all;
}

/// A node that is to be called, now and after each loss.
struct target {
  std::string endpoint;
  std::optional<curve_key> key;
  link* whose = nullptr;  // once it has said who it is
  bool calling = false;   // there is a call for it, or its link's way is there
  std::uint64_t call_at_ns = 0;
  std::uint64_t pause_ns = 0;  // doubled by each failure
  bool passing = false;        // forgotten after failures_max
  int failures = 0;            // of calls, since the last that led to somebody
  static constexpr int failures_max = 8;
};

/// One connection that leads out. Its number is the cookie by which the peer answers, and its name in epoll.
struct call {
  zmq::socket_t socket;
  std::string endpoint;
  std::uint64_t cookie = 0;
  target* from = nullptr;  // null: made because the peer greeted us
  link* whose = nullptr;   // null: not known yet
  std::uint64_t give_up_at_ns = 0;
  bool connected = false;
  std::uint64_t greeted_bytes = 0;  // of greetings, which no credit bounds
  std::uint32_t faults = 0;         // of the called side
};

/// A life of a node that is kept out by another one of its name.
struct peer_life {
  std::uint64_t incarnation = 0;
  std::uint64_t since_ns = 0;  // when it first asked
  std::uint64_t asked_ns = 0;  // and last
  std::uint64_t told_ns = 0;   // when it was said that there are two nodes of one name; 0: not yet
};
/// As many as ask in turns and are told apart; of more some are told of minutes later, or again.
using peer_lives = std::array<peer_life, 8>;

/// A link's own connections, one for each direction (synapse_streams.cpp). The reactor's.
struct stream_state {
  // Ours.
  enum class phase : std::uint8_t { none, asked, calling, greeting, open, never };
  phase at = phase::none;
  std::unique_ptr<stream_out> called;  // until it is the link's lane_out
  int out_fd = -1;
  std::uint32_t epoch = 0;  // and token: by which the peer knows whose it is
  std::uint64_t token = 0;
  std::uint64_t give_up_at_ns = 0;
  std::uint64_t counted_at_ns = 0;  // how many frames had been sent then
  std::uint64_t counted_frames = 0;
  std::uint64_t busy_at_ns = 0;  // when it last had frames
  bool ended = false;            // by the peer; the link is given up soon
  // The peer's.
  std::uint64_t offered = 0;  // the token; 0: none
  std::uint64_t offered_until_ns = 0;
  std::shared_ptr<stream_in> in;
  bool begun = false;  // what came before by ZeroMQ has been read
  bool readable = false;
  std::uint64_t hot_until_ns = 0;  // it is looked at without being told of until then
};

/// All that is known of one node, kept from its first greeting to the end of the synapse: senders may hold it at any time. But for
/// the outlet, and what a sender does by itself where it can (reactor::send_at_once), it belongs to the reactor.
struct link {
  link(std::uint64_t id, std::uint64_t slots) : node(id), out(slots) {}

  const std::uint64_t node;
  outlet out;

  /// What a sender needs that passes its frame on by the lane itself. Nobody waits for it but the reactor, and that seldom.
  std::timed_mutex sending;
  std::atomic<bool> has_direct{false};  // a hint of `direct`
  std::atomic<bool> wake_peer{
      false};  // the reactor is to wake the peer's; set with `sending`, before a look whether the reactor sleeps
  std::atomic<bool> has_left{false};  // a hint of `left`
  bool direct = false;                // sending: the link is up, and has lane_out
  std::uint64_t last_direct_ns = 0;   // sending
  std::uint64_t direct_frames = 0;    // sending; sent so, and not yet in the reactor's counters
  // The same lock where there is one: epoch_out, sequence_out, sent_*, left, lane_out, and the taking end of `out`.

  enum class phase : std::uint8_t { down, greeting, up };
  phase at = phase::down;
  std::uint64_t incarnation = 0;  // the newest one that was seen
  std::unique_ptr<call> way;
  std::uint64_t links = 0;  // that there were
  std::uint64_t their_cookie = 0;
  peer_lives rivals;
  bool way_lost = false;  // our connection has ended; what the peer said before is still to be heard, its bye maybe
  std::uint64_t way_lost_ns = 0;  // when
  bool knows_us = false;          // the peer has had our greeting on the way that we have now
  std::uint32_t route = 0;
  std::string user;  // its key, where connections are encrypted
  std::vector<std::byte> hello;
  std::unique_ptr<lane>
      lane_in;  // for the peer's frames, as long as epoch_in is one; null: they come by the ROUTER alone
  std::unique_ptr<way_out>
      lane_out;                    // for ours, as long as the link is up, or as a stream lasts; null: they go by `way`
  bool lane_failed = false;        // for this incarnation one could not be settled: no other is offered
  lane_offer lane_offered;         // by the peer's greeting: what lane_out is to be; key 0: none
  std::uint32_t bell_offered = 0;  // with it: the descriptor of its bell
  std::vector<std::byte> left;     // of the message for lane_out that there was no room for
  std::size_t left_at = 0;
  std::uint64_t greet_at_ns = 0;
  std::uint64_t give_up_at_ns = 0;
  stream_state stream;

  std::uint64_t last_heard_ns = 0;
  std::uint64_t last_pulse_ns = 0;
  std::uint64_t heard = 0;  // the newest "sent at" of the peer, and when it came
  std::uint64_t heard_at = 0;
  link_clock clock;

  std::uint32_t epoch_out = 0;
  std::uint32_t window_frames = 0;  // what the peer grants
  std::uint32_t window_slots = 0;
  std::uint32_t frame_bytes_max = 0;
  std::uint16_t sequence_out = 0;
  std::uint64_t sent_frames = 0;
  std::uint64_t sent_slots = 0;
  std::uint64_t acknowledged_frames = 0;
  std::uint64_t acknowledged_slots = 0;

  std::uint32_t epoch_in = 0;
  std::uint16_t sequence_in = 0;
  std::uint64_t consumed_frames = 0;
  std::uint64_t consumed_slots = 0;
  std::uint64_t told_frames = 0;  // of these
  std::uint64_t told_slots = 0;
  bool listed = false;  // among those whose credit may be due
};

/// Finds the link of a node, on any thread, without a lock. The reactor adds; nothing is ever taken out, so what was found stays.
class link_table {
public:
  explicit link_table(std::size_t links_max) : places_(places_for(links_max)), links_max_(links_max) {}
  ~link_table() {
    for (const auto& place : places_) delete place.load(std::memory_order_relaxed);
  }
  link_table(const link_table&) = delete;
  link_table& operator=(const link_table&) = delete;

  [[nodiscard]] link* find(std::uint64_t node) const noexcept {
    for (std::size_t i = at(node);; i = (i + 1) & (places_.size() - 1)) {
      link* const found = places_[i].load(std::memory_order_acquire);  // partner: add()'s release; the link is made
      if (found == nullptr || found->node == node) return found;
    }
  }
  /// Reactor only. Null if there are links_max.
  link* add(std::uint64_t node, std::uint64_t slots) {
    if (all_.size() == links_max_) return nullptr;
    std::size_t i = at(node);
    while (places_[i].load(std::memory_order_relaxed) != nullptr) i = (i + 1) & (places_.size() - 1);
    all_.reserve(all_.size() + 1);
    auto made = std::make_unique<link>(node, slots);
    all_.push_back(made.get());
    places_[i].store(made.get(), std::memory_order_release);  // partner: find()'s acquire; the link is made
    return made.release();
  }
  /// Reactor only.
  [[nodiscard]] const std::vector<link*>& all() const noexcept { return all_; }

private:
  static std::size_t places_for(std::size_t links_max) {
    std::size_t n = 16;
    while (n < 2 * links_max) n *= 2;
    return n;
  }
  [[nodiscard]] std::size_t at(std::uint64_t node) const noexcept {
    return static_cast<std::size_t>((node * 0x9e37'79b9'7f4a'7c15) >> 32U) & (places_.size() - 1);
  }

  std::vector<std::atomic<link*>> places_;  // half empty at least, so that each search ends
  std::vector<link*> all_;
  std::size_t links_max_;
};

}  // namespace karyon::detail
