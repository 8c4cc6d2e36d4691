// SPDX-License-Identifier: Apache-2.0
#include "organelle/digest.hpp"

#include <openssl/evp.h>

#include <memory>

namespace karyon::detail {

namespace {

constexpr std::size_t digits_of_digest = 64;

int digit_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

struct free_key {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct free_context {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

const unsigned char* plain(const void* bytes) noexcept { return static_cast<const unsigned char*>(bytes); }

}  // namespace

std::optional<sha256_digest> sha256(std::span<const std::byte> bytes) noexcept {
  sha256_digest digest;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr, EVP_sha256(),
                 nullptr) != 1) {
    return std::nullopt;
  }
  return digest;
}

std::string hex(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    text.push_back(digits[std::to_integer<std::size_t>(b >> 4)]);
    text.push_back(digits[std::to_integer<std::size_t>(b & std::byte{15})]);
  }
  return text;
}

std::optional<sha256_digest> parse_digest(std::string_view digits) noexcept {
  if (digits.size() != digits_of_digest) return std::nullopt;
  sha256_digest digest;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = digit_value(digits[2 * i]);
    const int low = digit_value(digits[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::byte>(high * 16 + low);
  }
  return digest;
}

std::optional<sha256_digest> find_digest(std::string_view checksums, std::string_view file_name) noexcept {
  const bool one_line = checksums.find('\n') >= checksums.size() - (checksums.empty() ? 0 : 1);
  while (!checksums.empty()) {
    const std::size_t end = checksums.find('\n');
    std::string_view line = checksums.substr(0, end);
    checksums.remove_prefix(end == std::string_view::npos ? checksums.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const auto digest = parse_digest(line.substr(0, digits_of_digest));
    if (!digest) continue;
    if (line.size() == digits_of_digest) {
      if (one_line) return digest;
      continue;
    }
    if (line.size() < digits_of_digest + 3 || line[digits_of_digest] != ' ') continue;
    if (line[digits_of_digest + 1] != ' ' && line[digits_of_digest + 1] != '*') continue;
    std::string_view name = line.substr(digits_of_digest + 2);
    name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
    if (name == file_name) return digest;
  }
  return std::nullopt;
}

bool is_signed(std::string_view text, std::span<const std::byte> signature,
               std::span<const std::byte, 32> public_key) noexcept {
  const std::unique_ptr<EVP_PKEY, free_key> key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, plain(public_key.data()), public_key.size()));
  const std::unique_ptr<EVP_MD_CTX, free_context> context(EVP_MD_CTX_new());
  return key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), plain(signature.data()), signature.size(), plain(text.data()), text.size()) ==
             1;
}

}  // namespace karyon::detail
