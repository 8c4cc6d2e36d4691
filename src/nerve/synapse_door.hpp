// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/core/export.hpp>

#include "nerve/synapse_stream.hpp"

namespace karyon::detail {

/// The port that peers call for their links' own connections, as long as it is open, and those who have come to it and have not said
/// yet whose they are: strangers. The reactor's; none of its functions waits.
///
/// There are few places for strangers. Where all are taken the one that has been silent for longest makes room. Who has said whose it is
/// keeps its place until next(), and who is to call says so as it comes: the system hands a caller on once it has spoken, or after a second
/// (stream_listener). So those who say nothing, or not enough, keep nobody out, unless there are more of them within that second than the
/// system has room for (net.core.somaxconn, 4,096): then callers come as they call, and one that has not spoken before 64 others have
/// come after it has to go. While all places are taken by those who have spoken, or the system has no descriptor left, who calls waits,
/// and nothing is told again and again: tick() looks again.
class KARYON_API stream_door {
public:
  static constexpr std::size_t strangers_max = 64;
  /// Has a descriptor's events (epoll's, by their edges) told to look_at(); false if that can not be.
  using watcher = std::function<bool(int fd, std::uint32_t events)>;

  stream_door(watcher watch, std::uint64_t patience_ns) : watch_(std::move(watch)), patience_ns_(patience_ns) {}

  /// On a free port of the address of a tcp endpoint. True if it is open, also if it was before. Throws std::bad_alloc.
  [[nodiscard]] bool open(std::string_view tcp_endpoint);
  /// Nobody can call any more; who has come stays.
  void close_port() noexcept { listener_.reset(); }
  [[nodiscard]] bool is_open() const noexcept { return listener_ != nullptr; }
  /// 0: it is not open.
  [[nodiscard]] std::uint16_t port() const noexcept {
    return listener_ != nullptr ? listener_->port() : std::uint16_t{0};
  }
  /// The port's; -1: it is not open.
  [[nodiscard]] int descriptor() const noexcept { return listener_ != nullptr ? listener_->descriptor() : -1; }

  /// False if the descriptor is neither the port's nor a stranger's.
  [[nodiscard]] bool look_at(int fd, std::uint64_t now_ns);
  /// A stranger that has said whose it is.
  struct guest {
    std::unique_ptr<stream_in> from;
    stream_in::preamble said;
  };
  [[nodiscard]] std::optional<guest> next();
  /// Who has said nothing for too long goes.
  void tick(std::uint64_t now_ns);

  /// Strangers that had to go without having said whose they are.
  [[nodiscard]] std::uint64_t turned_away() const noexcept { return turned_away_; }
  /// How often somebody has called and could not be let in, since memory or descriptors were short.
  [[nodiscard]] std::uint64_t not_let_in() const noexcept { return not_let_in_; }

private:
  struct stranger {
    std::unique_ptr<stream_in> from;
    std::uint64_t until_ns;
    std::optional<stream_in::preamble> said = std::nullopt;
  };
  void take(std::uint64_t now_ns);
  [[nodiscard]] bool has_room();
  void make_room();
  [[nodiscard]] std::vector<stranger>::iterator longest_silent();
  static void hear(stranger& s);

  const watcher watch_;
  const std::uint64_t patience_ns_;
  std::unique_ptr<stream_listener> listener_;
  std::vector<stranger> strangers_;  // in the order in which they came
  bool more_ = false;                // may be at the port, of whom nothing is told again
  std::uint64_t turned_away_ = 0;
  std::uint64_t not_let_in_ = 0;
};

}  // namespace karyon::detail
