// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/organelle/function.hpp>
#include <karyon/organelle/load_error.hpp>

namespace karyon {

/// What a library is held to before any of it runs.
struct load_options {
  /// SHA-256 of the file, 64 hexadecimal digits; empty: it is read from checksum_file.
  std::string checksum{};
  /// As sha256sum writes it; of several lines the one with the library's name. Empty: the library's path with ".sha256" at its end.
  std::string checksum_file{};
  /// With a key (Ed25519, raw) the library must be signed by it: see organelle_file::signed_text.
  std::optional<std::array<std::byte, 32>> public_key{};
  /// The raw signature, 64 bytes. Empty: the library's path with ".sig" at its end.
  std::string signature_file{};
  /// Libraries that it may need beside those of C and C++ (allowed_libraries()), by the names in its DT_NEEDED.
  std::vector<std::string> also_allowed{};
  std::uint64_t bytes_max = std::uint64_t{1} << 30;
};

/// The libraries that every organelle may need.
[[nodiscard]] KARYON_API const std::vector<std::string_view>& allowed_libraries();

namespace detail {
struct sealed_organelle;
}  // namespace detail

/// The bytes of an organelle, checked and sealed, of which nothing has run yet.
///
/// Whoever checks a file and then loads it by its name may load another one: it can have been replaced in between. So the file is
/// opened once, without following a link, and copied into memory that nobody can change any more (a sealed memfd); all that is
/// checked is checked there, and exactly those bytes are what organelle::load then loads. docs/internals/verified-loading.md.
///
/// Threads: any; a value that is moved. Cost: reads the file, a copy and a hash.
class KARYON_API organelle_file {
public:
  /// Opens and checks. The refusals are the causes of load_refusal up to `signature`, in this order.
  [[nodiscard]] static load_result<organelle_file> open(const std::string& path, const load_options& options = {});

  organelle_file(organelle_file&&) noexcept;
  organelle_file& operator=(organelle_file&&) noexcept;
  organelle_file(const organelle_file&) = delete;
  organelle_file& operator=(const organelle_file&) = delete;
  ~organelle_file();

  [[nodiscard]] const std::string& path() const noexcept;
  /// As its note says.
  [[nodiscard]] const std::string& version() const noexcept;
  /// Of the sealed bytes, in hexadecimal digits.
  [[nodiscard]] const std::string& sha256() const noexcept;
  /// What a signature of it signs: a line each with "karyon organelle 1", the hash, the ABI ("1 " and the layout hash in 16
  /// digits) and the version, each ended by a newline.
  [[nodiscard]] std::string signed_text() const;

private:
  friend class organelle;
  explicit organelle_file(std::unique_ptr<detail::sealed_organelle> sealed) noexcept;
  std::unique_ptr<detail::sealed_organelle> sealed_;
};

/// A loaded library whose functions cells can call.
///
///     auto engine = karyon::organelle::load("/usr/lib/karyon/rhizome_engine.so");
///     if (!engine) { std::puts(engine.error().message().c_str()); return 1; }
///     auto degree = engine->function("degree").value();
///
/// A value: copies name the same library. It is unloaded when the last of them, of its functions and of its handles is gone, on the
/// thread where that happens, which then waits for the library's own threads to end: so keep one outside of the cells until the
/// runtime is shut down. Any thread may use it.
class KARYON_API organelle {
public:
  /// Loads what was checked: constructors run, then karyon_organelle_open. The refusals are those after `signature`.
  [[nodiscard]] static load_result<organelle> load(organelle_file file);
  /// Both steps.
  [[nodiscard]] static load_result<organelle> load(const std::string& path, const load_options& options = {});

  organelle(const organelle& other) noexcept;
  organelle(organelle&& other) noexcept : library_(std::exchange(other.library_, nullptr)) {}
  organelle& operator=(organelle other) noexcept {
    std::swap(library_, other.library_);
    return *this;
  }
  ~organelle();

  [[nodiscard]] std::string_view name() const noexcept;
  [[nodiscard]] std::string_view version() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept;
  /// Bits of the organelle's own.
  [[nodiscard]] std::uint64_t features() const noexcept;
  [[nodiscard]] std::vector<std::string_view> functions() const;
  /// A place to call it from: each one learns for itself how long its calls take (organelle_function). `not_found`.
  [[nodiscard]] result<organelle_function> function(std::string_view name) const;

private:
  explicit organelle(detail::library* library) noexcept : library_(library) {}
  detail::library* library_;
};

}  // namespace karyon
