// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace karyon::tests {

/// A key of NATS's kind (nkeys): Ed25519, written in base32 with what it is for before it and a checksum behind it.
class nats_key {
public:
  enum class kind : std::uint8_t { account = 0, top_operator = 14, user = 20 };

  explicit nats_key(kind what) : kind_(what) {
    EVP_PKEY* made = nullptr;
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> of(EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nullptr),
                                                                         &EVP_PKEY_CTX_free);
    if (of == nullptr || EVP_PKEY_keygen_init(of.get()) != 1 || EVP_PKEY_keygen(of.get(), &made) != 1)
      throw std::runtime_error("no key can be made");
    key_.reset(made);
  }

  [[nodiscard]] std::string name() const {
    raw_key open{};
    std::size_t size = open.size();
    if (EVP_PKEY_get_raw_public_key(key_.get(), open.data(), &size) != 1) throw std::runtime_error("no public key");
    std::string bytes(1, static_cast<char>(prefix()));
    return written(bytes.append(open.begin(), open.end()));
  }
  [[nodiscard]] std::string seed() const {
    raw_key secret{};
    std::size_t size = secret.size();
    if (EVP_PKEY_get_raw_private_key(key_.get(), secret.data(), &size) != 1) throw std::runtime_error("no seed");
    // Two prefixes of five bits: that it is a seed, and what for.
    constexpr unsigned of_seed = 18U << 3U;
    std::string bytes{static_cast<char>(of_seed | prefix() >> 5U), static_cast<char>((prefix() & 31U) << 3U)};
    return written(bytes.append(secret.begin(), secret.end()));
  }
  /// A JSON web token with these claims, each without who signs and for whom.
  [[nodiscard]] std::string token(std::string_view subject, std::string_view claims) const {
    const std::string said = "{\"jti\":\"1\",\"iat\":1,\"iss\":\"" + name() + "\",\"sub\":\"" + std::string(subject) +
                             "\"," + std::string(claims) + "}";
    const std::string text = in_base64(R"({"typ":"JWT","alg":"ed25519-nkey"})") + "." + in_base64(said);
    return text + "." + in_base64(signature(text));
  }

  [[nodiscard]] std::string signature(std::string_view text) const {
    std::array<unsigned char, 64> made{};
    std::size_t size = made.size();
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> of(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    if (EVP_DigestSignInit(of.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
        EVP_DigestSign(of.get(), made.data(), &size, reinterpret_cast<const unsigned char*>(text.data()),
                       text.size()) != 1) {
      throw std::runtime_error("no signature");
    }
    return {made.begin(), made.end()};
  }
  [[nodiscard]] static std::string in_base64(std::string_view bytes) {
    return in_digits(bytes, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 6);
  }

private:
  using raw_key = std::array<unsigned char, 32>;

  [[nodiscard]] unsigned prefix() const noexcept { return static_cast<unsigned>(kind_) << 3U; }
  /// With its checksum (CRC-16/XMODEM), in base32.
  static std::string written(std::string bytes) {
    unsigned crc = 0;
    for (const char c : bytes) {
      crc ^= static_cast<unsigned>(static_cast<unsigned char>(c)) << 8U;
      for (int bit = 0; bit < 8; ++bit) crc = ((crc & 0x8000U) != 0 ? crc << 1U ^ 0x1021U : crc << 1U) & 0xFFFFU;
    }
    bytes += static_cast<char>(crc & 0xFFU);
    bytes += static_cast<char>(crc >> 8U);
    return in_digits(bytes, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5);
  }
  /// Of so many bits each; nothing fills up the end.
  static std::string in_digits(std::string_view bytes, std::string_view digits, unsigned bits_each) {
    std::string text;
    unsigned waiting = 0;
    unsigned bits = 0;
    for (const char c : bytes) {
      waiting = (waiting << 8U | static_cast<unsigned char>(c)) & 0xFFFFU;
      for (bits += 8; bits >= bits_each; bits -= bits_each)
        text += digits[waiting >> (bits - bits_each) & (digits.size() - 1)];
    }
    if (bits != 0) text += digits[waiting << (bits_each - bits) & (digits.size() - 1)];
    return text;
  }

  kind kind_;
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_{nullptr, &EVP_PKEY_free};
};

/// Of a user's credentials. `expires_at`: seconds since 1970. `publish`: the one subject that the user may publish to; empty: all.
struct nats_user {
  std::optional<std::time_t> expires_at = std::nullopt;
  std::string publish{};
};

/// An operator with one account, as `nsc` would set them up: what its server is told, and what its users are given.
class nats_operator {
public:
  /// For a server that finds nothing out from others.
  [[nodiscard]] std::string server_configuration() const {
    const std::string limits =
        R"("limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1})";
    const std::string account =
        operator_.token(account_.name(), R"("name":"colony","nats":{)" + limits + R"(,"type":"account","version":2})");
    const std::string self =
        operator_.token(operator_.name(), R"("name":"operator","nats":{"type":"operator","version":2})");
    return "operator: " + self + "\nresolver: MEMORY\nresolver_preload: {\n  " + account_.name() + ": " + account +
           "\n}\n";
  }
  /// A user's file, `.creds`.
  [[nodiscard]] std::string credentials(const nats_user& of = {}) const {
    return credentials(nats_key(nats_key::kind::user), of);
  }
  [[nodiscard]] std::string credentials(const nats_key& user, const nats_user& of = {}) const {
    return as_file(token_of(user, of), user.seed());
  }
  /// A user's token, with the seed of another one.
  [[nodiscard]] std::string mismatched_credentials() const {
    return as_file(token_of(nats_key(nats_key::kind::user), {}), nats_key(nats_key::kind::user).seed());
  }

private:
  [[nodiscard]] std::string token_of(const nats_key& user, const nats_user& of) const {
    const std::string until = of.expires_at ? "\"exp\":" + std::to_string(*of.expires_at) + "," : "";
    const std::string publish = of.publish.empty() ? "{}" : "{\"allow\":[\"" + of.publish + "\"]}";
    return account_.token(user.name(), until + R"("name":"bus","nats":{"pub":)" + publish +
                                           R"(,"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2})");
  }
  static std::string as_file(const std::string& token, const std::string& seed) {
    return "-----BEGIN NATS USER JWT-----\n" + token +
           "\n------END NATS USER JWT------\n\n"
           "-----BEGIN USER NKEY SEED-----\n" +
           seed + "\n------END USER NKEY SEED------\n";
  }
  nats_key operator_{nats_key::kind::top_operator};
  nats_key account_{nats_key::kind::account};
};

}  // namespace karyon::tests
