// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/source_text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/file_descriptor.hpp"

namespace karyon::tools {

namespace {

using karyon::detail::file_descriptor;

constexpr std::size_t probe_bytes = 8192;  // where git and grep look for a NUL, too
constexpr std::size_t step_bytes = 65536;

source_text failure(int error_number) {
  const bool gone = error_number == ENOENT || error_number == ENOTDIR;
  return {gone                    ? outcome::vanished
          : error_number == ELOOP ? outcome::symlink_loop
                                  : outcome::unreadable,
          {},
          std::strerror(error_number)};
}

source_text enormous(std::uint64_t bytes_max) {
  return {outcome::enormous, {}, "longer than " + std::to_string(bytes_max) + " bytes"};
}

}  // namespace

source_text read_source(const std::string& path, std::uint64_t bytes_max) {
  const file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    return failure(errno);
  }
  if (!S_ISREG(status.st_mode)) {
    return {outcome::not_regular, {}, "no regular file any more"};
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > bytes_max) {
    return enormous(bytes_max);
  }
  // The size is a hint: a file may grow, shrink, or (in /proc) have none and still go on for ever.
  std::string text;
  std::size_t used = 0;
  text.resize(static_cast<std::size_t>(size) + 1);
  for (;;) {
    if (used == text.size()) {
      text.resize(text.size() + std::max(step_bytes, text.size() / 2));
    }
    const ssize_t got = ::read(file.get(), text.data() + used, text.size() - used);
    if (got < 0) {
      if (errno == EINTR) {
        continue;
      }
      return failure(errno);
    }
    if (got == 0) {
      break;
    }
    const bool probed = used >= probe_bytes;
    used += static_cast<std::size_t>(got);
    if (!probed && std::memchr(text.data(), '\0', std::min(used, probe_bytes)) != nullptr) {
      return {outcome::binary, {}, "a NUL byte near the start"};
    }
    if (used > bytes_max) {
      return enormous(bytes_max);
    }
  }
  text.resize(used);
  return {outcome::scanned, std::move(text), {}};
}

}  // namespace karyon::tools
