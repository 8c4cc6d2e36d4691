#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <karyon/cell/ref.hpp>
#include <karyon/core/result.hpp>
#include <karyon/matrix/owned_table.hpp>

namespace karyon {

/// How what is left in a gradient fades and spreads.
struct gradient_options {
  /// After this time half of it is left; zero: it does not fade.
  std::chrono::nanoseconds half_life{0};
  /// What part of an amount goes to each of the two neighbouring keys in a second, at first; 0: it stays where it is.
  double spread_per_second = 0;
  /// So many keys away nothing is felt any more, 1 to 4,096.
  std::uint32_t reach = 64;
  /// Less than this is nothing.
  double least = 1e-9;
};

/// How much there is at a key.
struct gradient_reading {
  std::int64_t key = 0;
  double amount = 0;
};

/// Sent to a cell that watches a key: the amount there has come to the threshold or gone below it.
struct gradient_crossed {
  std::int64_t key = 0;
  double threshold = 0;
  bool rising = false;  ///< true: it is the threshold or more now
};

namespace detail {

/// What was left at a key, at one time.
struct gradient_source {
  double amount = 0;
  std::uint64_t since_ns = 0;
};
using gradient_sources = std::vector<gradient_source>;
using gradient_table = table_ref<std::int64_t, gradient_sources>;
using watched_keys = table_ref<std::int64_t, std::uint32_t>;

}  // namespace detail

/// Amounts that are left at keys on a line, fade with time, and spread to the keys beside them: so cells find where something is
/// going on without being told by whom. The pheromones of a colony.
///
/// What is there is computed when it is asked for, from what was left where and when: nothing runs meanwhile. An amount a that was
/// left at key k a time t ago is felt at key k + n as a * 2^(-t / half_life) * e^-s * I_n(s) with s = 2 * spread * t: the exact
/// solution of decay and diffusion on a line of discrete keys (I_n is the modified Bessel function), and amounts add up. Of more
/// than eight amounts at one key the oldest two become one of their mean age.
///
/// A plain value, which may be sent in signals. Any thread may use it at any time; reading takes no lock. Time is the runtime's: in
/// a simulation it is the simulation's. It belongs to a cell and ends with it: then every function says `dead`.
class KARYON_API gradient {
public:
  gradient() noexcept = default;

  /// Leaves an amount at a key. Errors: `invalid_argument` if it is not a finite number above 0, `dead`. O(log n), and a signal
  /// if there is a watch within reach. Throws std::bad_alloc.
  result<void> leave(std::int64_t key, double amount) const;
  /// How much there is at a key. O(amounts within reach).
  [[nodiscard]] result<double> sense(std::int64_t key) const;
  /// Where there is most among the keys from `near - distance` to `near + distance`, which is at most the reach; of equal ones the
  /// nearest. Nothing if there is nothing.
  [[nodiscard]] result<std::optional<gradient_reading>> strongest(std::int64_t near, std::uint32_t distance) const;
  /// Sends `gradient_crossed` to `whom` each time that the amount at `key` comes to `threshold` or goes below it, and at once if
  /// it is that much already. Nobody polls: the time of the next crossing is computed, anew where something is left within reach.
  /// Ends with `whom`. Errors: `invalid_argument` (the threshold is not a finite number above 0), `dead`.
  result<void> watch(const cell_ref& whom, std::int64_t key, double threshold) const;

private:
  friend KARYON_API result<gradient> make_gradient(runtime& rt, const cell_ref& owner, const gradient_options& how);
  gradient_options how_;
  detail::gradient_table sources_;
  detail::watched_keys watched_;
  cell_ref warden_;
};
template <>
inline constexpr bool enable_sendable<gradient> = true;

/// A gradient that belongs to a cell. Errors: `invalid_argument` for options that can not be, `dead`, `closed`. Costs three cells.
[[nodiscard]] KARYON_API result<gradient> make_gradient(runtime& rt, const cell_ref& owner,
                                                        const gradient_options& how);

}  // namespace karyon
