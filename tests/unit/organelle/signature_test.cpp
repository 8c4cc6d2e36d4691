// SPDX-License-Identifier: Apache-2.0
#include <openssl/evp.h>

#include <array>
#include <cstring>
#include <memory>

#include "organelle_testing.hpp"

namespace {

using namespace karyon;
using namespace karyon::tests;

/// A pair of keys, made from one number.
class signer {
public:
  explicit signer(unsigned char seed) {
    std::array<unsigned char, 32> secret{};
    secret.fill(seed);
    key_.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret.data(), secret.size()));
    REQUIRE(key_);
  }
  [[nodiscard]] std::array<std::byte, 32> public_key() const {
    std::array<std::byte, 32> bytes{};
    std::size_t size = bytes.size();
    REQUIRE(EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(bytes.data()), &size) == 1);
    return bytes;
  }
  [[nodiscard]] std::string sign(const std::string& text) const {
    std::string signature(64, '\0');
    std::size_t size = signature.size();
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    REQUIRE(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
    REQUIRE(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                           reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1);
    return signature;
  }

private:
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_{nullptr, &EVP_PKEY_free};
};

}  // namespace

TEST_CASE("with a key, only what that key has signed is loaded") {
  const temporary_tree tree;
  const std::string bytes = read_file(tally_path);
  tree.write("tally.so", bytes);
  tree.write("tally.so.sha256", sha256_of(bytes) + "  tally.so\n");
  const std::string path = tree.path("tally.so");
  const signer ours(1);
  const signer other(2);
  const std::string text = organelle_file::open(path).value().signed_text();
  load_options options;
  options.public_key = ours.public_key();
  const auto refused = [&] {
    const auto file = organelle_file::open(path, options);
    return !file && file.error().cause() == load_refusal::signature;
  };

  CHECK(refused());  // none at all
  tree.write("tally.so.sig", other.sign(text));
  CHECK(refused());
  tree.write("tally.so.sig", ours.sign(text + "x"));
  CHECK(refused());
  std::string cut = ours.sign(text);
  cut.pop_back();
  tree.write("tally.so.sig", cut);
  CHECK(refused());
  tree.write("tally.so.sig", ours.sign(text));
  CHECK(organelle_file::open(path, options));
  options.signature_file = tree.path("apart");
  CHECK(refused());
  tree.write("apart", ours.sign(text));
  CHECK(organelle_file::open(path, options));
}

TEST_CASE("what is signed names the hash, the ABI and the version") {
  const auto file = organelle_file::open(tally_path);
  REQUIRE(file);
  const std::string text = file->signed_text();
  CHECK(text.starts_with("karyon organelle 1\n" + file->sha256() + "\n1 "));
  CHECK(text.ends_with("\n1.0.0\n"));
}

TEST_CASE("checksum files are read as sha256sum writes them, and nothing else is") {
  const std::string digits = sha256_of("x");
  const auto found = [](const std::string& text) { return detail::find_digest(text, "a.so").has_value(); };
  CHECK(found(digits + "  a.so\n"));
  CHECK(found(digits + " *a.so"));
  CHECK(found(digits + "  dir/a.so\r\n"));
  CHECK(found(digits));
  CHECK(found(digits + "\n"));
  CHECK_FALSE(found(digits + " a.so\n"));
  CHECK_FALSE(found(digits + "  a.so.bak\n"));
  CHECK_FALSE(found(digits.substr(1) + "  a.so\n"));
  CHECK_FALSE(found(digits + "\n" + digits + "\n"));
  CHECK_FALSE(found("g" + digits.substr(1) + "  a.so\n"));
  CHECK_FALSE(found(""));
}
