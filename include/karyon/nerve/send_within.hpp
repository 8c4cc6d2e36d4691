// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include <karyon/cell/ref.hpp>
#include <karyon/core/export.hpp>

namespace karyon {

namespace detail {
/// One that is over before anything is sent.
inline constexpr std::uint64_t time_to_live_over = ~std::uint64_t{0};
/// Of what this thread sends to other nodes, in microseconds; 0: that of its node (node_options::time_to_live). The one before.
KARYON_API std::uint64_t exchange_time_to_live(std::uint64_t us) noexcept;

class time_to_live_scope {
public:
  explicit time_to_live_scope(std::uint64_t us) noexcept : before_(exchange_time_to_live(us)) {}
  ~time_to_live_scope() { exchange_time_to_live(before_); }
  time_to_live_scope(const time_to_live_scope&) = delete;
  time_to_live_scope& operator=(const time_to_live_scope&) = delete;

private:
  std::uint64_t before_;
};
}  // namespace detail

/// Sends a signal that is worth nothing later: as `to.send(value)`, but that on its way to a cell of another node it is dropped, and
/// counted, once `time_to_live` has passed, whatever node_options::time_to_live says. What has reached the cell's mailbox is
/// handled, and so is what is sent to a cell of this process, which is there at once.
///
/// Any thread. From 1 us to 71 minutes, to which more is rounded; what is not positive is over already. Errors: those of `send`, and
/// `expired` where it is over and the cell is another node's. Order: that of `send`. Cost: those, and two changes of a variable of the
/// thread.
template <class Handle, class T>
send_result send_within(const Handle& to, std::chrono::microseconds time_to_live, T&& value) {
  constexpr std::int64_t longest_us = 0xFFFF'FFFF;
  const std::int64_t us = time_to_live.count() < longest_us ? time_to_live.count() : longest_us;
  const detail::time_to_live_scope scope(us > 0 ? static_cast<std::uint64_t>(us) : detail::time_to_live_over);
  return to.send(std::forward<T>(value));
}

}  // namespace karyon
