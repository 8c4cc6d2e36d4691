// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <karyon/nerve/compartment.hpp>
#include <karyon/nerve/endocrine.hpp>
#include <karyon/nerve/hormone_level.hpp>

#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

struct heat {
  std::int64_t degrees = 0;
};
struct noise {
  std::int64_t level = 0;
};

/// Writes down what it hears.
class listener : public cell {
public:
  using accepts = signals<heat, noise, quit>;
  explicit listener(diary& d) : diary_(&d) {}
  void on(const heat& h) { diary_->write("heat " + std::to_string(h.degrees)); }
  void on(const noise& n) { diary_->write("noise " + std::to_string(n.level)); }
  void on(quit) { exit(); }

private:
  diary* diary_;
};

/// Counts what it hears.
class tally : public cell {
public:
  using accepts = signals<heat, get>;
  explicit tally(std::atomic<std::uint64_t>& all) : all_(&all) {}
  void on(const heat&) {
    ++heard_;
    all_->fetch_add(1, std::memory_order_relaxed);
  }
  std::uint64_t on(get) { return heard_; }

private:
  std::atomic<std::uint64_t>* all_;
  std::uint64_t heard_ = 0;
};

[[nodiscard]] inline std::uint64_t sum_lost(const endocrine_metrics& m) {
  return m.lost_ended + m.lost_restarting + m.lost_full + m.lost_type + m.lost_memory;
}
[[nodiscard]] inline std::uint64_t sum_refused(const endocrine_metrics& m) {
  std::uint64_t n = 0;
  for (const std::uint64_t r : m.refused) n += r;
  return n;
}
[[nodiscard]] inline std::uint64_t sum_not_taken(const endocrine_metrics& m) {
  return m.not_taken_malformed + m.not_taken_type + m.not_taken_stale + m.not_taken_duplicate + m.not_taken_full +
         m.not_taken_storm;
}

/// The sums that a bus promises once it is quiet (endocrine_metrics).
[[nodiscard]] inline bool sums_hold(const endocrine_metrics& m, bool over_nats) {
  return m.published == m.accepted + sum_refused(m) && m.reached == m.delivered + sum_lost(m) &&
         (over_nats ? m.accepted == m.sent + m.lost_expired + m.lost_disconnected &&
                          m.received == m.fanned_out + sum_not_taken(m)
                    : m.accepted == m.fanned_out);
}
/// That they come to hold: over a server there may be more on its way, though nobody waits for it.
inline void check_sums(const endocrine& bus, bool over_nats) {
  if (eventually([&] { return sums_hold(bus.metrics(), over_nats); })) return;
  const endocrine_metrics m = bus.metrics();
  CHECK(m.published == m.accepted + sum_refused(m));
  CHECK(m.reached == m.delivered + sum_lost(m));
  if (over_nats) {
    CHECK(m.accepted == m.sent + m.lost_expired + m.lost_disconnected);
    CHECK(m.received == m.fanned_out + sum_not_taken(m));
  } else {
    CHECK(m.accepted == m.fanned_out);
  }
  FAIL_CHECK("the sums of a bus do not hold");
}

/// Waits until nothing is on its way in the lanes.
[[nodiscard]] inline bool quiet_bus(const endocrine& bus) {
  return eventually([&] {
    const endocrine_metrics m = bus.metrics();
    return m.accepted == m.fanned_out || (m.received != 0 && m.received == m.fanned_out + sum_not_taken(m));
  });
}

}  // namespace karyon::tests
