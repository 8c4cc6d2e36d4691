// SPDX-License-Identifier: Apache-2.0
#include "text/block.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#include <array>

// As in avx2.cpp, by attribute and function.
#define KARYON_AVX512 \
  [[gnu::target("avx2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi,bmi2,lzcnt,pclmul,popcnt")]]
#define KARYON_AVX512_INLINE KARYON_AVX512 [[gnu::always_inline]] inline

namespace rhizome {
namespace {

/// Classes of the bytes below 0x80: one lookup of 128 entries.
using byte_classes = std::array<std::uint8_t, 128>;

constexpr byte_classes classes_of(std::string_view first, std::string_view second) {
  byte_classes table{};
  for (const auto byte : first) {
    table[static_cast<unsigned char>(byte)] = 1;
  }
  for (const auto byte : second) {
    table[static_cast<unsigned char>(byte)] = 2;
  }
  return table;
}
constexpr byte_classes json_classes = classes_of("{}[],:", " \t\n\r");
constexpr byte_classes c_classes =
    classes_of("(){}[],;:", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$");

struct class_table {
  __m512i low;
  __m512i high;
};
KARYON_AVX512_INLINE class_table load_table(const byte_classes& classes) {
  return {_mm512_loadu_si512(classes.data()), _mm512_loadu_si512(classes.data() + 64)};
}
/// The class of each byte; what it says of those above 0x7F is that of their low seven bits.
KARYON_AVX512_INLINE __m512i classify(__m512i bytes, const class_table& table) {
  return _mm512_permutex2var_epi8(table.low, bytes, table.high);
}

KARYON_AVX512_INLINE std::uint64_t equal(__m512i bytes, char byte) {
  return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte));
}

KARYON_AVX512_INLINE std::uint64_t parity_prefix(std::uint64_t bits) {
  const auto product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(bits)), _mm_set1_epi8(-1), 0);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(product));
}

/// Writes the offset of each bit: the numbers of the bits are pressed together and widened, sixteen at a time.
KARYON_AVX512_INLINE std::uint32_t* write_offsets(std::uint64_t bits, std::uint32_t offset, __m512i numbers,
                                                  std::uint32_t* out) {
  const auto count = std::popcount(bits);
  const auto pressed = _mm512_maskz_compress_epi8(bits, numbers);
  const auto base = _mm512_set1_epi32(static_cast<int>(offset));
  _mm512_storeu_si512(out, _mm512_add_epi32(base, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(pressed))));
  if (count > 16) {
    _mm512_storeu_si512(out + 16, _mm512_add_epi32(base, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(pressed, 1))));
    if (count > 32) {
      _mm512_storeu_si512(out + 32,
                          _mm512_add_epi32(base, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(pressed, 2))));
      _mm512_storeu_si512(out + 48,
                          _mm512_add_epi32(base, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(pressed, 3))));
    }
  }
  return out + count;
}

constexpr std::array<std::uint8_t, 64> bit_numbers = [] {
  std::array<std::uint8_t, 64> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::uint8_t>(i);
  }
  return numbers;
}();

}  // namespace

bool has_avx512() noexcept {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vbmi2");
}

KARYON_AVX512 std::uint32_t* json_avx512(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                                         std::uint32_t* out) {
  const auto table = load_table(json_classes);
  const auto numbers = _mm512_loadu_si512(bit_numbers.data());
  const auto one = _mm512_set1_epi8(1);
  auto local = state;
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto bytes = _mm512_loadu_si512(first + i * block_bytes);
    const auto classes = classify(bytes, table);
    const std::uint64_t ascii = ~_mm512_movepi8_mask(bytes);
    json_masks masks;
    masks.operators = _mm512_cmpeq_epi8_mask(classes, one) & ascii;
    masks.scalar = _mm512_testn_epi8_mask(classes, classes) | ~ascii;
    masks.quote = equal(bytes, '"');
    masks.backslash = equal(bytes, '\\');
    masks.control = _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20));
    const auto quotes = masks.quote & ~escaped_bytes(masks.backslash, local.escape);
    const auto inside = parity_prefix(quotes) ^ local.in_string;
    out = write_offsets(json_marks(masks, quotes, inside, offset, local), offset, numbers, out);
    offset += block_bytes;
  }
  state = local;
  return out;
}

KARYON_AVX512 void classify_c_avx512(const char* first, std::size_t blocks, c_masks* out) {
  const auto table = load_table(c_classes);
  const auto one = _mm512_set1_epi8(1);
  const auto two = _mm512_set1_epi8(2);
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto bytes = _mm512_loadu_si512(first + i * block_bytes);
    const auto classes = classify(bytes, table);
    const std::uint64_t beyond = _mm512_movepi8_mask(bytes);
    out[i].operators = _mm512_cmpeq_epi8_mask(classes, one) & ~beyond;
    out[i].word = _mm512_cmpeq_epi8_mask(classes, two) | beyond;
    out[i].quote = equal(bytes, '"') | equal(bytes, '\'');
    out[i].backslash = equal(bytes, '\\');
    out[i].slash = equal(bytes, '/');
    out[i].star = equal(bytes, '*');
    out[i].newline = equal(bytes, '\n');
    out[i].hash = equal(bytes, '#');
  }
}

}  // namespace rhizome

#else  // No such instructions: the portable path stands in, and available() says so.

namespace rhizome {

bool has_avx512() noexcept { return false; }
std::uint32_t* json_avx512(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                           std::uint32_t* out) {
  return json_portable(first, blocks, offset, state, out);
}
void classify_c_avx512(const char* first, std::size_t blocks, c_masks* out) { classify_c_portable(first, blocks, out); }

}  // namespace rhizome
#endif
