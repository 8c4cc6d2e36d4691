// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/export.hpp>

#include "core/file_descriptor.hpp"
#include "nerve/synapse_way_out.hpp"

namespace karyon::detail {

/// Is said first on a stream: 16 bytes, the receiver's epoch for the sender's frames (4), 0 (4), the token of its offer (8).
inline constexpr std::size_t stream_preamble_bytes = 16;
/// Is answered, once: the stream is the link's.
inline constexpr std::byte stream_taken{0x4B};

/// A port that is open as long as somebody has been asked to call it. The reactor's.
class KARYON_API stream_listener {
public:
  /// On a free port of the address of a tcp endpoint. Null if its host is no number, or nothing can be had.
  [[nodiscard]] static std::unique_ptr<stream_listener> open(std::string_view tcp_endpoint);
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }
  /// A connection that has come in and has said something, or has been silent for more than a second; or -1. The caller's.
  [[nodiscard]] int take() const noexcept;

private:
  stream_listener(int fd, std::uint16_t port) noexcept : file_(fd), port_(port) {}
  file_descriptor file_;
  std::uint16_t port_;
};

/// The sending end of a link's own connection (tcp, plaintext). None of its functions waits.
class KARYON_API stream_out final : public way_out {
public:
  static constexpr std::chrono::milliseconds default_unanswered{10'000};
  /// Calls. Null if the address is no number, or nothing can be had. It breaks when the other side has not taken anything of what
  /// was put in for `unanswered_max`: the system alone would try for a quarter of an hour.
  [[nodiscard]] static std::unique_ptr<stream_out> call(const std::string& address, std::uint16_t port,
                                                        std::chrono::milliseconds unanswered_max = default_unanswered);

  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }
  /// After the descriptor has become writable: says the preamble. False if nobody has answered the call.
  [[nodiscard]] bool begin(std::uint32_t epoch, std::uint64_t token) noexcept;
  enum class word : std::uint8_t { none, taken, ended };
  /// What the other end says.
  [[nodiscard]] word hear() noexcept;

  [[nodiscard]] std::size_t room() const noexcept override { return broken_ ? 0 : ~std::size_t{0}; }
  [[nodiscard]] std::size_t put(std::span<const std::byte> bytes) noexcept override;
  [[nodiscard]] bool is_over() const noexcept override { return broken_; }
  [[nodiscard]] bool has_sleeper() noexcept override { return false; }  // the system wakes it
  [[nodiscard]] bool ring() noexcept override { return true; }
  [[nodiscard]] bool wait_for_room() noexcept override { return true; }
  [[nodiscard]] bool is_stream() const noexcept override { return true; }

private:
  explicit stream_out(int fd) noexcept : file_(fd) {}
  file_descriptor file_;
  bool broken_ = false;
};

/// The receiving end. Messages as in a lane: a length (4 bytes), and as many bytes.
class KARYON_API stream_in {
public:
  explicit stream_in(int fd) : file_(fd) {}

  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }
  /// The preamble, as soon as it is there whole: epoch and token.
  struct preamble {
    std::uint32_t epoch;
    std::uint64_t token;
  };
  [[nodiscard]] std::optional<preamble> hear_preamble();
  /// Says that it is taken.
  void welcome() const noexcept;

  enum class came : std::uint8_t { nothing, bytes, ended };
  /// Takes in what is there now, in one piece at most.
  [[nodiscard]] came fill();
  enum class found : std::uint8_t { nothing, message, nonsense };
  /// The next whole message; its bytes stay until the next fill(). `longest`: what is longer is nonsense.
  [[nodiscard]] found next(std::span<const std::byte>& message, std::size_t longest);
  /// Whether a message has begun that is not whole.
  [[nodiscard]] bool is_within() const noexcept { return begin_ != end_; }
  /// That have come, in all.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

  static constexpr std::size_t piece_bytes = 128U << 10U;

private:
  static constexpr std::size_t length_bytes = 4;

  file_descriptor file_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // of what has not been taken
  std::size_t end_ = 0;    // of what has come
  std::uint64_t bytes_ = 0;
};

}  // namespace karyon::detail
