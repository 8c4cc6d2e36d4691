// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_lane.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include "core/file_descriptor.hpp"
#include "nerve/little_endian.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

using name_text = std::array<char, 40>;

name_text text_of(std::uint64_t name) noexcept {
  name_text text{};
  std::snprintf(text.data(), text.size(), "/karyon-lane-%016llx", static_cast<unsigned long long>(name));
  return text;
}

}  // namespace

lane::lane(std::uint64_t name, void* memory, std::size_t size) noexcept
    : name_(name),
      both_(static_cast<shared*>(memory)),
      ring_(static_cast<std::byte*>(memory) + head_bytes),
      size_(size) {}

lane::~lane() {
  forget_name();
  ::munmap(both_, head_bytes + size_);
}

std::unique_ptr<lane> lane::map(std::uint64_t name, int fd, std::size_t size) noexcept {
  void* const memory = ::mmap(nullptr, head_bytes + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const made = new (std::nothrow) lane(name, memory, size);
  if (made == nullptr) ::munmap(memory, head_bytes + size);
  return std::unique_ptr<lane>(made);
}

std::unique_ptr<lane> lane::make(std::size_t bytes) noexcept {
  const std::size_t size = std::bit_ceil(std::clamp(bytes, bytes_min, bytes_max));
  const std::uint64_t name = random_bits() | 1U;
  const name_text text = text_of(name);
  const file_descriptor file(::shm_open(text.data(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) return nullptr;
  static_cast<void>(::flock(file.get(), LOCK_EX | LOCK_NB));  // before it has a size: forget_orphans()
  std::unique_ptr<lane> made;
  // All of it now: a page that could not be had later would end the process.
  if (::posix_fallocate(file.get(), 0, static_cast<off_t>(head_bytes + size)) == 0) {
    made = map(name, file.get(), size);
  }
  if (made == nullptr) {
    ::shm_unlink(text.data());
    return nullptr;
  }
  made->lock_ = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
  ::new (made->both_) shared{};
  made->both_->receiver_sleeps.store(1,
                                     std::memory_order_relaxed);  // the sender has it by a system call at the earliest
  return made;
}

std::unique_ptr<lane> lane::open(std::uint64_t name) noexcept {
  const name_text text = text_of(name);
  const file_descriptor file(::shm_open(text.data(), O_RDWR | O_CLOEXEC, 0));
  struct stat about {};
  if (file.get() < 0 || ::fstat(file.get(), &about) != 0) return nullptr;
  const auto size = static_cast<std::uint64_t>(about.st_size) - head_bytes;
  if (about.st_uid != ::geteuid() || (about.st_mode & 077U) != 0 || size < bytes_min || size > bytes_max ||
      !std::has_single_bit(size)) {
    return nullptr;
  }
  auto opened = map(name, file.get(), static_cast<std::size_t>(size));
  if (opened != nullptr) opened->forget_name();
  return opened;
}

void lane::forget_name() noexcept {
  if (!named_) return;
  named_ = false;
  ::shm_unlink(text_of(name_).data());
  if (lock_ >= 0) ::close(lock_);
}

void lane::forget_orphans() noexcept {
  DIR* const all = ::opendir("/dev/shm");  // where shm_open() has them
  if (all == nullptr) return;
  while (const dirent* const entry = ::readdir(all)) {
    constexpr std::string_view begin = "karyon-lane-";
    const std::string_view name = entry->d_name;
    name_text text{};
    if (!name.starts_with(begin) || name.size() + 2 > text.size()) continue;
    text[0] = '/';
    std::copy(name.begin(), name.end(), text.begin() + 1);
    const file_descriptor file(::shm_open(text.data(), O_RDWR | O_CLOEXEC, 0));
    struct stat about {};
    if (file.get() < 0 || ::fstat(file.get(), &about) != 0 || about.st_uid != ::geteuid()) continue;
    if (about.st_size == 0) continue;  // its maker may be about to lock it
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::shm_unlink(text.data());
  }
  ::closedir(all);
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
  return mine_ + std::min<std::uint64_t>(both_->tail.load(std::memory_order_seq_cst) - mine_, size_);
}

bool lane::has_waiter() noexcept {
  return both_->sender_waits.load(std::memory_order_seq_cst) != 0 && both_->sender_waits.exchange(0) != 0;
}

bool lane::prepare_sleep() noexcept {
  both_->receiver_sleeps.store(1, std::memory_order_seq_cst);
  const std::uint64_t there = both_->tail.load(std::memory_order_seq_cst) - mine_;
  return there < (wanted_ == 0 ? length_bytes : 1);
}

void lane::wake_up() noexcept { both_->receiver_sleeps.store(0, std::memory_order_relaxed); }

}  // namespace karyon::detail
