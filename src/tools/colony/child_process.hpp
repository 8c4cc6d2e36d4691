// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include <karyon/core/result.hpp>

namespace karyon::tools {

/// A program that is fed through a pipe and read through another; its complaints go nowhere. It is ended with the object.
///
/// One thread at a time. Blocks as pipes do.
class child_process {
public:
  /// Finds the program as the shell does. errc::not_found, system_error.
  [[nodiscard]] static result<child_process> start(const std::vector<std::string>& command);

  child_process(child_process&& other) noexcept;
  child_process& operator=(child_process&&) = delete;
  ~child_process();

  /// False when the program does not take it any more.
  [[nodiscard]] bool write(const std::string& bytes);
  /// Up to `size` bytes, at least one; 0 at the end of its output.
  [[nodiscard]] std::size_t read(char* to, std::size_t size);
  /// All that is left of its output.
  [[nodiscard]] std::string read_all();
  /// Waits for its end; whether it ended well, by its exit status. To be called once, at the end of its output.
  [[nodiscard]] bool succeeded();

private:
  child_process(pid_t pid, int to_child, int from_child) noexcept : pid_(pid), to_(to_child), from_(from_child) {}

  pid_t pid_;
  int to_;
  int from_;
};

}  // namespace karyon::tools
