// SPDX-License-Identifier: Apache-2.0
#include "durable/crc32c.hpp"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace rhizome {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read and written in the machine's own byte order");

// table[k][b]: the CRC of byte b followed by k zero bytes.
constexpr auto tables = [] {
  constexpr std::uint32_t polynomial = 0x82F63B78;  // Castagnoli's, bits reversed
  std::array<std::array<std::uint32_t, 256>, 8> table{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
    table[0][b] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t b = 0; b < 256; ++b) table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xFF];
  }
  return table;
}();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(std::uint32_t crc, const void* bytes,
                                                             std::size_t count) noexcept {
  const auto* at = static_cast<const unsigned char*>(bytes);
  std::uint64_t state = ~crc;
  for (; count >= 8; count -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    state = _mm_crc32_u64(state, word);
  }
  auto narrow = static_cast<std::uint32_t>(state);
  for (; count > 0; --count, ++at) narrow = _mm_crc32_u8(narrow, *at);
  return ~narrow;
}
#endif

using crc_function = std::uint32_t (*)(std::uint32_t, const void*, std::size_t) noexcept;

crc_function best_crc() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2") != 0) return &crc32c_sse42;
#endif
  return &detail::crc32c_portable;
}

}  // namespace

std::uint32_t detail::crc32c_portable(std::uint32_t crc, const void* bytes, std::size_t count) noexcept {
  const auto* at = static_cast<const unsigned char*>(bytes);
  crc = ~crc;
  for (; count >= 8; count -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= tables[7 - k][(word >> (8 * k)) & 0xFF];
  }
  for (; count > 0; --count, ++at) crc = (crc >> 8) ^ tables[0][(crc ^ *at) & 0xFF];
  return ~crc;
}

std::uint32_t crc32c(std::uint32_t crc, const void* bytes, std::size_t count) noexcept {
  static const crc_function function = best_crc();
  return function(crc, bytes, count);
}

}  // namespace rhizome
