// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.hpp"

namespace rhizome {

/// What the log and the checkpoints ask of the system. Each call is one system call (begun again when a signal interrupts it, but for the syncs), and returns
/// what that returned or minus its errno. Tests put another one in its place, which fails where it is told to or forgets what
/// was not synced: the cost is a virtual call beside a system call. Any thread, each file by one at a time.
class disk {
public:
  enum class mode {
    read,
    write,
    create
  };  ///< create: a new file, EEXIST where there is one; the others: EXIST or ENOENT.

  virtual ~disk() = default;
  virtual int open(const std::string& path, mode how) = 0;
  virtual void close(int file) = 0;
  virtual std::int64_t size(int file) = 0;
  virtual std::int64_t read(int file, std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual std::int64_t write(int file, std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  virtual int allocate(int file, std::uint64_t offset,
                       std::uint64_t bytes) = 0;  ///< Grows the file; it reads as zeros there.
  virtual int truncate(int file, std::uint64_t bytes) = 0;
  virtual int sync(int file) = 0;           ///< Data, and what is needed to find it again (fdatasync).
  virtual int forget_cached(int file) = 0;  ///< The next read of what is synced comes from the device.
  virtual int lock(int file) = 0;           ///< For this process alone, until it is closed; EWOULDBLOCK where taken.
  virtual int make_directory(const std::string& path) = 0;
  virtual int sync_directory(const std::string& path) = 0;
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int remove(const std::string& path) = 0;
  virtual int list(const std::string& directory, std::vector<std::string>& names) = 0;
  /// The file's first `bytes` (not 0) in memory, read-only, until the last copy of `mapped` is gone.
  virtual int map(int file, std::uint64_t bytes, std::shared_ptr<const void>& mapped) = 0;
  /// A part of it at an address of the caller's, in whole pages; what is written there stays there.
  virtual int place(int file, std::uint64_t offset, std::uint64_t bytes, void* at) = 0;

  /// The system's own.
  [[nodiscard]] static disk& system() noexcept;
};

/// The error that a failed call becomes: no_space for a full disk, a quota or a size limit, else io. `doing` is a verb: "write".
[[nodiscard]] tl::unexpected<error> disk_error(std::string_view doing, std::string_view path, int error_number);

/// An open file, closed with the object. Movable; used by one thread at a time.
class file {
public:
  file() = default;
  file(file&& other) noexcept
      : disk_(std::exchange(other.disk_, nullptr)), number_(other.number_), path_(std::move(other.path_)) {}
  file& operator=(file&& other) noexcept {
    std::swap(disk_, other.disk_);
    std::swap(number_, other.number_);
    std::swap(path_, other.path_);
    return *this;
  }
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() { close(); }

  [[nodiscard]] static result<file> open(disk& on, std::string path, disk::mode how);
  void close() noexcept;

  [[nodiscard]] bool is_open() const noexcept { return disk_ != nullptr; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] result<std::uint64_t> size() const;
  /// As many bytes as the file has from there, up to the span's size.
  [[nodiscard]] result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const;
  /// All of them, or an error; then any part of them may have been written.
  [[nodiscard]] result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) const;
  [[nodiscard]] result<void> truncate(std::uint64_t bytes) const;
  [[nodiscard]] result<void> sync() const;
  [[nodiscard]] result<std::shared_ptr<const void>> map(std::uint64_t bytes) const;
  [[nodiscard]] result<void> place(std::uint64_t offset, std::uint64_t bytes, void* at) const;
  /// Best effort: only saves time later. False where the file system has no room or does not know how.
  [[nodiscard]] bool allocate(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  void forget_cached() const noexcept;
  /// For this process alone while it is open; false: another one has it.
  [[nodiscard]] result<bool> lock() const;

private:
  disk* disk_ = nullptr;
  int number_ = -1;
  std::string path_;
};

/// Makes `path` hold `name`s' changes durable: creations, renames and removals in that directory.
[[nodiscard]] result<void> sync_directory(disk& on, const std::string& path);

/// Makes the directory, if `make`, such that it is durable before anything in it, and takes its file "lock" for this process. `read_only`
/// asks for no more than reading where there is such a file. errc::conflict when another process has the directory.
[[nodiscard]] result<file> take_directory(disk& on, const std::string& directory, bool make, bool read_only);

}  // namespace rhizome
