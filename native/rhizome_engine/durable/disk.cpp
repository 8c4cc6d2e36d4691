// SPDX-License-Identifier: Apache-2.0
#include "durable/disk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace rhizome {
namespace {

template <class Call>
auto repeated(Call call) {
  for (;;) {
    const auto got = call();
    if (got >= 0) return got;
    if (errno != EINTR) return static_cast<decltype(got)>(-errno);
  }
}

class system_disk final : public disk {
public:
  int open(const std::string& path, mode how) override {
    const int flags = how == mode::read ? O_RDONLY : how == mode::write ? O_RDWR : O_RDWR | O_CREAT | O_EXCL;
    return repeated([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0644); });
  }
  void close(int file) override { ::close(file); }
  std::int64_t size(int file) override {
    struct stat status {};
    if (::fstat(file, &status) != 0) return -errno;
    return S_ISREG(status.st_mode) ? status.st_size : -EINVAL;
  }
  std::int64_t read(int file, std::uint64_t offset, std::span<std::byte> into) override {
    return repeated([&] { return ::pread(file, into.data(), into.size(), static_cast<off_t>(offset)); });
  }
  std::int64_t write(int file, std::uint64_t offset, std::span<const std::byte> bytes) override {
    return repeated([&] { return ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
  }
  int allocate(int file, std::uint64_t offset, std::uint64_t bytes) override {
    return repeated([&] { return ::fallocate(file, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)); });
  }
  int truncate(int file, std::uint64_t bytes) override {
    return repeated([&] { return ::ftruncate(file, static_cast<off_t>(bytes)); });
  }
  // Not begun again, not even when interrupted: a second call may report success for pages that the first one gave up.
  int sync(int file) override { return ::fdatasync(file) == 0 ? 0 : -errno; }
  int forget_cached(int file) override { return -::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED); }
  int lock(int file) override {
    return repeated([&] { return ::flock(file, LOCK_EX | LOCK_NB); });
  }
  int make_directory(const std::string& path) override { return ::mkdir(path.c_str(), 0755) == 0 ? 0 : -errno; }
  int sync_directory(const std::string& path) override {
    const int directory = repeated([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (directory < 0) return directory;
    const int done = ::fsync(directory) == 0 ? 0 : -errno;
    ::close(directory);
    return done;
  }
  int rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : -errno;
  }
  int remove(const std::string& path) override { return ::unlink(path.c_str()) == 0 ? 0 : -errno; }
  int list(const std::string& directory, std::vector<std::string>& names) override {
    DIR* const stream = ::opendir(directory.c_str());
    if (stream == nullptr) return -errno;
    errno = 0;
    while (const dirent* const entry = ::readdir(stream)) names.emplace_back(entry->d_name);
    const int error_number = errno;
    ::closedir(stream);
    return -error_number;
  }
  int map(int file, std::uint64_t bytes, std::shared_ptr<const void>& mapped) override {
    void* const at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) return -errno;
    mapped = std::shared_ptr<const void>(at, [bytes](void* address) { ::munmap(address, bytes); });
    return 0;
  }
  int place(int file, std::uint64_t offset, std::uint64_t bytes, void* at) override {
    void* const placed = ::mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file,
                                static_cast<off_t>(offset));
    return placed == MAP_FAILED ? -errno : 0;
  }
};

}  // namespace

disk& disk::system() noexcept {
  static system_disk instance;
  return instance;
}

tl::unexpected<error> disk_error(std::string_view doing, std::string_view path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  return fail(full ? errc::no_space : errc::io, "could not " + std::string(doing) + ' ' + std::string(path) + ": " +
                                                    std::system_category().message(error_number));
}

result<file> file::open(disk& on, std::string path, disk::mode how) {
  const int number = on.open(path, how);
  if (number < 0) return disk_error(how == disk::mode::create ? "create" : "open", path, -number);
  file opened;
  opened.disk_ = &on;
  opened.number_ = number;
  opened.path_ = std::move(path);
  return opened;
}

void file::close() noexcept {
  if (disk_ != nullptr) std::exchange(disk_, nullptr)->close(number_);
}

result<std::uint64_t> file::size() const {
  const std::int64_t bytes = disk_->size(number_);
  if (bytes < 0) return disk_error("read the size of", path_, static_cast<int>(-bytes));
  return static_cast<std::uint64_t>(bytes);
}

result<std::size_t> file::read(std::uint64_t offset, std::span<std::byte> into) const {
  std::size_t have = 0;
  while (have < into.size()) {
    const std::int64_t got = disk_->read(number_, offset + have, into.subspan(have));
    if (got < 0) return disk_error("read", path_, static_cast<int>(-got));
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  return have;
}

result<void> file::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const std::int64_t written = disk_->write(number_, offset, bytes);
    // Nothing written and no error is what a device without room does.
    if (written <= 0) return disk_error("write", path_, written == 0 ? ENOSPC : static_cast<int>(-written));
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

result<void> file::truncate(std::uint64_t bytes) const {
  if (const int done = disk_->truncate(number_, bytes); done < 0) return disk_error("cut", path_, -done);
  return {};
}

result<void> file::sync() const {
  if (const int done = disk_->sync(number_); done < 0) return disk_error("sync", path_, -done);
  return {};
}

result<std::shared_ptr<const void>> file::map(std::uint64_t bytes) const {
  std::shared_ptr<const void> mapped;
  if (const int done = disk_->map(number_, bytes, mapped); done < 0) return disk_error("map", path_, -done);
  return mapped;
}

result<void> file::place(std::uint64_t offset, std::uint64_t bytes, void* at) const {
  if (const int done = disk_->place(number_, offset, bytes, at); done < 0) return disk_error("map", path_, -done);
  return {};
}

bool file::allocate(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  return disk_->allocate(number_, offset, bytes) == 0;
}

void file::forget_cached() const noexcept { disk_->forget_cached(number_); }

result<bool> file::lock() const {
  const int done = disk_->lock(number_);
  if (done < 0 && done != -EWOULDBLOCK) return disk_error("lock", path_, -done);
  return done == 0;
}

result<void> sync_directory(disk& on, const std::string& path) {
  if (const int done = on.sync_directory(path); done < 0) return disk_error("sync", path, -done);
  return {};
}

result<file> take_directory(disk& on, const std::string& directory, bool make, bool read_only) {
  if (make) {
    const int made = on.make_directory(directory);
    if (made < 0 && made != -EEXIST) return disk_error("create", directory, -made);
    if (made == 0) {
      // So that a commit can not be durable in a directory that is not.
      const auto slash = directory.find_last_of('/', directory.find_last_not_of('/'));
      const std::string above = slash == std::string::npos ? "." : slash == 0 ? "/" : directory.substr(0, slash);
      if (auto done = sync_directory(on, above); !done) return tl::unexpected(done.error());
    }
  }
  const std::string path = directory + "/lock";
  auto opened = file::open(on, path, read_only ? disk::mode::read : disk::mode::write);
  if (!opened) opened = file::open(on, path, disk::mode::create);
  if (!opened) return tl::unexpected(opened.error());
  const auto alone = opened->lock();
  if (!alone) return tl::unexpected(alone.error());
  if (!*alone) return fail(errc::conflict, directory + " is open already; close it there first");
  return opened;
}

}  // namespace rhizome
