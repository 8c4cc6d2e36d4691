// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

#include "core/file_descriptor.hpp"
#include "nerve/synapse_way_out.hpp"

namespace karyon::detail {

/// Where a process finds something of another one's: the process, its descriptor, and what is to stand there.
struct lane_offer {
  std::uint32_t process = 0;
  std::uint32_t descriptor = 0;
  std::uint64_t key = 0;  // not 0
};

/// Wakes another process's thread, by a byte in a pipe that it waits for.
class KARYON_API bell {
public:
  /// Null if the other process has no such thing there, or it can not be had.
  [[nodiscard]] static std::unique_ptr<bell> open(std::uint32_t process, std::uint32_t descriptor) noexcept;
  /// Any thread. False if nobody hears it.
  [[nodiscard]] bool ring() const noexcept;

private:
  explicit bell(int fd) noexcept : file_(fd) {}
  file_descriptor file_;
};

/// A passage for messages from the reactor of one process to that of another one on the same machine, without a system call: bytes in
/// memory that both have mapped. The receiver makes it and says where it is among its descriptors, the sender opens it there (which the
/// system lets a process of the same user do). One direction; each end is one thread's.
///
/// Nobody can take away what the other one has mapped. Its size is sealed from the beginning. A hole could still be punched, and what
/// touches one while memory is short ends (SIGBUS): so each end, before it touches anything, seals the memory against further writers (as
/// which the system counts who punches; the two mappings stay), and fills what holes there are. The sender does so in open(), the receiver
/// in settle(), once the sender has come or never will.
///
/// A stream: each message is its length (4 bytes, little-endian) and its bytes. What there is no room for the sender keeps. Whoever
/// sleeps says so here before it looks for the last time (Dekker, sequentially consistent), and is woken by other means.
///
///   offset  bytes  field                                          written by
///        0      8  tail: bytes that were put in, in all            sender; partner: the receiver's take()
///        8      4  the sender waits for room                       sender sets, receiver clears
///       16      8  key: that it is this one                        receiver, once, before anybody knows of it
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

  /// Receiver: with a ring of so many bytes, rounded up to a power of two. Null if the system has no memory to share, or can not seal it
  /// (before Linux 5.1).
  [[nodiscard]] static std::unique_ptr<lane> make(std::size_t bytes) noexcept;
  /// Sender, one for each. `refused` if what is found there is not this user's alone, is not sealed, has been opened before, or is
  /// something else; `system_error` if it can not be looked at. Then another way must be taken.
  [[nodiscard]] static result<std::unique_ptr<lane>> open(const lane_offer& offer);
  ~lane() override;

  /// Receiver: where it can be opened, until settle().
  [[nodiscard]] lane_offer offer() const noexcept;
  /// Receiver: it can not be opened any more, and from now on it is read. False if it lacks memory, and must not be touched. Once or
  /// more often.
  [[nodiscard]] bool settle() noexcept;
  /// Sender: how the receiver's thread is woken. What it was before is given back.
  void set_bell(std::unique_ptr<bell> b) noexcept { bell_ = std::move(b); }

  // The sender's.

  [[nodiscard]] std::size_t room() const noexcept override;
  [[nodiscard]] std::size_t put(std::span<const std::byte> bytes) noexcept override;
  /// Whether the receiver says that it has taken what was never put in.
  [[nodiscard]] bool is_over() const noexcept override;
  [[nodiscard]] bool has_sleeper() noexcept override;
  [[nodiscard]] bool ring() noexcept override { return bell_ != nullptr && bell_->ring(); }
  [[nodiscard]] bool wait_for_room() noexcept override;
  [[nodiscard]] bool is_stream() const noexcept override { return false; }

  // The receiver's. Until settle() there is nothing, whatever the sender has put in.

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
    std::uint64_t key;
    alignas(64) std::atomic<std::uint64_t> head;
    std::atomic<std::uint32_t> receiver_sleeps;
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);
  static constexpr std::size_t head_bytes = 4096;
  static constexpr std::size_t length_bytes = 4;

  lane(void* memory, std::size_t size) noexcept;
  [[nodiscard]] static std::unique_ptr<lane> map(int fd, std::size_t size) noexcept;
  void copy_out(std::byte* to, std::size_t bytes) noexcept;
  void forget_offer() noexcept;

  shared* const both_;
  std::byte* const ring_;
  const std::size_t size_;
  int offered_ = -1;       // the receiver's descriptor, as long as the sender may come for it
  std::uint64_t key_ = 0;  // the receiver's own copy
  bool settled_ = false;   // the receiver may touch it
  std::unique_ptr<bell> bell_;
  std::uint64_t mine_ =
      0;  // the sender's tail, or the receiver's head: what the other process could write is not believed
  std::vector<std::byte> partial_;
  std::size_t wanted_ = 0;  // of the message that has begun; 0: none has
  std::size_t filled_ = 0;
};

}  // namespace karyon::detail
