// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/nerve/endocrine.hpp>

namespace karyon::detail {

/// What a carrier has counted (endocrine_metrics).
struct carrier_counts {
  std::uint64_t sent = 0;
  std::uint64_t lost_expired = 0;
  std::uint64_t lost_disconnected = 0;
  std::uint64_t dropped_slow = 0;
  std::uint64_t disconnects = 0;
  std::uint64_t announced = 0;
  std::uint64_t announcements_heard = 0;
  std::uint64_t announcements_malformed = 0;
  std::uint64_t announcements_not_allowed = 0;
};

/// Who a carrier tells: on its own threads, any number at once.
class carrier_sink {
public:
  virtual ~carrier_sink() = default;
  virtual void arrived(std::string_view subject, std::span<const std::byte> frame) noexcept = 0;
  /// The same, of what a gateway has brought from another compartment, whose word it is what it is known by.
  virtual void arrived_from_abroad(std::string_view subject, std::span<const std::byte> frame) noexcept {
    arrived(subject, frame);
  }
  /// The frame is sent next: frames leave in the order of these calls, of one thread.
  virtual void leaving(std::span<std::byte> frame) noexcept = 0;
  /// Now and then, for housekeeping.
  virtual void tick() noexcept = 0;
};

/// Takes published frames to other processes and theirs to this one.
class endocrine_carrier {
public:
  enum class fate : std::uint8_t { accepted, full, disconnected, too_large };
  virtual ~endocrine_carrier() = default;
  /// Any thread; never blocks. What is accepted is sent, or counted.
  [[nodiscard]] virtual fate send(std::string_view subject, std::vector<std::byte> frame) noexcept = 0;
  /// From now on, or no more, frames to subjects of the pattern are wanted. Returns at once. Throw std::bad_alloc.
  virtual void listen(const std::string& pattern) = 0;
  virtual void end_listening(const std::string& pattern) = 0;
  /// Blocks until the server has been told of all patterns, and has said so. False if that took longer.
  [[nodiscard]] virtual bool settle(std::uint64_t timeout_ns) = 0;
  [[nodiscard]] virtual bool connected() const noexcept = 0;
  /// Whether send() may find a way now; what frames come by may be missing.
  [[nodiscard]] virtual bool can_send() const noexcept = 0;
  [[nodiscard]] virtual carrier_counts counts() const noexcept = 0;
  /// After it returns the sink is not called any more.
  virtual void close() noexcept = 0;
};

/// Connects. Throws runtime_error.
[[nodiscard]] std::unique_ptr<endocrine_carrier> connect_nats(const endocrine_options& options, carrier_sink& sink);

}  // namespace karyon::detail
