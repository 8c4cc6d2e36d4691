// SPDX-License-Identifier: Apache-2.0
#include "durable/wal_reader.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "durable/encoding.hpp"

namespace rhizome {
namespace {

constexpr std::size_t window_bytes = std::size_t{1} << 20;
static_assert(window_bytes >= sizeof(frame_header) + frame_payload_max);

// A file's bytes, a window of them at a time.
class window {
public:
  window(const file& from, std::uint64_t size)
      : file_(from), size_(size), buffer_(static_cast<std::size_t>(std::min<std::uint64_t>(size, window_bytes))) {}

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// `count` (at most window_bytes) of them, fewer at the end; good until the next call.
  [[nodiscard]] result<std::span<const std::byte>> at(std::uint64_t offset, std::size_t count) {
    count = static_cast<std::size_t>(std::min<std::uint64_t>(count, offset < size_ ? size_ - offset : 0));
    if (offset < from_ || offset + count > from_ + have_) {
      auto got = file_.read(offset, buffer_);
      if (!got) return tl::unexpected(got.error());
      from_ = offset;
      have_ = *got;
      count = std::min(count, have_);
    }
    return std::span<const std::byte>(buffer_).subspan(static_cast<std::size_t>(offset - from_), count);
  }

private:
  const file& file_;
  const std::uint64_t size_;
  std::vector<std::byte> buffer_;
  std::uint64_t from_ = 0;
  std::size_t have_ = 0;
};

template <class T>
T load(std::span<const std::byte> bytes) noexcept {
  T loaded;
  std::memcpy(&loaded, bytes.data(), sizeof loaded);
  return loaded;
}

bool whole(const frame_header& head, std::uint32_t segment_crc, std::uint64_t offset,
           std::span<const std::byte> bytes) {
  const std::size_t size = sizeof head + (head.size_flags & frame_size_mask);
  return size <= bytes.size() && frame_crc(segment_crc, offset, bytes.first(size)) == head.crc;
}

class scanner {
public:
  scanner(disk& on, const std::string& directory, const wanted_log& wanted, const commit_visitor& visit)
      : disk_(on), directory_(directory), wanted_(wanted), after_(wanted.after), visit_(visit) {
    found_.last = wanted.after;
  }

  result<log_scan> scan();

private:
  result<void> list();
  result<void> read_segment(std::size_t position);
  bool read_header(const window& bytes, std::span<const std::byte> front);
  result<void> read_frames(window& bytes);
  bool take_frame(const frame_header& head, std::span<const std::byte> payload, std::uint64_t offset);
  bool take_commit();
  result<void> judge_end(window& bytes, std::uint64_t offset);
  result<std::uint64_t> used_end(window& bytes, std::uint64_t offset) const;
  result<bool> durable_evidence(window& bytes, std::uint64_t offset, std::uint64_t end);
  void damaged(errc code, const std::string& what);
  [[nodiscard]] std::string where(std::uint64_t offset) const {
    return "segment " + segment_name(header_.index) + " at byte " + std::to_string(offset);
  }

  disk& disk_;
  const std::string& directory_;
  const wanted_log& wanted_;
  const commit_number after_;
  const commit_visitor& visit_;
  log_scan found_;
  std::vector<std::uint64_t> indexes_;
  segment_header header_;  // of the segment that is read
  bool is_last_ = false;
  bool stopped_ = false;         // at the last commit that is wanted
  bool moved_ = false;           // a seal said that the next segment exists
  bool inside_ = false;          // a transaction has begun
  commit_number at_commit_ = 0;  // the last whole one here; below found_.last where the checkpoint has more
  std::uint64_t end_ = 0;        // of the last whole transaction or seal
  std::string unreadable_;       // where the segment before, or this one, can not be read; empty: nowhere
  std::vector<std::byte> payload_;
  decoded_commit decoded_;
};

void scanner::damaged(errc code, const std::string& what) {
  if (found_.damage) return;
  found_.damage = error{code, "the log in " + directory_ + " is damaged: " + what + "; what is there up to commit " +
                                  std::to_string(found_.last) + " can be read"};
}

result<void> scanner::list() {
  std::vector<std::string> names;
  if (const int done = disk_.list(directory_, names); done < 0) return disk_error("list", directory_, -done);
  for (const std::string& name : names) {
    if (const auto index = numbered_name(name, "", ".wal")) indexes_.push_back(*index);
  }
  std::sort(indexes_.begin(), indexes_.end());
  return {};
}

result<log_scan> scanner::scan() {
  if (auto done = list(); !done) return tl::unexpected(done.error());
  for (std::size_t i = 0; i < indexes_.size() && !found_.damage && !stopped_; ++i) {
    if (i > 0 && indexes_[i] != indexes_[i - 1] + 1) {
      damaged(errc::corrupt, "segment " + segment_name(indexes_[i - 1] + 1) + " is missing");
      break;
    }
    if (auto done = read_segment(i); !done) return tl::unexpected(done.error());
  }
  if (!found_.damage && moved_) {
    damaged(errc::corrupt, "segment " + segment_name(header_.index + 1) + " is missing");
  }
  if (!found_.damage && !found_.segments.empty() && at_commit_ < after_) {
    damaged(errc::corrupt, "it ends with commit " + std::to_string(at_commit_) + ", before a commit that was durable");
  }
  return std::move(found_);
}

result<void> scanner::read_segment(std::size_t position) {
  auto opened = file::open(disk_, directory_ + '/' + segment_name(indexes_[position]), disk::mode::read);
  if (!opened) return tl::unexpected(opened.error());
  is_last_ = position + 1 == indexes_.size();
  if (is_last_) {
    // A process before this one may have ignored that a sync failed: then the page cache holds what the device does not.
    if (auto done = opened->sync(); !done) return done;
    opened->forget_cached();
  }
  const auto size = opened->size();
  if (!size) return tl::unexpected(size.error());
  window bytes(*opened, *size);
  const auto front = bytes.at(0, sizeof(segment_header));
  if (!front) return tl::unexpected(front.error());
  header_.index = indexes_[position];
  moved_ = false;
  if (!read_header(bytes, *front)) return {};
  found_.segments.push_back({header_.index, header_.first});
  found_.end_header = header_;
  end_ = sizeof(segment_header);
  auto done = read_frames(bytes);
  found_.end_offset = end_;
  return done;
}

bool scanner::read_header(const window& bytes, std::span<const std::byte> front) {
  const std::uint64_t index = header_.index;
  if (front.size() < sizeof(segment_header) || bytes.size() < sizeof(segment_header)) {
    damaged(errc::corrupt, where(0) + " is shorter than a header");
    return false;
  }
  const auto header = load<segment_header>(front);
  if (header.magic != segment_header{}.magic ||
      header.crc != crc32c(0, front.data(), sizeof header - sizeof header.crc)) {
    damaged(errc::corrupt, where(0) + " has no valid header");
    return false;
  }
  if (header.version != wal_version || header.bytes != sizeof header) {
    damaged(errc::wrong_version,
            where(0) + " has format " + std::to_string(header.version) + ", not " + std::to_string(wal_version));
    return false;
  }
  const store_identity store{header.store, header.kind};
  if (header.index != index || (wanted_.id && header.store != *wanted_.id)) {
    damaged(errc::corrupt, where(0) + " belongs elsewhere");
    return false;
  }
  if (wanted_.kind && header.kind != *wanted_.kind) {
    damaged(errc::invalid_argument, where(0) + " was written by a store of another kind");
    return false;
  }
  const bool first = found_.segments.empty();
  if (first) found_.store = store;
  const commit_number before = header.first - 1;  // where the segment goes on
  if (store != found_.store || header.first == 0 || (first ? before > after_ : before != at_commit_)) {
    damaged(errc::corrupt, unreadable_.empty()
                               ? where(0) + " does not follow commit " + std::to_string(first ? after_ : at_commit_)
                               : unreadable_);
    return false;
  }
  header_ = header;
  at_commit_ = before;
  unreadable_.clear();
  return true;
}

result<void> scanner::read_frames(window& bytes) {
  std::uint64_t offset = end_;
  while (!moved_) {
    auto front = bytes.at(offset, sizeof(frame_header));
    if (!front) return tl::unexpected(front.error());
    if (front->size() < sizeof(frame_header)) break;
    const auto head = load<frame_header>(*front);
    const std::size_t payload = head.size_flags & frame_size_mask;
    if (payload > frame_payload_max) break;
    auto frame = bytes.at(offset, sizeof head + payload);
    if (!frame) return tl::unexpected(frame.error());
    if (!whole(head, header_.crc, offset, *frame)) break;
    stopped_ = (head.size_flags & frame_seals) == 0 && head.commit > wanted_.until;
    if (stopped_) {
      found_.bytes += end_;
      found_.cut_bytes = bytes.size() - end_;
      return {};
    }
    if (!take_frame(head, frame->subspan(sizeof head), offset)) return {};
    offset += frame->size();
    if (!inside_) end_ = offset;
  }
  return judge_end(bytes, offset);
}

// The frame's checksum holds: what does not fit now was never written by this program.
bool scanner::take_frame(const frame_header& head, std::span<const std::byte> payload, std::uint64_t offset) {
  const std::uint32_t flags = head.size_flags & ~frame_size_mask;
  if ((flags & frame_seals) != 0) {
    const bool fits = payload.empty() && !inside_ && (flags & ~(frame_seals | frame_moves)) == 0 &&
                      head.commit == at_commit_ && head.durable == at_commit_;
    if (!fits) damaged(errc::corrupt, where(offset) + " has a seal that does not fit");
    moved_ = (flags & frame_moves) != 0;
    return fits;
  }
  const bool begins = (flags & frame_begins) != 0;
  if ((flags & ~(frame_begins | frame_ends)) != 0 || begins == inside_ || head.commit != at_commit_ + 1 ||
      head.commit == newest_commit || head.durable > at_commit_) {
    damaged(errc::corrupt, where(offset) + " has a frame that does not fit");
    return false;
  }
  if (begins) payload_.clear();
  payload_.insert(payload_.end(), payload.begin(), payload.end());
  inside_ = (flags & frame_ends) == 0;
  if (inside_) return true;
  ++at_commit_;
  if (at_commit_ <= after_ || take_commit()) return true;
  --at_commit_;
  return false;
}

bool scanner::take_commit() {
  if (!decoded_.decode(payload_, at_commit_, header_.time_base)) {
    damaged(errc::corrupt, "commit " + std::to_string(at_commit_) + " has a valid checksum, but is not a transaction");
    return false;
  }
  if (auto done = visit_(decoded_.record()); !done) {
    damaged(done.error().code, "commit " + std::to_string(at_commit_) + " could not be applied: " + done.error().text);
    return false;
  }
  found_.last = at_commit_;
  ++found_.commits;
  return true;
}

result<void> scanner::judge_end(window& bytes, std::uint64_t offset) {
  found_.bytes += end_;
  const auto used = used_end(bytes, offset);
  if (!used) return tl::unexpected(used.error());
  const bool torn = inside_ || *used > offset;  // else there is room ahead, or nothing
  inside_ = false;
  if (!torn) return {};
  unreadable_ = where(offset) + " can not be read";
  if (!is_last_) {
    // The next segment was made when all before it was durable: it says whether anything is missing. The mark that it exists may.
    found_.ignored_bytes += std::max(*used, offset) - end_;
    return {};
  }
  const auto proven = durable_evidence(bytes, offset, *used);
  if (!proven) return tl::unexpected(proven.error());
  if (*proven) {
    damaged(errc::corrupt, unreadable_ + ", but was durable when what follows was written");
  } else {
    found_.cut_bytes = std::max(*used, offset) - end_;
  }
  return {};
}

// The end of what is not zero from there on.
result<std::uint64_t> scanner::used_end(window& bytes, std::uint64_t offset) const {
  std::uint64_t used = offset;
  for (std::uint64_t at = offset; at < bytes.size();) {
    auto part = bytes.at(at, window_bytes);
    if (!part) return tl::unexpected(part.error());
    if (part->empty()) break;
    const auto last = std::find_if(part->rbegin(), part->rend(), [](std::byte b) { return b != std::byte{0}; });
    if (last != part->rend()) used = at + static_cast<std::uint64_t>(part->rend() - last);
    at += part->size();
  }
  return used;
}

// Whether a frame behind `offset` says that the transaction which can not be read there was durable when it was made. Frames may
// begin at any byte; their numbers are looked at first, and what must be summed for those that could be one is bounded: if
// that is not enough (which takes a forger), the answer is yes, since a torn tail does not look like this.
result<bool> scanner::durable_evidence(window& bytes, std::uint64_t offset, std::uint64_t end) {
  std::uint64_t budget = 4 * (end - offset) + (std::uint64_t{64} << 20);
  const commit_number lost = at_commit_ + 1;
  const std::uint64_t most = lost + (end - offset) / sizeof(frame_header);
  for (std::uint64_t at = offset + 1; at < end; ++at) {
    auto part = bytes.at(at, sizeof(frame_header));
    if (!part) return tl::unexpected(part.error());
    if (part->size() < sizeof(frame_header)) return false;
    const auto head = load<frame_header>(*part);
    const std::size_t payload = head.size_flags & frame_size_mask;
    if (head.durable < lost || head.commit < head.durable || head.commit > most || payload > frame_payload_max)
      continue;
    auto frame = bytes.at(at, sizeof head + payload);
    if (!frame) return tl::unexpected(frame.error());
    if (budget < frame->size()) return true;
    budget -= frame->size();
    if (whole(head, header_.crc, at, *frame)) return true;
  }
  return false;
}

}  // namespace

std::string segment_name(std::uint64_t index) {
  const std::string digits = std::to_string(index);
  return std::string(digits.size() < 10 ? 10 - digits.size() : 0, '0') + digits + ".wal";
}

std::optional<std::uint64_t> numbered_name(std::string_view name, std::string_view before,
                                           std::string_view after) noexcept {
  if (name.size() < before.size() + after.size() + 10 || !name.starts_with(before) || !name.ends_with(after)) return {};
  const std::string_view digits = name.substr(before.size(), name.size() - before.size() - after.size());
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (failed != std::errc{} || end != digits.data() + digits.size() || number == 0) return {};
  return digits.size() == 10 || digits.front() != '0' ? std::optional(number) : std::nullopt;
}

result<log_scan> scan_log(disk& on, const std::string& directory, const wanted_log& wanted,
                          const commit_visitor& visit) {
  return scanner(on, directory, wanted, visit).scan();
}

}  // namespace rhizome
