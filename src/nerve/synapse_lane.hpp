// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <karyon/core/export.hpp>

#include "nerve/synapse_way_out.hpp"

namespace karyon::detail {

/// A passage for messages from the reactor of one process to that of another one on the same machine, without a system call: bytes in
/// memory that both have mapped. The receiver makes it and says its name, the sender opens it; from then on nobody can find it
/// by that name. One direction; each end is one thread's.
///
/// A stream: each message is its length (4 bytes, little-endian) and its bytes. What there is no room for the sender keeps. Whoever
/// sleeps says so here before it looks for the last time (Dekker, sequentially consistent), and is woken by other means.
///
///   offset  bytes  field                                          written by
///        0      8  tail: bytes that were put in, in all            sender; partner: the receiver's take()
///        8      4  the sender waits for room                       sender sets, receiver clears
///       64      8  head: bytes that were taken out, in all         receiver; partner: the sender's put()
///       72      4  the receiver sleeps                             receiver sets, sender clears
///     4096         the ring; its size is a power of two
///
/// The other process is of this user, but may be broken: what it writes is looked at before it is used, and a message is copied out before
/// it is read.
class KARYON_API lane final : public way_out {
public:
  static constexpr std::size_t bytes_min = 64U << 10U;
  static constexpr std::size_t bytes_max = 64U << 20U;

  /// Receiver: with a ring of so many bytes, rounded up to a power of two. Null if the system has no memory to share.
  [[nodiscard]] static std::unique_ptr<lane> make(std::size_t bytes) noexcept;
  /// Sender. Null if there is none of that name which is this user's alone; then another way must be taken.
  [[nodiscard]] static std::unique_ptr<lane> open(std::uint64_t name) noexcept;
  ~lane() override;

  /// Not 0.
  [[nodiscard]] std::uint64_t name() const noexcept { return name_; }
  /// It can not be opened any more. Once or more often.
  void forget_name() noexcept;
  /// Takes away the names, and so the memory, of this user's lanes whose makers have died before anybody opened them.
  static void forget_orphans() noexcept;

  // The sender's.

  [[nodiscard]] std::size_t room() const noexcept override;
  [[nodiscard]] std::size_t put(std::span<const std::byte> bytes) noexcept override;
  /// Whether the receiver says that it has taken what was never put in.
  [[nodiscard]] bool is_over() const noexcept override;
  [[nodiscard]] bool has_sleeper() noexcept override;
  [[nodiscard]] bool wait_for_room() noexcept override;
  [[nodiscard]] bool is_stream() const noexcept override { return false; }

  // The receiver's.

  enum class found : std::uint8_t { nothing, message, nonsense };
  /// The next message, if it is there whole. `longest`: what is longer is nonsense.
  [[nodiscard]] found take(std::vector<std::byte>& message, std::size_t longest);
  /// Where what has been put in ends now; of as much as the ring can have, whatever the sender says.
  [[nodiscard]] std::uint64_t end() const noexcept;
  /// Whether something of what lies before that place has not been taken.
  [[nodiscard]] bool begins_before(std::uint64_t end) const noexcept { return mine_ < end; }
  /// Whether the sender waits for the room that has been made: it is to be woken, once.
  [[nodiscard]] bool has_waiter() noexcept;
  /// Before the receiver sleeps: false if there is something.
  [[nodiscard]] bool prepare_sleep() noexcept;
  void wake_up() noexcept;

private:
  struct shared {
    std::atomic<std::uint64_t> tail;
    std::atomic<std::uint32_t> sender_waits;
    alignas(64) std::atomic<std::uint64_t> head;
    std::atomic<std::uint32_t> receiver_sleeps;
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);
  static constexpr std::size_t head_bytes = 4096;
  static constexpr std::size_t length_bytes = 4;

  lane(std::uint64_t name, void* memory, std::size_t size) noexcept;
  [[nodiscard]] static std::unique_ptr<lane> map(std::uint64_t name, int fd, std::size_t size) noexcept;
  void copy_out(std::byte* to, std::size_t bytes) noexcept;

  const std::uint64_t name_;
  shared* const both_;
  std::byte* const ring_;
  const std::size_t size_;
  bool named_ = true;
  int lock_ = -1;  // the receiver's, as long as it is named: a lock on the memory, which ends with its process
  std::uint64_t mine_ =
      0;  // the sender's tail, or the receiver's head: what the other process could write is not believed
  std::vector<std::byte> partial_;
  std::size_t wanted_ = 0;  // of the message that has begun; 0: none has
  std::size_t filled_ = 0;
};

}  // namespace karyon::detail
