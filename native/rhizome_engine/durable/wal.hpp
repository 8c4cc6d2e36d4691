// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/change.hpp"
#include "durable/disk.hpp"
#include "durable/encoding.hpp"
#include "durable/wal_format.hpp"
#include "durable/wal_reader.hpp"

namespace rhizome {

struct wal_options {
  std::uint64_t segment_bytes = std::uint64_t{64} << 20;  ///< A segment that is as long takes no further transaction.
  std::uint64_t allocate_bytes = std::uint64_t{4}
                                 << 20;             ///< Room asked of the file system at a time; 0: as it is written.
  std::size_t buffer_bytes = std::size_t{1} << 20;  ///< Kept in memory between syncs, at most (and one frame).
};

/// The write-ahead log of a store: what `sync` has returned well for survives the process and the machine.
///
/// Many transactions share one sync (group commit): `append` encodes into memory, a plain new arc in 3 to 12 bytes and a transaction in
/// some 20 more, and writes when the buffer is full; `sync` writes the rest and waits for the device. Both may block on the disk, so
/// that a host calls them where blocking is allowed (dirty I/O). The log makes no thread. append, sync and close are called by one
/// thread at a time (the store's writer); `remove_before` and `segments` by any.
///
/// The first error of the disk stays: it is returned as what it was (no_space or io), and every later call is refused with
/// read_only. A failed sync is not tried again, because the kernel drops what it could not write and reports it once: only a new
/// open, which reads from the device, finds out what is there. A transaction that was not synced may be there after it, or not.
class wal final : public commit_sink {
public:
  /// A log without a segment so far; `last` is the commit that its first transaction follows.
  [[nodiscard]] static result<std::unique_ptr<wal>> create(disk& on, std::string directory, const store_identity& store,
                                                           commit_number last, time_us now, wal_options options = {});
  /// Goes on where a scan without damage ended, and cuts off what it found behind that.
  [[nodiscard]] static result<std::unique_ptr<wal>> resume(disk& on, std::string directory, const log_scan& scan,
                                                           wal_options options = {});
  /// Without `close`, what was not synced is lost, and the next open finds the log as a killed process leaves it.
  ~wal() override = default;

  [[nodiscard]] result<void> append(const commit_record& record) override;
  [[nodiscard]] result<void> sync() override;
  /// Syncs and seals: after it each changed bit is told from a torn tail. The log takes no more writes.
  [[nodiscard]] result<void> close();

  /// Removes the segments that hold nothing after `commit`. For after a checkpoint.
  [[nodiscard]] result<void> remove_before(commit_number commit);

  [[nodiscard]] commit_number last() const noexcept { return last_; }        ///< Appended. The writer's thread.
  [[nodiscard]] commit_number durable() const noexcept { return durable_; }  ///< Synced. The writer's thread.
  [[nodiscard]] std::uint64_t bytes_appended() const noexcept { return bytes_; }
  [[nodiscard]] std::vector<log_segment> segments() const;

private:
  wal(disk& on, std::string directory, const store_identity& store, commit_number last, wal_options options);

  struct segment_file {
    segment_header header;
    file on_disk;
    std::uint64_t offset = 0;     // of the buffer's start
    std::uint64_t allocated = 0;  // the file's size
  };

  [[nodiscard]] result<segment_file> make_segment(std::uint64_t index, time_us now) const;
  [[nodiscard]] result<void> rotate(time_us now);
  [[nodiscard]] result<void> seal(std::uint32_t flags);
  [[nodiscard]] result<void> put_changes(const commit_record& record);
  [[nodiscard]] result<void> put_text(std::string_view text, commit_number commit);
  [[nodiscard]] result<void> cut_frame(commit_number commit);
  [[nodiscard]] result<void> flush();
  void begin_frame(std::uint32_t flags);
  void end_frame(std::uint32_t flags, commit_number commit);
  [[nodiscard]] std::size_t payload() const noexcept { return used_ - frame_ - sizeof(frame_header); }
  [[nodiscard]] std::byte* at() const noexcept { return buffer_.get() + used_; }
  void advance(const std::byte* to) noexcept { used_ = static_cast<std::size_t>(to - buffer_.get()); }
  [[nodiscard]] tl::unexpected<error> poison(error cause);
  [[nodiscard]] tl::unexpected<error> refused() const;

  disk& disk_;
  const std::string directory_;
  const wal_options options_;
  const store_identity store_;
  segment_file segment_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t used_ = 0;     // of the buffer
  std::size_t frame_ = 0;    // where in it the open frame starts
  std::uint32_t begun_ = 0;  // that frame's flags
  std::uint64_t bytes_ = 0;
  commit_number last_ = 0;
  commit_number durable_ = 0;
  std::optional<error> poison_;
  mutable std::mutex segments_lock_;
  std::vector<log_segment> segments_;  // under segments_lock_; the last one is open
};

}  // namespace rhizome
