// SPDX-License-Identifier: Apache-2.0
#include "text/block.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

#include <array>

// Only these functions are compiled for AVX2, by their attribute: were it the whole file, the linker might take its copies of
// inline functions for the rest of the program.
#define KARYON_AVX2 [[gnu::target("avx2,bmi,bmi2,lzcnt,pclmul,popcnt")]]
#define KARYON_AVX2_INLINE KARYON_AVX2 [[gnu::always_inline]] inline

namespace rhizome {
namespace {

struct block_vectors {
  __m256i low;
  __m256i high;
};

KARYON_AVX2_INLINE block_vectors load(const char* block) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32))};
}

KARYON_AVX2_INLINE std::uint64_t mask_of(__m256i low, __m256i high) {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(low)) |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(_mm256_movemask_epi8(high))) << 32;
}

KARYON_AVX2_INLINE std::uint64_t equal(const block_vectors& block, char byte) {
  const auto wanted = _mm256_set1_epi8(byte);
  return mask_of(_mm256_cmpeq_epi8(block.low, wanted), _mm256_cmpeq_epi8(block.high, wanted));
}

using nibbles = std::array<std::uint8_t, 16>;

KARYON_AVX2_INLINE __m256i table(const nibbles& entries) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(entries.data())));
}

KARYON_AVX2_INLINE __m256i high_nibble(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0F));
}

/// Classes of bytes below 0x80 by both their nibbles: a byte is of those classes that both tables name for it. (A byte above
/// 0x7F is of none: the lookup gives 0 for an index with its highest bit set.)
KARYON_AVX2_INLINE __m256i classify(__m256i bytes, __m256i by_low, __m256i by_high) {
  return _mm256_and_si256(_mm256_shuffle_epi8(by_low, bytes), _mm256_shuffle_epi8(by_high, high_nibble(bytes)));
}

// JSON. White space: 1: 09 0a 0d, 2: 20. Operators: 16: 5b 5d 7b 7d, 32: 2c, 64: 3a. So 0 is a scalar, and above 15 an operator.
constexpr nibbles json_low = {2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1 | 64, 16, 32, 1 | 16, 0, 0};
constexpr nibbles json_high = {1, 0, 2 | 32, 64, 0, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0};

// C. Operators: 1: 28 29 2c, 2: 3a 3b, 4: 5b 5d 7b 7d. Words: 8: 30-39, 16: 41-4f 61-6f, 32: 50-5a 70-7a, 64: 24, 128: 5f.
constexpr nibbles c_low = {
    8 | 32,          8 | 16 | 32,     8 | 16 | 32, 8 | 16 | 32, 8 | 16 | 32 | 64, 8 | 16 | 32, 8 | 16 | 32, 8 | 16 | 32,
    1 | 8 | 16 | 32, 1 | 8 | 16 | 32, 2 | 16 | 32, 2 | 4 | 16,  1 | 16,           4 | 16,      16,          16 | 128};
constexpr nibbles c_high = {0, 0, 1 | 64, 2 | 8, 16, 4 | 32 | 128, 16, 4 | 32, 0, 0, 0, 0, 0, 0, 0, 0};

KARYON_AVX2_INLINE json_masks json_block(const char* first, __m256i by_low, __m256i by_high) {
  const auto block = load(first);
  const auto low = classify(block.low, by_low, by_high);
  const auto high = classify(block.high, by_low, by_high);
  const auto zero = _mm256_setzero_si256();
  const auto fifteen = _mm256_set1_epi8(15);
  const auto last_control = _mm256_set1_epi8(0x1F);
  json_masks masks;
  masks.operators = mask_of(_mm256_cmpgt_epi8(low, fifteen), _mm256_cmpgt_epi8(high, fifteen));
  masks.scalar = mask_of(_mm256_cmpeq_epi8(low, zero), _mm256_cmpeq_epi8(high, zero));
  masks.quote = equal(block, '"');
  masks.backslash = equal(block, '\\');
  masks.control = mask_of(_mm256_cmpeq_epi8(_mm256_max_epu8(block.low, last_control), last_control),
                          _mm256_cmpeq_epi8(_mm256_max_epu8(block.high, last_control), last_control));
  return masks;
}

/// Each bit becomes the parity of itself and all lower ones: the carry-less product with all ones.
KARYON_AVX2_INLINE std::uint64_t parity_prefix(std::uint64_t bits) {
  const auto product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(bits)), _mm_set1_epi8(-1), 0);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(product));
}

// UTF-8: whether two neighbouring bytes can not be such is told by three lookups, by both nibbles of the first and the upper
// one of the second. Each rule is a product of three sets of nibbles, so that one bit of each table stands for it.
struct utf8_rule {
  std::uint32_t first_high;  // sets of nibbles: bit n for n
  std::uint32_t first_low;
  std::uint32_t second_high;
};
constexpr std::uint32_t any = 0xFFFF;
constexpr std::uint32_t tails = 0x0F00;
constexpr std::array<utf8_rule, 8> utf8_rules = {{
    {0xF000, any, any & ~tails},     // a character's begin without a tail
    {0x00FF, any, tails},            // a tail after ASCII
    {1U << 0xC, 0x0003, tails},      // two bytes where one will do
    {1U << 0xE, 0x0001, 0x0300},     // three where two will do
    {1U << 0xE, 1U << 0xD, 0x0C00},  // half of a surrogate pair
    {1U << 0xF, 0xFFF0, 0x0E00},     // above 0x10FFFF
    {1U << 0xF, 0xFFE1, 0x0100},     // four where three will do; above 0x13FFFF
    {0x0F00, any, tails},            // two tails: wrong unless the second or third byte before asks for it
}};
constexpr nibbles utf8_table(std::uint32_t utf8_rule::*set) {
  nibbles entries{};
  for (std::size_t rule = 0; rule < utf8_rules.size(); ++rule) {
    for (std::size_t nibble = 0; nibble < entries.size(); ++nibble) {
      entries[nibble] = static_cast<std::uint8_t>(entries[nibble] | (utf8_rules[rule].*set >> nibble & 1) << rule);
    }
  }
  return entries;
}
constexpr nibbles utf8_first_high = utf8_table(&utf8_rule::first_high);
constexpr nibbles utf8_first_low = utf8_table(&utf8_rule::first_low);
constexpr nibbles utf8_second_high = utf8_table(&utf8_rule::second_high);

/// What is wrong with 32 bytes, given those before them; 0 where nothing is.
KARYON_AVX2_INLINE __m256i utf8_wrong(__m256i before, __m256i bytes) {
  const auto joined = _mm256_permute2x128_si256(before, bytes, 0x21);
  const auto one_back = _mm256_alignr_epi8(bytes, joined, 15);
  const auto two_back = _mm256_alignr_epi8(bytes, joined, 14);
  const auto three_back = _mm256_alignr_epi8(bytes, joined, 13);
  const auto low_mask = _mm256_set1_epi8(0x0F);
  const auto rules = _mm256_and_si256(
      _mm256_and_si256(_mm256_shuffle_epi8(table(utf8_first_high), high_nibble(one_back)),
                       _mm256_shuffle_epi8(table(utf8_first_low), _mm256_and_si256(one_back, low_mask))),
      _mm256_shuffle_epi8(table(utf8_second_high), high_nibble(bytes)));
  // The highest bit is set where the byte two back begins three bytes or more, or the one three back four.
  const auto third = _mm256_subs_epu8(two_back, _mm256_set1_epi8(0xE0 - 0x80));
  const auto fourth = _mm256_subs_epu8(three_back, _mm256_set1_epi8(0xF0 - 0x80));
  const auto asked = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_xor_si256(rules, asked);
}

KARYON_AVX2_INLINE bool any_bit(__m256i bits) { return _mm256_testz_si256(bits, bits) == 0; }

}  // namespace

bool has_avx2() noexcept {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("popcnt");
}

KARYON_AVX2 std::uint32_t* json_avx2(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                                     std::uint32_t* out) {
  const auto by_low = table(json_low);
  const auto by_high = table(json_high);
  auto local = state;
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto masks = json_block(first + i * block_bytes, by_low, by_high);
    const auto quotes = masks.quote & ~escaped_bytes(masks.backslash, local.escape);
    const auto inside = parity_prefix(quotes) ^ local.in_string;
    out = write_marks(json_marks(masks, quotes, inside, offset, local), offset, out);
    offset += block_bytes;
  }
  state = local;
  return out;
}

KARYON_AVX2 void classify_c_avx2(const char* first, std::size_t blocks, c_masks* out) {
  const auto by_low = table(c_low);
  const auto by_high = table(c_high);
  const auto zero = _mm256_setzero_si256();
  const auto seven = _mm256_set1_epi8(7);
  for (std::size_t i = 0; i < blocks; ++i) {
    const auto block = load(first + i * block_bytes);
    const auto low = classify(block.low, by_low, by_high);
    const auto high = classify(block.high, by_low, by_high);
    const auto none = mask_of(_mm256_cmpeq_epi8(low, zero), _mm256_cmpeq_epi8(high, zero));
    const auto no_operator = mask_of(_mm256_cmpeq_epi8(_mm256_and_si256(low, seven), zero),
                                     _mm256_cmpeq_epi8(_mm256_and_si256(high, seven), zero));
    out[i].operators = ~no_operator;
    out[i].word = (no_operator & ~none) | mask_of(block.low, block.high);
    out[i].quote = equal(block, '"') | equal(block, '\'');
    out[i].backslash = equal(block, '\\');
    out[i].slash = equal(block, '/');
    out[i].star = equal(block, '*');
    out[i].newline = equal(block, '\n');
    out[i].hash = equal(block, '#');
  }
}

KARYON_AVX2 bool utf8_avx2(std::string_view text) {
  auto before = _mm256_setzero_si256();
  auto wrong = before;
  std::size_t at = 0;
  while (text.size() - at >= block_bytes) {
    const auto block = load(text.data() + at);
    if (_mm256_movemask_epi8(_mm256_or_si256(block.low, block.high)) == 0) {
      // A character that the last block began is found out by the byte after it, which is ASCII.
      wrong = _mm256_or_si256(wrong, utf8_wrong(before, block.low));
      while (text.size() - at >= 2 * block_bytes) {
        const auto next = load(text.data() + at + block_bytes);
        if (_mm256_movemask_epi8(_mm256_or_si256(next.low, next.high)) != 0) {
          break;
        }
        at += block_bytes;
      }
      before = _mm256_setzero_si256();
    } else {
      wrong = _mm256_or_si256(wrong, utf8_wrong(before, block.low));
      wrong = _mm256_or_si256(wrong, utf8_wrong(block.low, block.high));
      before = block.high;
    }
    at += block_bytes;
  }
  // The rest, with zeros after it: they end what is not complete.
  char rest[block_bytes + 32] = {};
  std::memcpy(rest, text.data() + at, text.size() - at);
  for (std::size_t i = 0; i < sizeof rest; i += 32) {
    const auto bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rest + i));
    wrong = _mm256_or_si256(wrong, utf8_wrong(before, bytes));
    before = bytes;
  }
  return !any_bit(wrong);
}

}  // namespace rhizome

#else  // No such instructions: the portable path stands in, and available() says so.

namespace rhizome {

bool has_avx2() noexcept { return false; }
std::uint32_t* json_avx2(const char* first, std::size_t blocks, std::uint32_t offset, json_state& state,
                         std::uint32_t* out) {
  return json_portable(first, blocks, offset, state, out);
}
void classify_c_avx2(const char* first, std::size_t blocks, c_masks* out) { classify_c_portable(first, blocks, out); }
bool utf8_avx2(std::string_view text) { return utf8_portable(text); }

}  // namespace rhizome
#endif
