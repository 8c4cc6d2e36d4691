// SPDX-License-Identifier: Apache-2.0
#include "durable/wal.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rhizome {
namespace {

// Of the buffer beyond the bytes at which it is written: one frame, and a change that begins just before that is full.
constexpr std::size_t frame_room = sizeof(frame_header) + frame_payload_max;

}  // namespace

wal::wal(disk& on, std::string directory, const store_identity& store, commit_number last, wal_options options)
    : disk_(on),
      directory_(std::move(directory)),
      options_(options),
      store_(store),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(options.buffer_bytes + frame_room)),
      last_(last),
      durable_(last) {}

result<std::unique_ptr<wal>> wal::create(disk& on, std::string directory, const store_identity& store,
                                         commit_number last, time_us now, wal_options options) {
  std::unique_ptr<wal> made(new wal(on, std::move(directory), store, last, options));
  auto segment = made->make_segment(1, now);
  if (!segment) return tl::unexpected(segment.error());
  made->segment_ = std::move(*segment);
  made->segments_.push_back({1, last + 1});
  return made;
}

result<std::unique_ptr<wal>> wal::resume(disk& on, std::string directory, const log_scan& scan, wal_options options) {
  std::unique_ptr<wal> made(new wal(on, std::move(directory), scan.store, scan.last, options));
  auto opened = file::open(on, made->directory_ + '/' + segment_name(scan.end_header.index), disk::mode::write);
  if (!opened) return tl::unexpected(opened.error());
  // What lies behind the end must be gone before anything is written there: it could be taken for a part of the log later.
  if (auto done = opened->truncate(scan.end_offset); !done) return tl::unexpected(done.error());
  if (auto done = opened->sync(); !done) return tl::unexpected(done.error());
  made->segment_ = {scan.end_header, std::move(*opened), scan.end_offset, scan.end_offset};
  made->segments_ = scan.segments;
  return made;
}

result<void> wal::append(const commit_record& record) {
  if (poison_) return refused();
  if (record.number != last_ + 1 || record.number == newest_commit) {
    return poison({errc::invalid_argument, "the log was given commit " + std::to_string(record.number) +
                                               " after commit " + std::to_string(last_)});
  }
  if (record.number > segment_.header.first && segment_.offset + used_ >= options_.segment_bytes) {
    if (auto done = rotate(record.time); !done) return done;
  }
  if (auto done = put_changes(record); !done) return done;
  last_ = record.number;
  return used_ < options_.buffer_bytes ? result<void>{} : flush();
}

result<void> wal::put_changes(const commit_record& record) {
  begin_frame(frame_begins);
  advance(put_varint(
      at(), zigzag(static_cast<std::uint64_t>(record.time) - static_cast<std::uint64_t>(segment_.header.time_base))));
  advance(put_varint(at(), record.others.size() + record.changes.size()));
  for (const commit_part& other : record.others) {
    advance(put_part(at(), other));
    if (payload() < frame_payload_target) continue;
    if (auto done = cut_frame(record.number); !done) return done;
  }
  change_context context;
  for (const change& made : record.changes) {
    const std::byte* const end = put_change(at(), context, made, record.time);
    if (end == nullptr) return poison({errc::invalid_argument, "the log was given a change without its value"});
    advance(end);
    if (const std::string* const text = carried_text(made)) {
      if (auto done = put_text(*text, record.number); !done) return done;
    }
    if (payload() < frame_payload_target) continue;
    if (auto done = cut_frame(record.number); !done) return done;
  }
  end_frame(frame_ends, record.number);
  return {};
}

result<void> wal::put_text(std::string_view text, commit_number commit) {
  while (!text.empty()) {
    if (payload() >= frame_payload_target) {
      if (auto done = cut_frame(commit); !done) return done;
    }
    const std::size_t part = std::min(text.size(), frame_payload_target - payload());
    std::memcpy(at(), text.data(), part);
    used_ += part;
    text.remove_prefix(part);
  }
  return {};
}

result<void> wal::cut_frame(commit_number commit) {
  end_frame(0, commit);
  if (used_ >= options_.buffer_bytes) {
    if (auto done = flush(); !done) return done;
  }
  begin_frame(0);
  return {};
}

void wal::begin_frame(std::uint32_t flags) {
  frame_ = used_;
  begun_ = flags;
  used_ += sizeof(frame_header);
}

void wal::end_frame(std::uint32_t flags, commit_number commit) {
  frame_header head;
  head.size_flags = static_cast<std::uint32_t>(payload()) | begun_ | flags;
  head.commit = commit;
  head.durable = durable_;
  std::byte* const frame = buffer_.get() + frame_;
  std::memcpy(frame, &head, sizeof head);
  head.crc = frame_crc(segment_.header.crc, segment_.offset + frame_, {frame, used_ - frame_});
  std::memcpy(frame, &head.crc, sizeof head.crc);
}

result<void> wal::flush() {
  const std::uint64_t end = segment_.offset + used_;
  if (end > segment_.allocated && options_.allocate_bytes > 0) {
    const std::uint64_t more = std::max(options_.allocate_bytes, end - segment_.allocated);
    segment_.allocated = segment_.on_disk.allocate(segment_.allocated, more) ? segment_.allocated + more : end;
  }
  if (auto done = segment_.on_disk.write(segment_.offset, {buffer_.get(), used_}); !done)
    return poison(std::move(done.error()));
  bytes_ += used_;
  segment_.offset = end;
  used_ = 0;
  return {};
}

result<void> wal::sync() {
  if (poison_) return refused();
  if (last_ == durable_) return {};
  if (used_ > 0) {
    if (auto done = flush(); !done) return done;
  }
  if (auto done = segment_.on_disk.sync(); !done) return poison(std::move(done.error()));
  durable_ = last_;
  return {};
}

result<void> wal::close() {
  if (auto done = sync(); !done) return done;
  if (auto done = seal(frame_seals); !done) return done;
  poison_ = error{errc::read_only, "it was closed"};
  segment_.on_disk.close();
  return {};
}

result<void> wal::seal(std::uint32_t flags) {
  begin_frame(flags);
  end_frame(0, last_);
  if (auto done = flush(); !done) return done;
  if (auto done = segment_.on_disk.truncate(segment_.offset); !done) return poison(std::move(done.error()));
  if (auto done = segment_.on_disk.sync(); !done) return poison(std::move(done.error()));
  return {};
}

// The next segment is whole and in its directory before this one says that there is one: so a missing one is noticed, and a
// crash between the two leaves a log that reads well.
result<void> wal::rotate(time_us now) {
  if (auto done = sync(); !done) return done;
  auto next = make_segment(segment_.header.index + 1, now);
  if (!next) return poison(std::move(next.error()));
  if (auto done = seal(frame_seals | frame_moves); !done) return done;
  segment_ = std::move(*next);
  const std::lock_guard lock(segments_lock_);
  segments_.push_back({segment_.header.index, segment_.header.first});
  return {};
}

// Under its own name a segment has a valid header from the beginning, so that an invalid one can only be damage.
result<wal::segment_file> wal::make_segment(std::uint64_t index, time_us now) const {
  segment_header header;
  header.store = store_.id;
  header.kind = store_.kind;
  header.index = index;
  header.first = last_ + 1;
  header.time_base = now;
  header.crc = crc32c(0, &header, sizeof header - sizeof header.crc);
  const std::string path = directory_ + '/' + segment_name(index);
  const std::string unfinished = path + std::string(unfinished_suffix);
  {
    auto made = file::open(disk_, unfinished, disk::mode::create);
    if (!made) return tl::unexpected(made.error());
    if (auto done = made->write(0, std::as_bytes(std::span(&header, 1))); !done) return tl::unexpected(done.error());
    if (auto done = made->sync(); !done) return tl::unexpected(done.error());
  }
  if (const int done = disk_.rename(unfinished, path); done < 0) return disk_error("rename", unfinished, -done);
  if (auto done = sync_directory(disk_, directory_); !done) return tl::unexpected(done.error());
  auto opened = file::open(disk_, path, disk::mode::write);
  if (!opened) return tl::unexpected(opened.error());
  return segment_file{header, std::move(*opened), sizeof header, sizeof header};
}

result<void> wal::remove_before(commit_number commit) {
  std::unique_lock lock(segments_lock_);
  bool removed = false;
  while (segments_.size() > 1 && segments_[1].first <= commit + 1) {
    const std::string path = directory_ + '/' + segment_name(segments_.front().index);
    const int done = disk_.remove(path);
    if (done < 0 && done != -ENOENT) return disk_error("remove", path, -done);
    segments_.erase(segments_.begin());
    removed = true;
  }
  lock.unlock();
  return removed ? sync_directory(disk_, directory_) : result<void>{};
}

std::vector<log_segment> wal::segments() const {
  const std::lock_guard lock(segments_lock_);
  return segments_;
}

tl::unexpected<error> wal::poison(error cause) {
  poison_ = cause;
  return tl::unexpected(std::move(cause));
}

tl::unexpected<error> wal::refused() const {
  return fail(errc::read_only, "the log in " + directory_ + " takes no more writes, since " + poison_->text);
}

}  // namespace rhizome
