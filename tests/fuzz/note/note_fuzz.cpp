// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as an organelle's file. The first byte says how: as the whole file, or as changes {where, 4 bytes} of a sound one with a note, a
// build id and needed libraries, so that what is behind the headers is reached too. What is read must stand in the file.
#include <elf.h>
#include <karyon/organelle/abi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "organelle/elf_image.hpp"

namespace {

using file_bytes = std::vector<std::byte>;

void hold(bool held, const char* sentence) {
  if (!held) {
    std::fprintf(stderr, "note_fuzz: %s\n", sentence);
    std::abort();
  }
}

template <class T>
void put(file_bytes& bytes, std::size_t at, const T& what) {
  std::memcpy(bytes.data() + at, &what, sizeof what);
}

#if defined(__x86_64__)
constexpr Elf64_Half machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half machine = EM_AARCH64;
#else
constexpr Elf64_Half machine = EM_RISCV;
#endif

/// Headers, notes, dynamic section and its texts, one after the other; addresses are offsets.
file_bytes sound_file() {
  constexpr std::size_t notes_at = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
  constexpr std::size_t id_at = notes_at + sizeof(karyon_note);
  constexpr std::size_t notes_size = sizeof(karyon_note) + sizeof(Elf64_Nhdr) + 4 + 20;
  constexpr std::size_t dynamic_at = (notes_at + notes_size + 7) / 8 * 8;
  constexpr std::size_t texts_at = dynamic_at + 5 * sizeof(Elf64_Dyn);
  constexpr char texts[] = "\0libc.so.6\0libm.so.6";
  file_bytes bytes(texts_at + sizeof texts);

  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_machine = machine;
  head.e_type = ET_DYN;
  head.e_phoff = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = 3;
  put(bytes, 0, head);
  const auto segment = [&](std::size_t i, Elf64_Word type, std::size_t at, std::size_t size, std::size_t align) {
    Elf64_Phdr s{};
    s.p_type = type;
    s.p_offset = s.p_vaddr = at;
    s.p_filesz = s.p_memsz = size;
    s.p_align = align;
    put(bytes, sizeof head + i * sizeof s, s);
  };
  segment(0, PT_LOAD, 0, bytes.size(), 4096);
  segment(1, PT_NOTE, notes_at, notes_size, 4);
  segment(2, PT_DYNAMIC, dynamic_at, 5 * sizeof(Elf64_Dyn), 8);

  karyon_note note{
      7, 16 + KARYON_NOTE_VERSION_BYTES, KARYON_NOTE_TYPE, "Karyon", KARYON_ABI_MAJOR, KARYON_ABI_MINOR, 1, 2, "1.0"};
  put(bytes, notes_at, note);
  put(bytes, id_at, Elf64_Nhdr{4, 20, NT_GNU_BUILD_ID});
  std::memcpy(bytes.data() + id_at + sizeof(Elf64_Nhdr), "GNU", 4);
  const auto entry = [&](std::size_t i, Elf64_Sxword tag, Elf64_Xword value) {
    Elf64_Dyn d{};
    d.d_tag = tag;
    d.d_un.d_val = value;
    put(bytes, dynamic_at + i * sizeof d, d);
  };
  entry(0, DT_NEEDED, 1);
  entry(1, DT_NEEDED, 11);
  entry(2, DT_STRTAB, texts_at);
  entry(3, DT_STRSZ, sizeof texts);
  entry(4, DT_NULL, 0);
  std::memcpy(bytes.data() + texts_at, texts, sizeof texts);
  return bytes;
}

void check(const file_bytes& bytes, bool unchanged) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto image = karyon::detail::read_elf(bytes);
  hold(image.has_value() || !unchanged, "a sound file is refused");
  if (image) {
    for (const auto& name : image->needed) hold(all.find(name) != all.npos, "a needed library is not in the file");
    for (const auto& note : image->notes) hold(all.find(note.version) != all.npos, "a version is not in the file");
    hold(image->build_id.size() <= bytes.size(), "a build id is longer than the file");
    hold(!unchanged || (image->needed.size() == 2 && image->notes.size() == 1 && image->build_id.size() == 20),
         "a sound file is not read whole");
  } else {
    hold(!image.error().empty(), "a refusal says nothing");
  }
  for (const std::uint64_t alignment : {std::uint64_t{4}, std::uint64_t{8}}) {
    const auto id = karyon::detail::find_build_id(bytes, alignment);
    hold(id.empty() || (id.data() >= bytes.data() && id.data() + id.size() <= bytes.data() + bytes.size()),
         "a build id lies outside of the notes");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {  // NOLINT(readability-identifier-naming)
  static const file_bytes sound = sound_file();
  if (size == 0) {
    check(sound, true);
    return 0;
  }
  const auto* const bytes = reinterpret_cast<const std::byte*>(data + 1);
  if (data[0] % 2 == 0) {
    check(file_bytes(bytes, bytes + size - 1), false);
    return 0;
  }
  file_bytes changed = sound;
  std::size_t at = 0;
  for (; size - 1 - at >= 6; at += 6) {
    std::uint16_t where = 0;
    std::memcpy(&where, bytes + at, sizeof where);
    std::copy_n(bytes + at + 2, 4, changed.begin() + static_cast<std::ptrdiff_t>(where % (changed.size() - 4)));
  }
  if (at < size - 1) {  // a cut-off end, by less than 256 bytes of some 500
    changed.erase(changed.end() - std::to_integer<std::ptrdiff_t>(bytes[at]), changed.end());
  }
  check(changed, false);
  return 0;
}
