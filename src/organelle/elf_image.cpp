// SPDX-License-Identifier: Apache-2.0
#include "organelle/elf_image.hpp"

#include <elf.h>
#include <karyon/organelle/abi.h>

#include <bit>
#include <cstring>
#include <optional>

namespace karyon::detail {

namespace {

using bytes_view = std::span<const std::byte>;

#if defined(__x86_64__)
constexpr Elf64_Half this_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half this_machine = EM_AARCH64;
#elif defined(__riscv)
constexpr Elf64_Half this_machine = EM_RISCV;
#else
#error "karyon: name this machine's ELF number here"
#endif
static_assert(std::endian::native == std::endian::little, "karyon: organelles are read on little-endian machines");

/// The `size` bytes from `offset`, if all of them are there.
std::optional<bytes_view> part(bytes_view bytes, std::uint64_t offset, std::uint64_t size) noexcept {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
}

/// A struct at an offset, which need not be aligned.
template <class T>
std::optional<T> at(bytes_view bytes, std::uint64_t offset) noexcept {
  const auto where = part(bytes, offset, sizeof(T));
  if (!where) return std::nullopt;
  T value;
  std::memcpy(&value, where->data(), sizeof value);
  return value;
}

/// The text that ends with a zero byte at or behind `offset`.
std::optional<std::string> text_at(bytes_view bytes, std::uint64_t offset) {
  const auto from = offset < bytes.size() ? bytes.subspan(static_cast<std::size_t>(offset)) : bytes_view();
  const void* const end = from.empty() ? nullptr : std::memchr(from.data(), 0, from.size());
  if (end == nullptr) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(from.data()), static_cast<const char*>(end));
}

tl::unexpected<std::string> faulty(const char* what) { return tl::unexpected<std::string>(std::string(what)); }

struct headers {
  std::vector<Elf64_Phdr> segments;

  /// Where the `size` bytes lie in the file that will lie at an address.
  [[nodiscard]] std::optional<std::uint64_t> offset_of(std::uint64_t address, std::uint64_t size) const noexcept {
    for (const Elf64_Phdr& s : segments) {
      if (s.p_type != PT_LOAD || address < s.p_vaddr) continue;
      const std::uint64_t within = address - s.p_vaddr;
      if (within > s.p_filesz || size > s.p_filesz - within) continue;
      if (s.p_offset > UINT64_MAX - within) continue;
      return s.p_offset + within;
    }
    return std::nullopt;
  }
};

tl::expected<headers, std::string> read_headers(bytes_view bytes) {
  const auto head = at<Elf64_Ehdr>(bytes, 0);
  if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return faulty("is not an ELF file");
  if (head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_ident[EI_DATA] != ELFDATA2LSB ||
      head->e_machine != this_machine) {
    return faulty("is for another kind of machine");
  }
  if (head->e_type != ET_DYN) return faulty("is not a shared library");
  if (head->e_phentsize != sizeof(Elf64_Phdr) || head->e_phnum == 0 || head->e_phnum == PN_XNUM) {
    return faulty("has no program headers that could be read");
  }
  headers all;
  all.segments.reserve(head->e_phnum);
  for (std::uint64_t i = 0; i < head->e_phnum; ++i) {
    const std::uint64_t offset = i * sizeof(Elf64_Phdr);
    if (head->e_phoff > UINT64_MAX - offset) return faulty("has its program headers beyond its end");
    const auto segment = at<Elf64_Phdr>(bytes, head->e_phoff + offset);
    if (!segment) return faulty("has its program headers beyond its end");
    const bool in_file = segment->p_type == PT_LOAD || segment->p_type == PT_NOTE || segment->p_type == PT_DYNAMIC;
    if (in_file && !part(bytes, segment->p_offset, segment->p_filesz)) {
      return faulty("has a segment beyond its end; it was cut off");
    }
    all.segments.push_back(*segment);
  }
  return all;
}

/// Calls `take(owner, type, descriptor)` for each note of a PT_NOTE segment. False if these bytes are not notes.
template <class Take>
bool for_each_note(bytes_view notes, std::uint64_t alignment, Take take) {
  const std::uint64_t unit = alignment == 8 ? 8 : 4;  // as the loader has it: anything but 8 is 4
  const auto padded = [unit](std::uint64_t size) { return (size + unit - 1) & ~(unit - 1); };
  std::uint64_t offset = 0;
  while (offset < notes.size()) {
    const auto head = at<Elf64_Nhdr>(notes, offset);
    if (!head) return false;
    const std::uint64_t name_at = offset + sizeof(Elf64_Nhdr);
    // 32-bit sizes in 64-bit sums: nothing here wraps.
    const std::uint64_t about_at = offset + padded(sizeof(Elf64_Nhdr) + std::uint64_t{head->n_namesz});
    const auto name = part(notes, name_at, head->n_namesz);
    const auto about = part(notes, about_at, head->n_descsz);
    if (!name || !about) return false;
    std::string_view owner(reinterpret_cast<const char*>(name->data()), name->size());
    owner = owner.substr(0, owner.find('\0'));
    take(owner, std::uint32_t{head->n_type}, *about);
    offset = about_at + padded(head->n_descsz);
  }
  return true;
}

std::optional<organelle_note> read_note(bytes_view descriptor) {
  if (descriptor.size() != sizeof(karyon_note) - offsetof(karyon_note, major)) return std::nullopt;
  organelle_note note;
  note.major = *at<std::uint32_t>(descriptor, 0);
  note.minor = *at<std::uint32_t>(descriptor, 4);
  note.layout_hash = *at<std::uint32_t>(descriptor, 8) | std::uint64_t{*at<std::uint32_t>(descriptor, 12)} << 32;
  auto version = text_at(descriptor, 16);
  if (!version) return std::nullopt;
  note.version = std::move(*version);
  return note;
}

bool read_notes(bytes_view segment, std::uint64_t alignment, elf_image& image) {
  bool sound = true;
  const bool whole =
      for_each_note(segment, alignment, [&](std::string_view owner, std::uint32_t type, bytes_view about) {
        if (owner == "Karyon" && type == KARYON_NOTE_TYPE) {
          auto note = read_note(about);
          if (note) {
            image.notes.push_back(std::move(*note));
          } else {
            sound = false;
          }
        } else if (owner == "GNU" && type == NT_GNU_BUILD_ID) {
          image.build_id.assign(about.begin(), about.end());
        }
      });
  return whole && sound;
}

const char* redirect_name(std::int64_t tag) noexcept {
  switch (tag) {
    case DT_RPATH: return "DT_RPATH";
    case DT_RUNPATH: return "DT_RUNPATH";
    case DT_AUDIT: return "DT_AUDIT";
    case DT_DEPAUDIT: return "DT_DEPAUDIT";
    case DT_AUXILIARY: return "DT_AUXILIARY";
    case DT_FILTER: return "DT_FILTER";
    default: return nullptr;
  }
}

/// Null, or what is wrong.
const char* read_dynamic(bytes_view bytes, const headers& all, const Elf64_Phdr& dynamic, elf_image& image) {
  // The loader goes by the address.
  if (all.offset_of(dynamic.p_vaddr, dynamic.p_filesz) != dynamic.p_offset) return "has its dynamic section elsewhere";
  const bytes_view entries = *part(bytes, dynamic.p_offset, dynamic.p_filesz);
  std::vector<std::uint64_t> needed;
  std::optional<std::uint64_t> texts_address;
  std::uint64_t texts_size = 0;
  bool ended = false;
  for (std::uint64_t i = 0; !ended; i += sizeof(Elf64_Dyn)) {
    const auto entry = at<Elf64_Dyn>(entries, i);
    if (!entry) return "has a dynamic section without an end";
    switch (entry->d_tag) {
      case DT_NULL: ended = true; break;
      case DT_NEEDED: needed.push_back(entry->d_un.d_val); break;
      case DT_STRTAB: texts_address = entry->d_un.d_ptr; break;
      case DT_STRSZ: texts_size = entry->d_un.d_val; break;
      default:
        if (const char* const name = redirect_name(entry->d_tag)) image.redirects.emplace_back(name);
    }
  }
  if (needed.empty()) return nullptr;
  const auto texts_offset = texts_address ? all.offset_of(*texts_address, texts_size) : std::nullopt;
  const auto texts = texts_offset ? part(bytes, *texts_offset, texts_size) : std::nullopt;
  if (!texts) return "has no table of the names of the libraries that it needs";
  for (const std::uint64_t offset : needed) {
    auto name = text_at(*texts, offset);
    if (!name) return "needs a library whose name lies beyond its table of names";
    image.needed.push_back(std::move(*name));
  }
  return nullptr;
}

}  // namespace

bytes_view find_build_id(bytes_view notes, std::uint64_t alignment) {
  bytes_view found;
  const bool whole = for_each_note(notes, alignment, [&](std::string_view owner, std::uint32_t type, bytes_view about) {
    if (owner == "GNU" && type == NT_GNU_BUILD_ID) found = about;
  });
  return whole ? found : bytes_view();
}

tl::expected<elf_image, std::string> read_elf(bytes_view bytes) {
  const auto all = read_headers(bytes);
  if (!all) return tl::unexpected<std::string>(all.error());
  elf_image image;
  bool is_dynamic = false;
  for (const Elf64_Phdr& segment : all->segments) {
    if (segment.p_type == PT_NOTE) {
      if (!read_notes(*part(bytes, segment.p_offset, segment.p_filesz), segment.p_align, image)) {
        return faulty("has notes that can not be read");
      }
    } else if (segment.p_type == PT_DYNAMIC) {
      if (is_dynamic) return faulty("has two dynamic sections");
      is_dynamic = true;
      if (const char* const fault = read_dynamic(bytes, *all, segment, image)) return faulty(fault);
    }
  }
  if (!is_dynamic) return faulty("has no dynamic section");
  return image;
}

}  // namespace karyon::detail
