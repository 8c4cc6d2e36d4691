// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/image.hpp"
#include "durable/disk.hpp"
#include "durable/wal_format.hpp"

// A checkpoint: the image of a store as of one commit, in one file. The table of its bytes, and what is valid, are in
// docs/internals/rhizome-checkpoint-format.md.
namespace rhizome {

inline constexpr std::uint32_t checkpoint_version = 1;
inline constexpr std::size_t checkpoint_page = 4096;

struct checkpoint_header {
  std::array<char, 8> magic{'r', 'h', 'i', 'z', 'c', 'k', 'p', '\n'};
  std::uint32_t version = checkpoint_version;
  std::uint32_t bytes = checkpoint_page;  ///< Of this header.
  store_id store{};
  std::uint32_t kind = 0;
  commit_number commit = 0;
  time_us written = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t table_offset = 0;
  std::uint32_t sections = 0;
  std::uint32_t table_crc = 0;  ///< Of the table and of the zeros up to the file's end.
  std::array<std::byte, checkpoint_page - 76> zeros{};
  std::uint32_t crc = 0;  ///< Of all before it.
};
static_assert(sizeof(checkpoint_header) == checkpoint_page);

struct checkpoint_entry {
  std::uint32_t id = 0;
  std::uint32_t entry_bytes = 0;
  std::uint64_t offset = 0;  ///< A multiple of checkpoint_page.
  std::uint64_t bytes = 0;   ///< A multiple of entry_bytes; zeros follow up to the next page.
  std::uint32_t crc = 0;     ///< Of both.
  std::uint32_t zero = 0;
};
static_assert(sizeof(checkpoint_entry) == 32);

/// "checkpoint-0000001234.rhz", by its commit.
[[nodiscard]] std::string checkpoint_name(commit_number commit);

/// Writes a checkpoint beside what is there: under another name until `finish` has synced it, renamed it and synced the directory; dropped
/// before that, it leaves nothing behind. One thread; blocks on the disk (dirty I/O). Costs one pass over the image, and a buffer.
class checkpoint_writer final : public image_sink {
public:
  [[nodiscard]] static result<std::unique_ptr<checkpoint_writer>> create(disk& on, const std::string& directory,
                                                                         const store_identity& store,
                                                                         commit_number commit);
  ~checkpoint_writer() override;

  [[nodiscard]] result<void> begin(image_section section) override;
  [[nodiscard]] result<void> write(std::span<const std::byte> slice) override;
  /// Gives the file's size.
  [[nodiscard]] result<std::uint64_t> finish(time_us now);

private:
  checkpoint_writer(disk& on, const std::string& directory, const store_identity& store, commit_number commit);
  [[nodiscard]] result<void> put(std::span<const std::byte> bytes);
  [[nodiscard]] result<void> put_zeros();
  [[nodiscard]] result<void> flush();
  [[nodiscard]] result<void> end_section();
  template <class T>
  [[nodiscard]] result<T> keep(result<T> done);

  disk& disk_;
  const std::string directory_;
  const std::string path_;
  const std::string unfinished_;
  checkpoint_header header_;
  std::vector<checkpoint_entry> table_;
  file file_;
  std::vector<std::byte> buffer_;
  std::uint64_t offset_ = checkpoint_page;  // where the buffer goes
  std::uint32_t crc_ = 0;                   // of the section so far
  std::optional<error> failed_;
  bool finished_ = false;
};

/// A checkpoint in memory, by mmap: nothing is copied. Opening reads all of it once, since every checksum is looked at before anything is
/// used: what a store uses in place has to be right, and a wrong reference found later could only end in a crash. Pages that the system drops
/// and can not read again later end the process with SIGBUS, as with every mapped file.
class mapped_checkpoint final : public image_source {
public:
  /// errc::corrupt, wrong_version: `text` says where; io.
  [[nodiscard]] static result<std::unique_ptr<mapped_checkpoint>> open(disk& on, const std::string& path);

  [[nodiscard]] store_identity store() const noexcept { return {header().store, header().kind}; }
  [[nodiscard]] commit_number commit() const noexcept override { return header().commit; }
  [[nodiscard]] std::span<const std::byte> section(image_section wanted) const noexcept override;
  /// Whether it has that section, if only an empty one.
  [[nodiscard]] bool has(image_section wanted) const noexcept { return find(wanted) != nullptr; }
  [[nodiscard]] std::shared_ptr<const void> keep_alive() const noexcept override { return mapped_; }
  [[nodiscard]] result<void> place(image_section wanted, void* at) const override;

private:
  mapped_checkpoint(file opened, std::shared_ptr<const void> mapped)
      : file_(std::move(opened)), mapped_(std::move(mapped)) {}
  [[nodiscard]] const std::byte* at(std::uint64_t offset) const noexcept {
    return static_cast<const std::byte*>(mapped_.get()) + offset;
  }
  [[nodiscard]] const checkpoint_header& header() const noexcept {
    return *static_cast<const checkpoint_header*>(mapped_.get());
  }
  [[nodiscard]] std::span<const checkpoint_entry> table() const noexcept {
    return {reinterpret_cast<const checkpoint_entry*>(at(header().table_offset)), header().sections};
  }
  [[nodiscard]] const checkpoint_entry* find(image_section wanted) const noexcept;
  [[nodiscard]] result<void> check(std::uint64_t size) const;
  [[nodiscard]] result<void> check_table() const;
  [[nodiscard]] tl::unexpected<error> corrupt(std::string_view what) const;

  file file_;
  std::shared_ptr<const void> mapped_;
};

}  // namespace rhizome
