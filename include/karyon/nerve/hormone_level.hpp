// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/nerve/endocrine.hpp>

namespace karyon {

namespace detail {

/// The latest values of the subjects of a pattern (endocrine_level.cpp). Any thread.
class KARYON_API level_table {
public:
  struct latest {
    std::string subject;
    std::shared_ptr<const void> value;
    std::uint64_t age_ns = 0;
  };
  virtual ~level_table() = default;
  [[nodiscard]] virtual std::optional<latest> find(std::string_view subject) const = 0;
  /// Those younger than that, by subject.
  [[nodiscard]] virtual std::vector<latest> all(std::uint64_t younger_than_ns) const = 0;
};

}  // namespace detail

/// How a level fades.
struct hormone_level_options {
  /// After this time half of a value's strength is left.
  std::chrono::nanoseconds half_life = std::chrono::seconds(10);
  /// Weaker than this it counts as gone.
  double threshold = 0.01;
  /// Subjects that are remembered; a new one takes the place of the weakest.
  std::size_t subjects_max = 1024;
};

/// What is left of a published value.
template <class T>
struct hormone_reading {
  std::string subject;
  T value;
  double strength = 0;  ///< 1 when it came, halved by each half-life
  std::chrono::nanoseconds age{0};
};

/// A chemical gradient over the bus: the latest value by subject, which fades (a gradient in a table: karyon/matrix/gradient.hpp). Others need not be asked, nor have been listened to by a cell: a
/// value is left once (endocrine::publish) and sensed for a while by everybody who holds a level of its subject.
///
/// Holds what was published, to subjects of the pattern and with the type T, since it was made; in every process that has one, over
/// NATS as well. All members from any thread; none waits for others than those who use the same level, shortly. One
/// look-up, and a copy of T.
template <class T>
class hormone_level {
public:
  /// Throws runtime_error with `invalid_argument` for what is no pattern, and for a half_life that is not positive; `closed`;
  /// std::bad_alloc.
  hormone_level(endocrine& bus, std::string_view pattern, hormone_level_options options = {})
      : options_(checked(options)),
        table_((detail::check_published<T>(), bus.watch(&detail::hormone_type_of<T>, pattern, options.subjects_max))) {}

  /// What is sensed of one subject; nothing if nobody left a value, or if it has faded.
  [[nodiscard]] std::optional<hormone_reading<T>> sense(std::string_view subject) const {
    const auto found = table_->find(subject);
    if (!found) return std::nullopt;
    hormone_reading<T> r = reading(*found);
    if (r.strength < options_.threshold) return std::nullopt;
    return r;
  }
  /// Everything that is sensed, by subject.
  [[nodiscard]] std::vector<hormone_reading<T>> sense_all() const {
    const double lives = options_.threshold > 0 ? -std::log2(options_.threshold) : 1e6;
    constexpr double longest_ns = 9e18;  // centuries, and still a number of nanoseconds
    const double limit_ns = std::clamp(lives * static_cast<double>(options_.half_life.count()), 0.0, longest_ns);
    std::vector<hormone_reading<T>> readings;
    for (const auto& l : table_->all(static_cast<std::uint64_t>(limit_ns) + 1)) readings.push_back(reading(l));
    return readings;
  }

private:
  static const hormone_level_options& checked(const hormone_level_options& o) {
    if (o.half_life.count() <= 0)
      throw runtime_error(error(errc::invalid_argument, "hormone_level_options::half_life is not positive"));
    return o;
  }
  [[nodiscard]] hormone_reading<T> reading(const detail::level_table::latest& l) const {
    const double lives = static_cast<double>(l.age_ns) / static_cast<double>(options_.half_life.count());
    return {l.subject, *static_cast<const T*>(l.value.get()), std::exp2(-lives),
            std::chrono::nanoseconds(static_cast<std::int64_t>(l.age_ns))};
  }
  hormone_level_options options_;
  std::shared_ptr<detail::level_table> table_;
};

}  // namespace karyon
