// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "text/structure.hpp"

// What the scanners' paths share. Texts are read in blocks of 64 bytes; of each, a mask of 64 bits says which bytes are of a
// class, bit i for byte i. Only the making of masks differs between the paths, so that is all that they have to themselves.
namespace rhizome {

inline constexpr std::size_t block_bytes = 64;
/// Texts are scanned in chunks that stay in the first cache while they are checked, classified and marked.
inline constexpr std::size_t chunk_bytes = 16 * 1024;
inline constexpr std::size_t chunk_blocks = chunk_bytes / block_bytes;

struct json_masks {
  std::uint64_t operators;  // { } [ ] , :
  std::uint64_t scalar;     // neither that nor white space
  std::uint64_t quote;
  std::uint64_t backslash;
  std::uint64_t control;  // below 0x20
};

struct c_masks {
  std::uint64_t operators;  // ( ) { } [ ] , ; :
  std::uint64_t word;
  std::uint64_t quote;  // both kinds
  std::uint64_t backslash;
  std::uint64_t slash;
  std::uint64_t star;
  std::uint64_t newline;
  std::uint64_t hash;
};

/// What a block of JSON leaves to the next one.
struct json_state {
  std::uint64_t escape = 0;                   // 1: the next byte is escaped
  std::uint64_t in_string = 0;                // all ones: the next byte lies in a string
  std::uint64_t scalar = 0;                   // 1: the last byte was part of a scalar other than a string
  std::uint64_t control = ~std::uint64_t{0};  // offset of the first control byte in a string
};

/// Appends marks for as many blocks; returns the end of the marks. Writes at most 64 marks a block, and may scribble on 16 more.
using json_function = std::uint32_t* (*)(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                                         std::uint32_t* out);
using c_classify_function = void (*)(const char* first, std::size_t blocks, c_masks* out);
/// Whether the text, which begins and ends between two characters, is UTF-8.
using utf8_function = bool (*)(std::string_view text);

std::uint32_t* json_portable(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                             std::uint32_t* out);
void classify_c_portable(const char* first, std::size_t blocks, c_masks* out);
bool utf8_portable(std::string_view text);
/// The offset of the first byte that begins no character; the text's size when there is none.
std::size_t utf8_fault(std::string_view text);

bool has_avx2() noexcept;
std::uint32_t* json_avx2(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                         std::uint32_t* out);
void classify_c_avx2(const char* first, std::size_t blocks, c_masks* out);
bool utf8_avx2(std::string_view text);

/// The same with 64 bytes to an instruction (AVX-512 with VBMI2, from Ice Lake and Zen 4 on).
bool has_avx512() noexcept;
std::uint32_t* json_avx512(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                           std::uint32_t* out);
void classify_c_avx512(const char* first, std::size_t blocks, c_masks* out);

/// What a path brings. UTF-8 is checked by AVX2 in the widest one too: texts that are not ASCII are few.
struct scan_functions {
  json_function json;
  c_classify_function classify_c;
  utf8_function utf8;
};

/// Writes the offset of each bit. Eight at a time without a test, since how many there are can not be predicted.
[[gnu::always_inline]] inline std::uint32_t* write_marks(std::uint64_t bits, std::uint32_t offset, std::uint32_t* out) {
  const auto count = std::popcount(bits);
  for (int done = 0; done < count; done += 8) {
    for (int i = 0; i < 8; ++i) {
      out[done + i] = offset + static_cast<std::uint32_t>(std::countr_zero(bits));
      bits &= bits - 1;
    }
  }
  return out + count;
}

/// The bytes that follow a backslash which is not itself escaped.
[[gnu::always_inline]] inline std::uint64_t escaped_bytes(std::uint64_t backslash, std::uint64_t& carry) {
  std::uint64_t escaped = carry;
  backslash &= ~carry;
  carry = 0;
  while (backslash != 0) {
    const auto lowest = backslash & (0 - backslash);
    const auto next = lowest << 1;
    escaped |= next;
    carry = lowest >> 63;
    backslash &= ~(lowest | next);
  }
  return escaped;
}

/// The marks of one block. `inside` has a bit for each byte from an opening quote to before its closing one.
[[gnu::always_inline]] inline std::uint64_t json_marks(const json_masks& block, std::uint64_t quotes,
                                                       std::uint64_t inside, std::uint32_t offset, json_state& state) {
  state.in_string = 0 - (inside >> 63);
  if ((block.control & inside) != 0) [[unlikely]] {
    state.control = std::min<std::uint64_t>(
        state.control, offset + static_cast<std::uint64_t>(std::countr_zero(block.control & inside)));
  }
  const auto plain = block.scalar & ~quotes;
  const auto starts = block.scalar & ~(plain << 1 | state.scalar);
  state.scalar = (plain & ~inside) >> 63;
  const auto string_rest = inside ^ quotes;
  return ((block.operators | starts) & ~string_rest) | (quotes & inside);
}

}  // namespace rhizome
