// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

namespace karyon::detail {

/// The sending end of a way that a link's frames take past ZeroMQ: shared memory (synapse_lane.hpp) or a connection of the link's own
/// (synapse_stream.hpp). A stream of bytes; what there is no room for the sender keeps. One thread at a time (link::sending).
class way_out {
public:
  way_out() = default;
  way_out(const way_out&) = delete;
  way_out& operator=(const way_out&) = delete;
  virtual ~way_out() = default;

  /// How many bytes can be put in now, as far as that is known.
  [[nodiscard]] virtual std::size_t room() const noexcept = 0;
  /// Takes the first of these bytes, as many as there is room for; how many.
  [[nodiscard]] virtual std::size_t put(std::span<const std::byte> bytes) noexcept = 0;
  /// Whether there is no room and never will be: the other end says what can not be, or is not there any more.
  [[nodiscard]] virtual bool is_over() const noexcept = 0;
  /// Whether the receiver slept when bytes were put in: it is to be woken, once.
  [[nodiscard]] virtual bool has_sleeper() noexcept = 0;
  /// Any sender's thread: wakes it. False if that can only be done by ZeroMQ.
  [[nodiscard]] virtual bool ring() noexcept = 0;
  /// Before the sender sleeps with bytes left over: false if there is room meanwhile.
  [[nodiscard]] virtual bool wait_for_room() noexcept = 0;
  /// A connection, where each put() is a system call.
  [[nodiscard]] virtual bool is_stream() const noexcept = 0;
};

}  // namespace karyon::detail
