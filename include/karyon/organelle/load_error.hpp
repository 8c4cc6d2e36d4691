// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon {

/// Why an organelle was not loaded. Up to `signature` nothing of the library has run.
enum class load_refusal : std::uint8_t {
  missing = 1,      ///< There is no such file.
  unreadable,       ///< It is there but can not be read: rights, a link, no regular file, too big.
  not_sealed,       ///< The system can not make an unchangeable copy (a memfd with seals).
  checksum_absent,  ///< There is no checksum to compare with, or its file is not one.
  checksum,         ///< The bytes are not those that the checksum is of.
  not_a_library,    ///< The bytes are no ELF library for this machine, or one that contradicts itself.
  note_absent,      ///< It is a library, but no organelle: the note of its ABI is missing.
  major,            ///< It was built for another major version of the ABI.
  layout,           ///< It was built with another layout of the ABI's structs.
  needed_library,   ///< It needs a library that is not allowed, or searches a path of its own for them.
  signature,        ///< A signature was asked for, and is missing or is not by that key.
  not_loaded,       ///< The system's loader refused it.
  build_id,         ///< The loader came up with another library than the one that was checked.
  features,         ///< It needs what this host does not offer.
  table,            ///< Its table of functions is not what its note promises.
  not_opened,       ///< It refused to start; the message has its own words.
};

/// The name, for logs and JSON; never null.
[[nodiscard]] KARYON_API const char* to_string(load_refusal cause) noexcept;

/// A refusal as a value: the cause for programs, a sentence for people that names the file.
class load_error {
public:
  load_error(load_refusal cause, std::string message) : message_(std::move(message)), cause_(cause) {}

  [[nodiscard]] load_refusal cause() const noexcept { return cause_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  /// The same for who handles errors of all kinds: not_found, refused, unsupported or system_error.
  [[nodiscard]] KARYON_API error as_error() const;

private:
  std::string message_;
  load_refusal cause_;
};

template <class T>
using load_result = tl::expected<T, load_error>;

}  // namespace karyon
