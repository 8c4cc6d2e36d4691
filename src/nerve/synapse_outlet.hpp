// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include <karyon/core/export.hpp>

#include "nerve/frame.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

inline constexpr std::size_t slot_bytes = 32;

/// What a frame takes up of a window: its header's slot and its payload's, rounded up. Both sides count by this.
[[nodiscard]] constexpr std::uint64_t slots_of(std::size_t payload_bytes) noexcept {
  return 1 + (payload_bytes + slot_bytes - 1) / slot_bytes;
}

/// Where any thread leaves frames for one peer, without waiting for anybody, and the one thread that sends takes them away.
///
/// Credit and room are the same thing. The peer grants frames and slots (32 bytes); a frame is let in when its credit can be taken
/// off, and credit comes back only when the peer has consumed, so that the ring, which has as many slots as can ever be granted,
/// can not be full. What has its credit takes its place by one addition, copies, and commits by writing the first word of
/// its header. A thread that is interrupted in between keeps nobody from leaving frames, and the ones behind it from being
/// sent until it goes on.
///
///   credit   63: up   62..48: life   47..28: frames   27..0: slots
///
///   closed -> up    open(), by the reactor: the life that close() has counted up, the peer's window
///   up -> up        put(): one frame and its slots less, by CAS   give(): more, by addition
///   up -> closed    close(), by exchange: what is missing to the window was taken, and is in the ring or on its way into it
///
/// close() lets nobody in any more, but what has its credit will still be committed; the ring opens for the next link only when
/// that has been taken away (is_empty). The life in the word lets no frame in that was addressed to the peer's incarnation before:
/// the incarnation is compared after the word was read, and the CAS fails if the word has changed its life since.
///
/// put(), has_front(): any thread. front(), pop(): one at a time, the reactor or who has the link's lock (synapse_link.hpp). All else: the
/// reactor.
class KARYON_API outlet {
public:
  static constexpr std::uint64_t frames_max = (1U << 20U) - 1;
  static constexpr std::uint64_t slots_max = (1U << 28U) - 1;

  /// `slots` is rounded up to a power of two.
  explicit outlet(std::uint64_t slots);
  outlet(const outlet&) = delete;
  outlet& operator=(const outlet&) = delete;

  /// Leaves a frame for the peer's life `incarnation`. `now_us` is when it was sent, for frames with a time to live.
  [[nodiscard]] frame_fate put(std::uint64_t incarnation, const frame_header& header,
                               std::span<const std::byte> payload, std::uint32_t now_us) noexcept;

  /// Lets frames in for this life of the peer; is_empty() only.
  void open(std::uint64_t incarnation, std::uint64_t frames, std::uint64_t slots,
            std::uint32_t payload_bytes_max) noexcept;
  /// Gives credit back.
  void give(std::uint64_t frames, std::uint64_t slots) noexcept;
  /// Lets no more in.
  void close() noexcept;
  /// Nothing has credit that was not taken away.
  [[nodiscard]] bool is_empty() const noexcept { return !is_up() && popped_frames_ == taken_at_close_; }
  [[nodiscard]] bool is_up() const noexcept { return (credit_.load(std::memory_order_relaxed) & up_bit) != 0; }

  /// A committed frame. The payload lies in one piece, or in two where the ring ends.
  struct record {
    frame_header header;  // its epoch is the time it was left, in microseconds
    std::span<const std::byte> first;
    std::span<const std::byte> second;
  };
  /// Whether the oldest frame is committed.
  [[nodiscard]] bool has_front() const noexcept;
  /// The oldest frame; false if it is not committed yet, or there is none.
  [[nodiscard]] bool front(record& into) const noexcept;
  /// Takes the oldest frame away. Its credit does not come back by this.
  void pop() noexcept;

private:
  struct slot {
    std::byte bytes[slot_bytes];
  };
  struct give_back {
    void operator()(slot* memory) const noexcept { std::free(memory); }
  };
  static constexpr std::uint64_t up_bit = std::uint64_t{1} << 63U;
  static constexpr unsigned life_shift = 48;
  static constexpr unsigned frames_shift = 28;
  static constexpr std::uint64_t life_mask = 0x7FFF;
  [[nodiscard]] static std::uint64_t frames_in(std::uint64_t word) noexcept {
    return (word >> frames_shift) & frames_max;
  }
  [[nodiscard]] static std::uint64_t slots_in(std::uint64_t word) noexcept { return word & slots_max; }

  void copy_in(std::uint64_t at, std::span<const std::byte> payload) noexcept;

  const std::uint64_t mask_;
  const std::unique_ptr<slot[], give_back> ring_;
  alignas(64) std::atomic<std::uint64_t> credit_{0};
  std::atomic<std::uint64_t> incarnation_{0};
  std::atomic<std::uint32_t> payload_bytes_max_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};
  alignas(64) std::atomic<std::uint64_t> head_{0};  // written by pop()
  std::uint64_t popped_frames_ = 0;                 // pop()
  // The reactor's.
  std::uint64_t given_frames_ = 0;  // in this link, the window included
  std::uint64_t taken_at_close_ = 0;
  std::uint64_t life_ = 0;
};

}  // namespace karyon::detail
