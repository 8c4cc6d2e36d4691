// SPDX-License-Identifier: Apache-2.0
#include "nerve/endocrine_core.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"
#include "nerve/overlay_bus.hpp"

namespace karyon::detail {

std::uint32_t& hops_behind() noexcept {
  static thread_local constinit std::uint32_t hops = 0;
  return hops;
}

endocrine_core::endocrine_core(runtime_core& host, endocrine_options options)
    : host_(host), options_(std::move(options)), senders_(options_.storm.sender), origin_(random_bits()) {
  for (unsigned i = 0; i < host.workers().size(); ++i) lanes_.push_back(std::make_unique<endocrine_lane>(*this, i));
}

endocrine_core::~endocrine_core() {
  if (carrier_ != nullptr) carrier_->close();
}

void endocrine_core::start() {
  constexpr std::string_view by_overlay = "overlay://";
  if (options_.server.starts_with(by_overlay)) {
    const auto network = std::dynamic_pointer_cast<node_services>(host_.network());
    if (network == nullptr) {
      throw runtime_error(
          error(errc::unsupported, "a bus by overlay needs a node of its runtime (karyon::node) first"));
    }
    carrier_ = std::make_unique<overlay_bus>(network, std::string_view(options_.server).substr(by_overlay.size()),
                                             options_, *this);
  } else if (!options_.server.empty()) {
    carrier_ = connect_nats(options_, *this);
  }
}

void endocrine_core::leave_overlay() noexcept {
  if (overlay_bus* const bus = by_overlay(); bus != nullptr) bus->close();
}

overlay_bus* endocrine_core::by_overlay() const noexcept { return dynamic_cast<overlay_bus*>(carrier_.get()); }

// ---- the end -------------------------------------------------------------------------------------------------------

void endocrine_core::begin_shutdown() noexcept { closed_.store(true, std::memory_order_seq_cst); }

bool endocrine_core::has_ended() const noexcept {
  return in_flight_.load(std::memory_order_seq_cst) == 0 && commands_.load(std::memory_order_seq_cst) == 0 &&
         std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->is_resting(); });
}

bool endocrine_core::enter_signal() noexcept {
  if (in_flight_.fetch_add(1, std::memory_order_seq_cst) < options_.in_flight_max && !closed()) return true;
  leave_signal();
  return false;
}

void endocrine_core::leave_signal() noexcept { in_flight_.fetch_sub(1, std::memory_order_seq_cst); }

void endocrine_core::finish(lane_item* item) noexcept {
  if (item->what == lane_item::message) {
    endocrine_message* const m = static_cast<endocrine_message::item*>(item)->of;
    // Pairs with that of the other lanes, and of fan_out: who is the last sees that all have finished with the message.
    if (m->lanes_left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    endocrine_message::destroy(m);
    counts_.fanned_out.fetch_add(1, std::memory_order_relaxed);
    leave_signal();
  } else {
    delete static_cast<lane_command*>(item);
    commands_.fetch_sub(1, std::memory_order_seq_cst);
  }
}

// ---- what is told --------------------------------------------------------------------------------------------------

void endocrine_core::tell_storm(std::string_view subject, std::string sender, storm_cause cause,
                                std::uint64_t receivers) noexcept {
  counts_.storms.fetch_add(1, std::memory_order_relaxed);
  try {
    const storm_report report{std::string(subject), std::move(sender), cause, receivers};
    if (log_enabled(log_level::warn)) log(log_level::warn, karyon::to_string(report));
    if (options_.on_storm) options_.on_storm(report);
  } catch (...) {  // it is counted
  }
}

bool endocrine_core::connected() const noexcept { return !closed() && (carrier_ == nullptr || carrier_->connected()); }

endocrine_metrics endocrine_core::metrics() const {
  const auto read = [](const std::atomic<std::uint64_t>& a) { return a.load(std::memory_order_relaxed); };
  endocrine_metrics m;
  m.published = read(counts_.published);
  for (std::size_t i = 1; i < counts_.outcome.size(); ++i) m.refused[i] = read(counts_.outcome[i]);
  m.accepted = read(counts_.outcome[0]);
  m.fanned_out = read(counts_.fanned_out);
  for (const auto& lane : lanes_) {
    const endocrine_lane::counters& c = lane->stats();
    m.reached += read(c.reached);
    m.delivered += read(c.delivered);
    m.lost_ended += read(c.ended);
    m.lost_restarting += read(c.restarting);
    m.lost_full += read(c.full);
    m.lost_type += read(c.type);
    m.lost_memory += read(c.memory);
  }
  m.received = read(counts_.received);
  m.not_taken_malformed = read(counts_.malformed);
  m.not_taken_type = read(counts_.type);
  m.not_taken_stale = read(counts_.stale);
  m.not_taken_duplicate = read(counts_.duplicate);
  m.not_taken_full = read(counts_.full);
  m.not_taken_storm = read(counts_.storm);
  if (carrier_ != nullptr) {
    const carrier_counts c = carrier_->counts();
    m.sent = c.sent;
    m.lost_expired = c.lost_expired;
    m.lost_disconnected = c.lost_disconnected;
    m.dropped_slow = c.dropped_slow;
    m.disconnects = c.disconnects;
    m.announced = c.announced;
    m.announcements_heard = c.announcements_heard;
    m.announcements_malformed = c.announcements_malformed;
    m.announcements_not_allowed = c.announcements_not_allowed;
  }
  m.subscriptions = read(counts_.subscriptions);
  const std::lock_guard lock(patterns_mutex_);
  m.patterns = patterns_.size();
  m.storms = read(counts_.storms);
  return m;
}

}  // namespace karyon::detail
