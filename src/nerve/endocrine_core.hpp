// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <karyon/nerve/endocrine.hpp>

#include "cell/runtime_core.hpp"
#include "nerve/carrier.hpp"
#include "nerve/duplicate_filter.hpp"
#include "nerve/endocrine_lane.hpp"
#include "nerve/storm_guard.hpp"
#include "nerve/subject_tree.hpp"

namespace karyon::detail {

class overlay_bus;

/// The inside of a bus: who has subscribed to what, what it may cost, and the way to the lanes and the carrier. Kept by its
/// endocrine, and by the runtime until its lanes have nothing left.
///
/// A published signal:  subject -> guard -> (carrier -> ... -> arrived ->) route -> sinks, one item for each lane -> cells
class endocrine_core final : public shutdown_participant, public carrier_sink {
public:
  endocrine_core(runtime_core& host, endocrine_options options);
  ~endocrine_core() override;

  /// After the constructor: connects to the server, if one is chosen. Throws runtime_error.
  void start();
  [[nodiscard]] runtime_core& host() noexcept { return host_; }
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_seq_cst); }

  // Any thread.
  publish_result publish(std::string_view subject, const hormone_type* type, std::shared_ptr<const void> value,
                         std::string_view sender);
  /// Counts a publish that was refused before it came here.
  publish_result refuse(publish_result why) noexcept;
  result<subscription> subscribe(const hormone_receiver* how, const address& who, bool role, std::string_view pattern);
  void unsubscribe(endocrine_group& group, std::uint32_t index, const address& who, std::uint32_t serial);
  void add_sink(std::string_view pattern, std::shared_ptr<endocrine_sink> sink);
  void remove_sink(std::string_view pattern, const endocrine_sink& sink) noexcept;
  void sweep();
  [[nodiscard]] bool settle(std::uint64_t timeout_ns) { return carrier_ == nullptr || carrier_->settle(timeout_ns); }
  [[nodiscard]] bool connected() const noexcept;
  [[nodiscard]] endocrine_metrics metrics() const;

  /// Its carrier, where that is an overlay; null else.
  [[nodiscard]] overlay_bus* by_overlay() const noexcept;
  /// Ends its part in a compartment, whose name is free from then on.
  void leave_overlay() noexcept;

  // The lanes.
  void finish(lane_item* item) noexcept;
  void count_out(endocrine_topic& topic, unsigned lane) noexcept;

  // shutdown_participant
  void begin_shutdown() noexcept override;
  void begin_kill() noexcept override {}
  [[nodiscard]] bool has_ended() const noexcept override;

  // carrier_sink
  void arrived(std::string_view subject, std::span<const std::byte> frame) noexcept override;
  void arrived_from_abroad(std::string_view subject, std::span<const std::byte> frame) noexcept override;
  void leaving(std::span<std::byte> frame) noexcept override;
  void tick() noexcept override;

private:
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>()(s); }
  };
  /// What is known of a subject that was published to.
  struct subject_state {
    subject_meter meter;
    std::shared_ptr<const endocrine_route> route;
    std::uint64_t route_version = 0;
  };
  struct subject_part {
    std::mutex mutex;
    std::unordered_map<std::string, subject_state, text_hash, std::equal_to<>> states;
    subject_state others;  // of subjects beyond the limit
  };
  /// What a pattern has: cells, or sinks, or both.
  struct pattern_state {
    std::shared_ptr<endocrine_topic> topic;
    std::vector<std::shared_ptr<endocrine_sink>> sinks;
    bool listened = false;
  };
  enum class admission : std::uint8_t { let_in, too_many_signals, too_many_deliveries, busy };

  /// Null if a thread that holds the patterns' lock has been stopped.
  [[nodiscard]] std::shared_ptr<const endocrine_route> route_of(subject_state& s, std::string_view subject, bool keep);
  /// The subject's limits; `reach` is set to whom it goes to where `deliveries` are asked for. Waits for no thread: `busy`.
  [[nodiscard]] admission admit(std::string_view subject, const sender_name& who, bool signals, bool deliveries,
                                std::shared_ptr<const endocrine_route>& reach);
  [[nodiscard]] static publish_result result_of(admission a) noexcept;
  publish_result send_out(std::string_view subject, const hormone_type& type, const void* value, std::uint32_t hops,
                          const sender_name& who);
  publish_result publish_anyway(std::string_view subject, const hormone_type* type, std::shared_ptr<const void> value,
                                std::string_view sender);
  void receive(std::string_view subject, std::span<const std::byte> frame, bool foreign) noexcept;
  void take_in(std::string_view subject, std::span<const std::byte> frame, bool foreign);
  [[nodiscard]] bool enter_signal() noexcept;
  /// After enter_signal: that entry is the signal's, until the lanes have finished with it, or taken back if this throws.
  void fan_out(std::string_view subject, const hormone_type& type, std::shared_ptr<const void> value,
               std::shared_ptr<const endocrine_route> reach, std::uint32_t hops);
  void leave_signal() noexcept;
  /// admit() of what has entered; it leaves again unless it is let in.
  [[nodiscard]] admission admit_entered(std::string_view subject, const sender_name& who, bool signals,
                                        std::shared_ptr<const endocrine_route>& reach);
  void push_command(lane_item::kind what, std::shared_ptr<endocrine_topic> topic, endocrine_group& group,
                    std::uint32_t index, const endocrine_group::entry& entry);
  void sweep_later(endocrine_group& g) noexcept;
  void sweep_when_full();
  [[nodiscard]] pattern_state& wanted(std::string_view pattern);
  void drop_if_unwanted(std::string_view pattern) noexcept;
  void tell_storm(std::string_view subject, std::string sender, storm_cause cause, std::uint64_t receivers) noexcept;
  [[nodiscard]] const hormone_type* type_of(std::uint64_t id);
  void know_type(const hormone_type& type);

  runtime_core& host_;
  const endocrine_options options_;
  std::vector<std::unique_ptr<endocrine_lane>> lanes_;
  sender_meters senders_;
  std::array<subject_part, 64> subjects_;
  mutable std::mutex patterns_mutex_;
  subject_tree<pattern_state> patterns_;   // patterns_mutex_
  std::atomic<std::uint64_t> version_{1};  // of patterns_; changed with its lock, read without
  std::mutex types_mutex_;
  std::map<std::uint64_t, const hormone_type*> types_;  // types_mutex_; of what arrives, by schema
  std::mutex duplicates_mutex_;
  duplicate_filter duplicates_{4096};              // duplicates_mutex_
  duplicate_filter duplicates_from_abroad_{4096};  // duplicates_mutex_
  std::mutex echoes_mutex_;
  token_bucket echoes_;  // echoes_mutex_: reports of too many hops
  std::unique_ptr<endocrine_carrier> carrier_;
  const std::uint64_t origin_;
  std::uint64_t sequence_ = 0;  // the carrier's sending thread
  std::atomic<bool> closed_{false};
  /// Signals and commands that the lanes have not finished. Sequentially consistent with closed_: who enters counts, then looks
  /// whether it is closed; who closes says so, then looks whether anybody is in.
  std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<std::uint64_t> commands_{0};
  std::atomic<std::uint64_t> full_sweep_ns_{0};  // when there was no place for a subscription last

  struct {
    std::atomic<std::uint64_t> published{0};
    std::array<std::atomic<std::uint64_t>, 10> outcome{};  // by publish_result
    std::atomic<std::uint64_t> fanned_out{0};
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> malformed{0};
    std::atomic<std::uint64_t> type{0};
    std::atomic<std::uint64_t> stale{0};
    std::atomic<std::uint64_t> duplicate{0};
    std::atomic<std::uint64_t> full{0};
    std::atomic<std::uint64_t> storm{0};
    std::atomic<std::uint64_t> storms{0};
    std::atomic<std::uint64_t> subscriptions{0};
  } counts_;
};

}  // namespace karyon::detail
