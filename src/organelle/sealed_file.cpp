// SPDX-License-Identifier: Apache-2.0
#include "organelle/sealed_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace karyon::detail {

namespace {

// In Linux since 6.3; the C library may be older.
constexpr unsigned exec_flag = 0x10U;

std::string reason(int number) { return std::generic_category().message(number); }

load_result<descriptor> open_regular(const std::string& path, std::uint64_t bytes_max) {
  // A pipe or a device must not make anybody wait, and is refused below.
  descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    const int why = errno;
    if (why == ENOENT || why == ENOTDIR) return refuse(load_refusal::missing, path + ": there is no such file");
    if (why == ELOOP) return refuse(load_refusal::unreadable, path + ": is a symbolic link; name the file itself");
    return refuse(load_refusal::unreadable, path + ": can not be opened: " + reason(why));
  }
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) {
    return refuse(load_refusal::unreadable, path + ": can not be looked at: " + reason(errno));
  }
  if (!S_ISREG(about.st_mode)) return refuse(load_refusal::unreadable, path + ": is not a regular file");
  if (static_cast<std::uint64_t>(about.st_size) > bytes_max) {
    return refuse(load_refusal::unreadable, path + ": has " + std::to_string(about.st_size) + " bytes, more than the " +
                                                std::to_string(bytes_max) + " that are allowed");
  }
  return file;
}

/// Passes on at most `bytes_max` bytes, in pieces; what comes behind them is too much. 0, or errno (EFBIG).
template <class Take>
int read_all(int from, std::uint64_t bytes_max, Take take) {
  std::array<std::byte, 65536> piece;
  std::uint64_t total = 0;
  while (true) {
    const ssize_t got = ::read(from, piece.data(), piece.size());
    if (got == 0) return 0;
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    total += static_cast<std::uint64_t>(got);
    if (total > bytes_max) return EFBIG;
    if (const int why = take(std::span<const std::byte>(piece.data(), static_cast<std::size_t>(got)))) return why;
  }
}

int write_all(int to, std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t put = ::write(to, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return 0;
}

load_result<descriptor> new_memory(const std::string& name) {
  // Where programs must say so, this memory is to be run; older systems do not know the flag.
  descriptor memory(::memfd_create("karyon-organelle", MFD_CLOEXEC | MFD_ALLOW_SEALING | exec_flag));
  if (!memory && errno == EINVAL) {
    memory = descriptor(::memfd_create("karyon-organelle", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  if (!memory) return refuse(load_refusal::not_sealed, name + ": no memory file for its copy: " + reason(errno));
  return memory;
}

}  // namespace

descriptor::~descriptor() {
  if (number_ >= 0) ::close(number_);
}

sealed_bytes::~sealed_bytes() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

load_result<sealed_bytes> sealed_bytes::seal(descriptor memory, const std::string& name) {
  constexpr int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(memory.get(), F_ADD_SEALS, all) != 0) {
    return refuse(load_refusal::not_sealed, name + ": its copy can not be sealed: " + reason(errno));
  }
  if ((::fcntl(memory.get(), F_GET_SEALS) & all) != all) {
    return refuse(load_refusal::not_sealed, name + ": its copy does not have all seals");
  }
  struct stat about {};
  if (::fstat(memory.get(), &about) != 0) {
    return refuse(load_refusal::not_sealed, name + ": its copy can not be looked at: " + reason(errno));
  }
  sealed_bytes sealed;
  if (about.st_size > 0) {
    const auto bytes = static_cast<std::size_t>(about.st_size);
    void* const at = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, memory.get(), 0);
    if (at == MAP_FAILED) {
      return refuse(load_refusal::not_sealed, name + ": its copy can not be mapped: " + reason(errno));
    }
    sealed.bytes_ = {static_cast<const std::byte*>(at), bytes};
  }
  sealed.memory_ = std::move(memory);
  return sealed;
}

load_result<sealed_bytes> sealed_bytes::copy_of(std::span<const std::byte> bytes, const std::string& name) {
  auto memory = new_memory(name);
  if (!memory) return tl::unexpected<load_error>(memory.error());
  if (const int why = write_all(memory->get(), bytes)) {
    return refuse(load_refusal::not_sealed, name + ": can not be copied: " + reason(why));
  }
  return seal(std::move(*memory), name);
}

load_result<sealed_bytes> read_sealed(const std::string& path, std::uint64_t bytes_max) {
  auto file = open_regular(path, bytes_max);
  if (!file) return tl::unexpected<load_error>(file.error());
  auto memory = new_memory(path);
  if (!memory) return tl::unexpected<load_error>(memory.error());
  int unwritten = 0;
  const int why = read_all(file->get(), bytes_max, [&](std::span<const std::byte> piece) {
    return unwritten = write_all(memory->get(), piece);
  });
  if (unwritten != 0) return refuse(load_refusal::not_sealed, path + ": can not be copied: " + reason(unwritten));
  if (why != 0) return refuse(load_refusal::unreadable, path + ": can not be read: " + reason(why));
  return sealed_bytes::seal(std::move(*memory), path);
}

load_result<std::string> read_small(const std::string& path) {
  constexpr std::uint64_t bytes_max = 1 << 20;
  auto file = open_regular(path, bytes_max);
  if (!file) return tl::unexpected<load_error>(file.error());
  std::string text;
  const int why = read_all(file->get(), bytes_max, [&](std::span<const std::byte> piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return 0;
  });
  if (why != 0) return refuse(load_refusal::unreadable, path + ": can not be read: " + reason(why));
  return text;
}

}  // namespace karyon::detail
