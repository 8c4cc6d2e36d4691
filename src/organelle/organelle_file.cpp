// SPDX-License-Identifier: Apache-2.0
#include "organelle/organelle_file.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "organelle/digest.hpp"

namespace karyon {

namespace detail {

namespace {

std::string_view last_part(std::string_view path) noexcept {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string in_hex(std::uint64_t number) {
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(number));
  return digits.data();
}

load_result<sha256_digest> expected_digest(const std::string& path, const load_options& options) {
  if (!options.checksum.empty()) {
    const auto digest = parse_digest(options.checksum);
    if (!digest)
      return refuse(load_refusal::checksum_absent, path + ": the checksum given is not 64 hexadecimal digits");
    return *digest;
  }
  const std::string file = options.checksum_file.empty() ? path + ".sha256" : options.checksum_file;
  const auto text = read_small(file);
  if (!text)
    return refuse(load_refusal::checksum_absent, path + ": no checksum to hold it to: " + text.error().message());
  const auto digest = find_digest(*text, last_part(path));
  if (!digest) {
    return refuse(load_refusal::checksum_absent,
                  path + ": " + file + " has no SHA-256 checksum of a file of this name (as sha256sum writes it)");
  }
  return *digest;
}

load_result<organelle_note> check_note(const elf_image& image, const std::string& path) {
  if (image.notes.empty()) {
    return refuse(load_refusal::note_absent,
                  path + ": is a library, but no organelle: it has no KARYON_ORGANELLE_NOTE");
  }
  if (image.notes.size() > 1) return refuse(load_refusal::not_a_library, path + ": has more than one organelle's note");
  const organelle_note& note = image.notes.front();
  if (note.major != KARYON_ABI_MAJOR) {
    return refuse(load_refusal::major, path + ": was built for version " + std::to_string(note.major) +
                                           " of the organelle ABI, " + "this host has " +
                                           std::to_string(KARYON_ABI_MAJOR) + "; build it again");
  }
  if (note.layout_hash != KARYON_ABI_LAYOUT_HASH) {
    return refuse(load_refusal::layout, path + ": was built with the ABI layout " + in_hex(note.layout_hash) +
                                            ", this host has " + in_hex(KARYON_ABI_LAYOUT_HASH) +
                                            "; build it again with this host's header");
  }
  return note;
}

load_result<void> check_needed(const elf_image& image, const std::string& path, const load_options& options) {
  if (!image.redirects.empty()) {
    return refuse(load_refusal::needed_library, path + ": has a " + image.redirects.front() +
                                                    ", which would let the loader take libraries from elsewhere");
  }
  const auto& allowed = allowed_libraries();
  for (const std::string& name : image.needed) {
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    if (std::find(options.also_allowed.begin(), options.also_allowed.end(), name) != options.also_allowed.end())
      continue;
    return refuse(load_refusal::needed_library,
                  path + ": needs the library " + name + ", which is not allowed (load_options::also_allowed)");
  }
  return {};
}

std::string text_to_sign(const std::string& sha256, const organelle_note& note) {
  return "karyon organelle 1\n" + sha256 + "\n" + std::to_string(note.major) + " " + in_hex(note.layout_hash) + "\n" +
         note.version + "\n";
}

load_result<void> check_signature(const sealed_organelle& sealed, const load_options& options) {
  if (!options.public_key) return {};
  const std::string file = options.signature_file.empty() ? sealed.path + ".sig" : options.signature_file;
  const auto signature = read_small(file);
  if (!signature)
    return refuse(load_refusal::signature, sealed.path + ": no signature: " + signature.error().message());
  if (!is_signed(text_to_sign(sealed.sha256, sealed.note), std::as_bytes(std::span(*signature)), *options.public_key)) {
    return refuse(load_refusal::signature, sealed.path + ": " + file + " is not a signature of it by the given key");
  }
  return {};
}

}  // namespace

load_result<sealed_organelle> check_sealed(sealed_bytes bytes, const std::string& path, const load_options& options) {
  const auto expected = expected_digest(path, options);
  if (!expected) return tl::unexpected<load_error>(expected.error());
  const auto digest = sha256(bytes.get());
  if (!digest) return refuse(load_refusal::unreadable, path + ": its checksum could not be computed (out of memory)");
  sealed_organelle sealed;
  sealed.path = path;
  sealed.sha256 = hex(*digest);
  if (*digest != *expected) {
    return refuse(load_refusal::checksum, path + ": its bytes are not those of the checksum: SHA-256 is " +
                                              sealed.sha256 + ", expected " + hex(*expected));
  }
  auto image = read_elf(bytes.get());
  if (!image) return refuse(load_refusal::not_a_library, path + ": " + image.error());
  auto note = check_note(*image, path);
  if (!note) return tl::unexpected<load_error>(note.error());
  if (auto needed = check_needed(*image, path, options); !needed) return tl::unexpected<load_error>(needed.error());
  sealed.image = std::move(*image);
  sealed.note = std::move(*note);
  if (auto is_signed = check_signature(sealed, options); !is_signed) {
    return tl::unexpected<load_error>(is_signed.error());
  }
  sealed.bytes = std::move(bytes);
  return sealed;
}

}  // namespace detail

const std::vector<std::string_view>& allowed_libraries() {
  static const std::vector<std::string_view> names = {
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libatomic.so.1",
    "libtree-sitter.so.0",  // the rhizome engine's, for syntax trees
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "ld-linux-riscv64-lp64d.so.1",
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    // A host that is instrumented loads libraries that are: gcc's runtimes (clang links its own into the program).
    "libasan.so.6",
    "libasan.so.8",
    "libubsan.so.1",
    "libtsan.so.0",
    "libtsan.so.2",
#endif
  };
  return names;
}

organelle_file::organelle_file(std::unique_ptr<detail::sealed_organelle> sealed) noexcept
    : sealed_(std::move(sealed)) {}
organelle_file::organelle_file(organelle_file&&) noexcept = default;
organelle_file& organelle_file::operator=(organelle_file&&) noexcept = default;
organelle_file::~organelle_file() = default;

load_result<organelle_file> organelle_file::open(const std::string& path, const load_options& options) {
  auto bytes = detail::read_sealed(path, options.bytes_max);
  if (!bytes) return tl::unexpected<load_error>(bytes.error());
  auto sealed = detail::check_sealed(std::move(*bytes), path, options);
  if (!sealed) return tl::unexpected<load_error>(sealed.error());
  return organelle_file(std::make_unique<detail::sealed_organelle>(std::move(*sealed)));
}

const std::string& organelle_file::path() const noexcept { return sealed_->path; }
const std::string& organelle_file::version() const noexcept { return sealed_->note.version; }
const std::string& organelle_file::sha256() const noexcept { return sealed_->sha256; }
std::string organelle_file::signed_text() const { return detail::text_to_sign(sealed_->sha256, sealed_->note); }

}  // namespace karyon
