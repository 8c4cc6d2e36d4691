// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/result.hpp>

namespace karyon::detail {

/// The descriptor of KARYON_ORGANELLE_NOTE.
struct organelle_note {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint64_t layout_hash = 0;
  std::string version;
};

/// What the bytes of an ELF library say of it, read without loading anything.
///
/// The bytes may be anything: every offset, size and count in them is checked against their end before it is used, and what does not
/// fit makes the library a faulty one, with a sentence. Cost: grows with the numbers of program headers, notes and dynamic entries,
/// each of which lies in the bytes once.
struct elf_image {
  std::vector<organelle_note> notes;   // one, in a sound organelle
  std::vector<std::byte> build_id;     // empty: none
  std::vector<std::string> needed;     // DT_NEEDED, in their order
  std::vector<std::string> redirects;  // names of the dynamic entries that make the loader look elsewhere (DT_RUNPATH)
};

/// The sentence of a refusal begins with what is wrong, and leaves the file to the caller.
[[nodiscard]] tl::expected<elf_image, std::string> read_elf(std::span<const std::byte> bytes);

/// The build id in a PT_NOTE segment; empty: none there.
[[nodiscard]] std::span<const std::byte> find_build_id(std::span<const std::byte> notes, std::uint64_t alignment);

}  // namespace karyon::detail
