// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/types.hpp"

namespace rhizome {

/// One array of a store's image: entries of one size that may be copied as bytes. The store gives out the ids, from 1, and says
/// in its own words what each is; a file that holds an image knows no more than this.
struct image_section {
  std::uint32_t id = 0;
  std::uint32_t entry_bytes = 1;
};

/// Where a store writes its image: section after section, each id once, each in as many slices as the writer likes. Called by one
/// thread at a time; `write` may block on a disk. After an error the image is void, and each call returns that error.
class image_sink {
public:
  virtual ~image_sink() = default;
  [[nodiscard]] virtual result<void> begin(image_section section) = 0;
  [[nodiscard]] virtual result<void> write(std::span<const std::byte> slice) = 0;
};

/// What a store is made of again. The bytes are those that were written (a checksum says so), but it was perhaps not this
/// program that wrote them: whoever reads checks every number before using it.
class image_source {
public:
  virtual ~image_source() = default;
  /// The commit up to which (itself included) the image holds everything.
  [[nodiscard]] virtual commit_number commit() const noexcept = 0;
  /// The section's bytes, a whole number of entries, aligned to a page; empty where there is none, or where its entries have
  /// another size. Good as long as somebody holds what `keep_alive` returns; read-only.
  [[nodiscard]] virtual std::span<const std::byte> section(image_section wanted) const noexcept = 0;
  [[nodiscard]] virtual std::shared_ptr<const void> keep_alive() const noexcept = 0;
  /// Puts the section's bytes at an address that the caller owns, aligned to a page, with zeros up to the end of its last page: pages are
  /// read when they are touched and copied when they are written, and the file stays as it is. It needs nobody to keep this
  /// alive. errc::not_found: `section` would be empty; io, out_of_memory: the system refuses.
  [[nodiscard]] virtual result<void> place(image_section wanted, void* at) const = 0;
};

}  // namespace rhizome
