// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_lane.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

#include "nerve/little_endian.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;
/// What is mapped already goes on writing; nobody else does, and nobody punches holes.
constexpr int last_seals = F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

using path_text = std::array<char, 64>;

/// A name for what it leads to, without opening that: it could be anything.
int look_at(std::uint32_t process, std::uint32_t descriptor) noexcept {
  path_text path{};
  std::snprintf(path.data(), path.size(), "/proc/%u/fd/%u", process, descriptor);
  return ::open(path.data(), O_PATH | O_CLOEXEC);
}

/// Opens what was looked at, whatever is behind that path meanwhile.
int open_looked_at(int looked_at, int flags) noexcept {
  path_text path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", looked_at);
  return ::open(path.data(), flags | O_CLOEXEC);
}

bool is_ours_alone(const struct stat& about) noexcept {
  return about.st_uid == ::geteuid() && (about.st_mode & 077U) == 0;
}

/// From here on no page of it is missing. Seals are never taken off again.
bool keep_pages(int fd, std::size_t bytes) noexcept {
  static_cast<void>(::fcntl(fd, F_ADD_SEALS, last_seals));  // fails if the other end was first
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & (size_seals | last_seals)) != (size_seals | last_seals)) return false;
  // A signal of the host's, a profiler's perhaps, may break it off.
  int filled = -1;
  for (int i = 0; i < 100 && filled != 0 && (i == 0 || errno == EINTR); ++i) {
    filled = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes));
  }
  return filled == 0;
}

bool system_has_seals() noexcept {
  const file_descriptor file(::memfd_create("karyon-seals", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return file.get() >= 0 && ::fcntl(file.get(), F_ADD_SEALS, last_seals) == 0;
}

tl::unexpected<error> no_lane(const char* why) {
  return fail(errc::refused, std::string("A lane was offered that ") + why);
}

}  // namespace

// --- bell ------------------------------------------------------------------------------------------------------------

std::unique_ptr<bell> bell::open(std::uint32_t process, std::uint32_t descriptor) noexcept {
  const file_descriptor place(look_at(process, descriptor));
  struct stat about {};
  if (place.get() < 0 || ::fstat(place.get(), &about) != 0) return nullptr;
  if (!S_ISFIFO(about.st_mode) || about.st_uid != ::geteuid()) return nullptr;
  // For reading, too: else a write would be answered by SIGPIPE when the other process has ended.
  const int fd = open_looked_at(place.get(), O_RDWR | O_NONBLOCK);
  if (fd < 0) return nullptr;
  auto* const made = new (std::nothrow) bell(fd);
  if (made == nullptr) ::close(fd);
  return std::unique_ptr<bell>(made);
}

bool bell::ring() const noexcept {
  const char byte = 0;
  return ::write(file_.get(), &byte, 1) == 1 || errno == EAGAIN;  // full of bytes: it will be heard
}

// --- lane ------------------------------------------------------------------------------------------------------------

lane::lane(void* memory, std::size_t size) noexcept
    : both_(static_cast<shared*>(memory)), ring_(static_cast<std::byte*>(memory) + head_bytes), size_(size) {}

lane::~lane() {
  forget_offer();
  ::munmap(both_, head_bytes + size_);
}

std::unique_ptr<lane> lane::map(int fd, std::size_t size) noexcept {
  void* const memory = ::mmap(nullptr, head_bytes + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const made = new (std::nothrow) lane(memory, size);
  if (made == nullptr) ::munmap(memory, head_bytes + size);
  return std::unique_ptr<lane>(made);
}

std::unique_ptr<lane> lane::make(std::size_t bytes) noexcept {
  static const bool can_seal = system_has_seals();
  if (!can_seal) return nullptr;
  const std::size_t size = std::bit_ceil(std::clamp(bytes, bytes_min, bytes_max));
  const file_descriptor file(::memfd_create("karyon-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0 || ::fchmod(file.get(), 0600) != 0) return nullptr;
  // All of it now: a page that could not be had later would end the process.
  if (::posix_fallocate(file.get(), 0, static_cast<off_t>(head_bytes + size)) != 0) return nullptr;
  if (::fcntl(file.get(), F_ADD_SEALS, size_seals) != 0) return nullptr;
  auto made = map(file.get(), size);
  if (made == nullptr) return nullptr;
  made->offered_ = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
  if (made->offered_ < 0) return nullptr;
  ::new (made->both_) shared{};
  made->key_ = made->both_->key = random_bits() | 1U;
  made->both_->receiver_sleeps.store(1,
                                     std::memory_order_relaxed);  // the sender has it by a system call at the earliest
  return made;
}

lane_offer lane::offer() const noexcept {
  if (offered_ < 0) return {};
  return {static_cast<std::uint32_t>(::getpid()), static_cast<std::uint32_t>(offered_), key_};
}

bool lane::settle() noexcept {
  if (settled_) return true;
  settled_ = offered_ >= 0 && keep_pages(offered_, head_bytes + size_);
  forget_offer();
  return settled_;
}

void lane::forget_offer() noexcept {
  if (offered_ >= 0) ::close(offered_);
  offered_ = -1;
}

result<std::unique_ptr<lane>> lane::open(const lane_offer& offer) {
  const file_descriptor place(look_at(offer.process, offer.descriptor));
  struct stat about {};
  if (place.get() < 0 || ::fstat(place.get(), &about) != 0) {
    return fail(errc::system_error, "A lane was offered that can not be looked at.");
  }
  const auto size = static_cast<std::uint64_t>(about.st_size) - head_bytes;
  if (!S_ISREG(about.st_mode) || !is_ours_alone(about)) return no_lane("is not this user's alone.");
  if (size < bytes_min || size > bytes_max || !std::has_single_bit(size)) return no_lane("has a size that none has.");
  // Nor is anything waited for: a file with a lease would hold up who opens it.
  const file_descriptor file(open_looked_at(place.get(), O_RDWR | O_NONBLOCK));
  if (file.get() < 0) return fail(errc::system_error, "A lane was offered that can not be opened.");
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || (seals & size_seals) != size_seals) return no_lane("is not sealed: its size could change.");
  if ((seals & last_seals) != 0) return no_lane("is another sender's, or nobody's any more.");
  if (::fstat(file.get(), &about) != 0 || static_cast<std::uint64_t>(about.st_size) != head_bytes + size) {
    return no_lane("has another size than it had.");
  }
  auto opened = map(file.get(), static_cast<std::size_t>(size));
  if (opened == nullptr) return fail(errc::system_error, "No memory is left to map a lane.");
  if (!keep_pages(file.get(), head_bytes + static_cast<std::size_t>(size))) {
    return fail(errc::system_error, "A lane was offered that can not be kept whole.");
  }
  if (offer.key == 0 || opened->both_->key != offer.key) return no_lane("is another one.");
  return opened;
}

std::size_t lane::room() const noexcept {
  const std::uint64_t used = mine_ - both_->head.load(std::memory_order_seq_cst);
  return used <= size_ ? size_ - static_cast<std::size_t>(used) : 0;
}

bool lane::is_over() const noexcept { return mine_ - both_->head.load(std::memory_order_seq_cst) > size_; }

std::size_t lane::put(std::span<const std::byte> bytes) noexcept {
  const std::size_t n = std::min(bytes.size(), room());
  if (n == 0) return 0;
  const std::size_t at = static_cast<std::size_t>(mine_) & (size_ - 1);
  const std::size_t first = std::min(n, size_ - at);
  std::memcpy(ring_ + at, bytes.data(), first);
  if (first < n) std::memcpy(ring_, bytes.data() + first, n - first);
  mine_ += n;
  both_->tail.store(mine_, std::memory_order_seq_cst);
  return n;
}

bool lane::has_sleeper() noexcept {
  return both_->receiver_sleeps.load(std::memory_order_seq_cst) != 0 && both_->receiver_sleeps.exchange(0) != 0;
}

bool lane::wait_for_room() noexcept {
  both_->sender_waits.store(1, std::memory_order_seq_cst);
  if (room() == 0) return true;
  both_->sender_waits.store(0, std::memory_order_relaxed);  // a receiver that still saw it wakes a thread that is awake
  return false;
}

void lane::copy_out(std::byte* to, std::size_t bytes) noexcept {
  const std::size_t at = static_cast<std::size_t>(mine_) & (size_ - 1);
  const std::size_t first = std::min(bytes, size_ - at);
  std::memcpy(to, ring_ + at, first);
  if (first < bytes) std::memcpy(to + first, ring_, bytes - first);
  mine_ += bytes;
}

lane::found lane::take(std::vector<std::byte>& message, std::size_t longest) {
  if (!settled_) return found::nothing;
  const std::uint64_t there = both_->tail.load(std::memory_order_seq_cst) - mine_;
  if (there > size_) return found::nonsense;
  auto left = static_cast<std::size_t>(there);
  if (wanted_ == 0) {
    if (left < length_bytes) return found::nothing;
    std::array<std::byte, length_bytes> length{};
    copy_out(length.data(), length.size());
    left -= length_bytes;
    const std::size_t n = load_le<std::uint32_t>(length.data());
    if (n == 0 || n > longest) return found::nonsense;
    mine_ -= length_bytes;  // not taken yet, if this throws
    partial_.resize(n);
    mine_ += length_bytes;
    wanted_ = n;
    filled_ = 0;
  }
  const std::size_t n = std::min(left, wanted_ - filled_);
  copy_out(partial_.data() + filled_, n);
  filled_ += n;
  both_->head.store(mine_, std::memory_order_seq_cst);
  if (filled_ != wanted_) return found::nothing;
  wanted_ = 0;
  std::swap(message, partial_);
  return found::message;
}

std::uint64_t lane::end() const noexcept {
  if (!settled_) return mine_;
  return mine_ + std::min<std::uint64_t>(both_->tail.load(std::memory_order_seq_cst) - mine_, size_);
}

bool lane::has_waiter() noexcept {
  return settled_ && both_->sender_waits.load(std::memory_order_seq_cst) != 0 && both_->sender_waits.exchange(0) != 0;
}

bool lane::prepare_sleep() noexcept {
  if (!settled_) return true;  // what settles it wakes the thread
  both_->receiver_sleeps.store(1, std::memory_order_seq_cst);
  const std::uint64_t there = both_->tail.load(std::memory_order_seq_cst) - mine_;
  return there < (wanted_ == 0 ? length_bytes : 1);
}

void lane::wake_up() noexcept {
  if (settled_) both_->receiver_sleeps.store(0, std::memory_order_relaxed);
}

}  // namespace karyon::detail
