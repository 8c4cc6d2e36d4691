// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

namespace karyon::detail {

/// A descriptor that is closed when its owner goes; a negative one is none. One thread's.
class file_descriptor {
public:
  explicit file_descriptor(int fd) noexcept : fd_(fd) {}
  file_descriptor(const file_descriptor&) = delete;
  file_descriptor& operator=(const file_descriptor&) = delete;
  ~file_descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

private:
  int fd_;
};

}  // namespace karyon::detail
