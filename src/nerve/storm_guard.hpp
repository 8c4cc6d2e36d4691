// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/nerve/storm.hpp>

#include "nerve/token_bucket.hpp"

namespace karyon::detail {

/// Who publishes: a cell (its class and number), or a thread by the name that it gave.
struct sender_name {
  std::uint64_t id = 0;
  std::string_view text;  // lives as long as the call
  bool is_cell = false;   // `text` is a class, the id its number
};
[[nodiscard]] std::string to_string(const sender_name& s);

/// Whom most of a subject's cost is due to: the majority, if there is one (Boyer and Moore, "MJRTY", 1981). Not synchronised.
class heaviest_sender {
public:
  void add(const sender_name& who, std::uint64_t cost) noexcept;
  [[nodiscard]] std::string name() const;

private:
  std::uint64_t id_ = 0;
  std::uint64_t lead_ = 0;
  std::array<char, 96> text_{};
  std::uint8_t length_ = 0;
  bool is_cell_ = false;
};

/// One subject's part of the guard. Its lock is its holder's.
struct subject_meter {
  token_bucket signals;
  token_bucket deliveries;
  heaviest_sender heaviest;

  /// Who published what has been paid for since has no part in the storm that comes.
  void forget_what_is_paid(const storm_limits& limits, std::uint64_t now_ns) noexcept {
    if (signals.share_left(limits.subject, now_ns) >= 1 && deliveries.share_left(limits.deliveries, now_ns) >= 1)
      heaviest = {};
  }
};

/// The buckets of all senders, in bounded memory: a table of sets of four; a sender that finds its set full takes the place of the
/// one that has used least of its limit. If all four of a set have used theirs up a newcomer has to share with one of them.
/// Any thread; a short lock for each of 64 parts, for which nobody waits.
class sender_meters {
public:
  explicit sender_meters(const storm_limit& limit) : limit_(limit), parts_(64) {}
  /// Nothing if another thread keeps the sender's part locked.
  [[nodiscard]] std::optional<token_bucket::answer> take(std::uint64_t sender, std::uint64_t now_ns) noexcept;

private:
  struct entry {
    std::uint64_t id = 0;
    token_bucket bucket;
  };
  struct part {
    std::mutex mutex;
    std::array<std::array<entry, 4>, 64> sets;
  };
  const storm_limit limit_;
  std::vector<part> parts_;
};

}  // namespace karyon::detail
