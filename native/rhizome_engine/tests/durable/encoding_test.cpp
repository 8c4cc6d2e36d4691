// SPDX-License-Identifier: Apache-2.0
#include "durable/encoding.hpp"

#include <string>
#include <vector>

#include "durable/crc32c.hpp"
#include "histories.hpp"
#include "support/catch.hpp"

using namespace rhizome;
using namespace rhizome::tests;

TEST_CASE("the checksum is CRC-32C") {
  CHECK(crc32c(0, "123456789", 9) == 0xE3069283U);  // the check value of its specification
  CHECK(crc32c(crc32c(0, "1234", 4), "56789", 5) == 0xE3069283U);
}

TEST_CASE("the checksum is the same with and without the machine's own instruction") {
  std::string text(300, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * i);
  for (std::size_t from = 0; from < 9; ++from) {
    for (std::size_t count = 0; from + count < text.size(); ++count) {
      const auto portable = detail::crc32c_portable(17, text.data() + from, count);
      REQUIRE(crc32c(17, text.data() + from, count) == portable);
    }
  }
}

TEST_CASE("a number is read back from its shortest form, and refused above its bound") {
  for (unsigned bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t number :
         {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 1, ~std::uint64_t{0} >> bit}) {
      std::byte bytes[10];
      const auto size = static_cast<std::size_t>(put_varint(bytes, number) - bytes);
      byte_reader from({bytes, size});
      CHECK(from.varint() == number);
      CHECK(from.ok());
      CHECK(from.at_end());
      byte_reader short_one({bytes, size - 1});
      CHECK(short_one.varint() == 0);
      CHECK(!short_one.ok());
      CHECK(unzigzag(zigzag(number)) == number);
    }
  }
  std::byte big[3];
  byte_reader from({big, static_cast<std::size_t>(put_varint(big, 70'000) - big)});
  CHECK(from.varint(65'535) == 0);
  CHECK(!from.ok());
}

TEST_CASE("bytes that are no transaction are refused") {
  std::mt19937_64 random(7);
  decoded_commit decoded;
  std::vector<std::byte> bytes;
  for (int i = 0; i < 20'000; ++i) {
    bytes.resize(random() % 60);
    for (auto& b : bytes) b = static_cast<std::byte>(random() % 5 == 0 ? random() : random() % 10);
    if (!decoded.decode(bytes, 1, 0)) continue;
    for (const change& made : decoded.record().changes) {  // and what is not refused is one
      CHECK(carries_value(made.kind) == (made.data != nullptr));
    }
  }
  // A count that the bytes can not hold is refused before anything is allocated for it.
  std::byte huge[12];
  std::byte* const end = put_varint(put_varint(huge, 0), std::uint64_t{1} << 60);
  CHECK(!decoded.decode({huge, static_cast<std::size_t>(end - huge)}, 1, 0));
}
