#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include <karyon/supervise/child_spec.hpp>

namespace karyon {

/// Which children are restarted when one ends.
enum class restart_strategy : std::uint8_t {
  one_for_one,   ///< The one that ended.
  one_for_all,   ///< All: the others are ended in reverse order first, then all are started in order.
  rest_for_one,  ///< The one that ended and those started after it, in the same way.
};
inline constexpr restart_strategy one_for_one = restart_strategy::one_for_one;
inline constexpr restart_strategy one_for_all = restart_strategy::one_for_all;
inline constexpr restart_strategy rest_for_one = restart_strategy::rest_for_one;

/// Whether a supervisor ends (with `shutdown`) when significant children have ended by themselves: a transient one as
/// expected, or a temporary one in any way. Children that the supervisor ends never count.
enum class auto_shutdown : std::uint8_t {
  never,            ///< No child may be significant then.
  any_significant,  ///< When one has.
  all_significant,  ///< When the last one that was running has.
};

/// How many restarts within how long are still taken for bad luck. One more, and the supervisor gives up: it ends its
/// children and itself with `shutdown`, and its own supervisor decides. Zero restarts: the first failure that calls for one.
struct restart_intensity {
  std::uint32_t restarts = 1;
  std::chrono::nanoseconds period = std::chrono::seconds(5);
  friend bool operator==(const restart_intensity&, const restart_intensity&) = default;
};

/// Waiting before a restart, longer each time: minimum, 2 x minimum, 4 x ... up to maximum, each with a random part taken off.
/// OTP lacks it; off by default (restarts happen at once).
struct restart_backoff {
  std::chrono::milliseconds minimum{0};  ///< 0: no waiting at all
  std::chrono::milliseconds maximum{30'000};
  /// A child that has run for this long starts again at the minimum.
  std::chrono::milliseconds reset_after{60'000};
  /// The share of each wait that is random, 0 to 1: with 0.2 a wait is 80% to 100% of its length.
  double jitter = 0.2;
};

/// A supervisor of many alike children (runtime::supervise): one_for_one, ids not needed, children ended in parallel.
struct supervisor_options {
  /// one_for_one is the only one possible here; supervisor_spec has the others.
  restart_strategy strategy = one_for_one;
  /// For all children together, however many shards they are spread over.
  restart_intensity intensity{};
  /// Opt-in: allows this share of the children (0 to 1) as restarts in a period, where that is more than intensity.restarts.
  double intensity_share = 0;
  /// Opt-in: failures with the same reason (kind, type and text) within this time of the first of them count as one
  /// restart: the burst has one cause. 0: each counts.
  std::chrono::milliseconds one_cause_window{0};
  restart_backoff backoff{};
  karyon::auto_shutdown auto_shutdown = auto_shutdown::never;
  /// For children whose own options name no policy: how long stop() and terminate() wait for children to end when asked,
  /// before they kill them.
  std::chrono::milliseconds shutdown_deadline{5000};
  /// More children than this are refused (errc::refused). 0: no limit.
  std::size_t max_children = 0;
  /// Where children go whose own options say near_parent(): by default, spread over all workers.
  placement where{};
};

/// An ordered supervisor with its children (runtime::start): OTP's supervisor, for the fixed structure of a program.
struct supervisor_spec {
  restart_strategy strategy = one_for_one;
  restart_intensity intensity{};
  restart_backoff backoff{};
  karyon::auto_shutdown auto_shutdown = auto_shutdown::never;
  /// Started in this order, ended in reverse.
  std::vector<child_spec> children{};
  /// Where the supervisor itself runs.
  placement where{};
};

/// Whether the spec can be started: errc::invalid_argument with the path of the child and the name of the field at fault.
[[nodiscard]] KARYON_API result<void> check(const supervisor_spec& spec);
[[nodiscard]] KARYON_API result<void> check(const supervisor_options& options);

}  // namespace karyon
