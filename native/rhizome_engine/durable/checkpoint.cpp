// SPDX-License-Identifier: Apache-2.0
#include "durable/checkpoint.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "durable/crc32c.hpp"

namespace rhizome {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 20;
static_assert(buffer_bytes % checkpoint_page == 0);

constexpr std::uint64_t to_page(std::uint64_t bytes) noexcept {
  return (bytes + checkpoint_page - 1) / checkpoint_page * checkpoint_page;
}

template <class T>
std::span<const std::byte> bytes_of(const T& thing) noexcept {
  return std::as_bytes(std::span(&thing, 1));
}

}  // namespace

std::string checkpoint_name(commit_number commit) {
  const std::string digits = std::to_string(commit);
  return "checkpoint-" + std::string(10 - digits.size(), '0') + digits + ".rhz";
}

checkpoint_writer::checkpoint_writer(disk& on, const std::string& directory, const store_identity& store,
                                     commit_number commit)
    : disk_(on),
      directory_(directory),
      path_(directory + '/' + checkpoint_name(commit)),
      unfinished_(path_ + std::string(unfinished_suffix)) {
  header_.store = store.id;
  header_.kind = store.kind;
  header_.commit = commit;
  buffer_.reserve(buffer_bytes);
}

result<std::unique_ptr<checkpoint_writer>> checkpoint_writer::create(disk& on, const std::string& directory,
                                                                     const store_identity& store,
                                                                     commit_number commit) {
  std::unique_ptr<checkpoint_writer> made(new checkpoint_writer(on, directory, store, commit));
  if (const int done = on.remove(made->unfinished_); done < 0 && done != -ENOENT) {
    return disk_error("remove", made->unfinished_, -done);
  }
  auto opened = file::open(on, made->unfinished_, disk::mode::create);
  if (!opened) return tl::unexpected(opened.error());
  made->file_ = std::move(*opened);
  return made;
}

checkpoint_writer::~checkpoint_writer() {
  if (finished_ || !file_.is_open()) return;
  file_.close();
  disk_.remove(unfinished_);  // best effort: the next open removes it too
}

template <class T>
result<T> checkpoint_writer::keep(result<T> done) {
  if (!done) failed_ = done.error();
  return done;
}

result<void> checkpoint_writer::begin(image_section section) {
  if (auto done = end_section(); !done) return done;
  const auto same = [&](const checkpoint_entry& other) { return other.id == section.id; };
  if (section.entry_bytes == 0 || std::any_of(table_.begin(), table_.end(), same)) {
    return keep<void>(fail(errc::invalid_argument, "section " + std::to_string(section.id) + " can not be begun"));
  }
  checkpoint_entry& entry = table_.emplace_back();
  entry.id = section.id;
  entry.entry_bytes = section.entry_bytes;
  entry.offset = offset_ + buffer_.size();
  crc_ = 0;
  return {};
}

result<void> checkpoint_writer::write(std::span<const std::byte> slice) {
  if (table_.empty()) return keep<void>(fail(errc::invalid_argument, "no section was begun"));
  table_.back().bytes += slice.size();
  return put(slice);
}

result<void> checkpoint_writer::put(std::span<const std::byte> bytes) {
  if (failed_) return tl::unexpected(*failed_);
  crc_ = crc32c(crc_, bytes.data(), bytes.size());
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), buffer_bytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(part));
    bytes = bytes.subspan(part);
    if (buffer_.size() < buffer_bytes) break;
    if (auto done = flush(); !done) return done;
  }
  return {};
}

result<void> checkpoint_writer::put_zeros() {
  static constexpr std::array<std::byte, checkpoint_page> zeros{};
  const std::uint64_t end = offset_ + buffer_.size();
  return put(std::span(zeros).first(static_cast<std::size_t>(to_page(end) - end)));
}

result<void> checkpoint_writer::flush() {
  if (auto done = keep(file_.write(offset_, buffer_)); !done) return done;
  offset_ += buffer_.size();
  buffer_.clear();
  return {};
}

result<void> checkpoint_writer::end_section() {
  if (failed_) return tl::unexpected(*failed_);
  if (table_.empty()) return {};
  if (table_.back().bytes % table_.back().entry_bytes != 0) {
    return keep<void>(
        fail(errc::invalid_argument, "section " + std::to_string(table_.back().id) + " ends within an entry"));
  }
  auto done = put_zeros();
  table_.back().crc = crc_;
  return done;
}

result<std::uint64_t> checkpoint_writer::finish(time_us now) {
  if (auto done = end_section(); !done) return tl::unexpected(done.error());
  header_.written = now;
  header_.sections = static_cast<std::uint32_t>(table_.size());
  header_.table_offset = offset_ + buffer_.size();
  crc_ = 0;
  if (auto done = put(std::as_bytes(std::span(table_))); !done) return tl::unexpected(done.error());
  if (auto done = put_zeros(); !done) return tl::unexpected(done.error());
  if (auto done = flush(); !done) return tl::unexpected(done.error());
  header_.table_crc = crc_;
  header_.file_bytes = offset_;
  header_.crc = crc32c(0, &header_, sizeof header_ - sizeof header_.crc);
  if (auto done = keep(file_.write(0, bytes_of(header_))); !done) return tl::unexpected(done.error());
  if (auto done = keep(file_.sync()); !done) return tl::unexpected(done.error());
  if (const int done = disk_.rename(unfinished_, path_); done < 0) {
    return keep<std::uint64_t>(disk_error("rename", unfinished_, -done));
  }
  finished_ = true;
  file_.close();
  if (auto done = keep(sync_directory(disk_, directory_)); !done) return tl::unexpected(done.error());
  return header_.file_bytes;
}

result<std::unique_ptr<mapped_checkpoint>> mapped_checkpoint::open(disk& on, const std::string& path) {
  auto opened = file::open(on, path, disk::mode::read);
  if (!opened) return tl::unexpected(opened.error());
  const auto size = opened->size();
  if (!size) return tl::unexpected(size.error());
  if (*size < checkpoint_page) return fail(errc::corrupt, path + " is shorter than a header");
  auto mapped = opened->map(*size);
  if (!mapped) return tl::unexpected(mapped.error());
  std::unique_ptr<mapped_checkpoint> made(new mapped_checkpoint(std::move(*opened), std::move(*mapped)));
  if (auto done = made->check(*size); !done) return tl::unexpected(done.error());
  return made;
}

tl::unexpected<error> mapped_checkpoint::corrupt(std::string_view what) const {
  return fail(errc::corrupt, file_.path() + " is damaged: " + std::string(what));
}

result<void> mapped_checkpoint::check(std::uint64_t size) const {
  const checkpoint_header& head = header();
  if (head.magic != checkpoint_header{}.magic || head.crc != crc32c(0, &head, sizeof head - sizeof head.crc)) {
    return corrupt("it has no valid header");
  }
  if (head.version != checkpoint_version || head.bytes != checkpoint_page) {
    return fail(errc::wrong_version, file_.path() + " has format " + std::to_string(head.version) + ", not " +
                                         std::to_string(checkpoint_version));
  }
  const std::uint64_t table_bytes = std::uint64_t{head.sections} * sizeof(checkpoint_entry);
  if (head.file_bytes != size || size % checkpoint_page != 0 || head.commit == newest_commit) {
    return corrupt("its size is not what it says");
  }
  if (head.table_offset % checkpoint_page != 0 || head.table_offset < checkpoint_page || head.table_offset > size ||
      size - head.table_offset != to_page(table_bytes)) {
    return corrupt("its table is not where it could be");
  }
  if (crc32c(0, at(head.table_offset), size - head.table_offset) != head.table_crc) return corrupt("its table");
  return check_table();
}

result<void> mapped_checkpoint::check_table() const {
  std::uint64_t offset = checkpoint_page;
  std::vector<std::uint32_t> ids;
  for (const checkpoint_entry& entry : table()) {
    const std::string name = "section " + std::to_string(entry.id);
    // What is before the table is exactly the sections, one after the other.
    if (entry.offset != offset || entry.bytes > header().table_offset - offset ||
        to_page(entry.bytes) > header().table_offset - offset || entry.entry_bytes == 0 ||
        entry.bytes % entry.entry_bytes != 0 || entry.zero != 0) {
      return corrupt(name + " is not where it could be");
    }
    if (crc32c(0, at(offset), to_page(entry.bytes)) != entry.crc) return corrupt(name);
    // A store that grows into the last page of a placed section counts on them.
    const std::byte* const end = at(offset + to_page(entry.bytes));
    if (std::any_of(at(offset + entry.bytes), end, [](std::byte b) { return b != std::byte{0}; })) {
      return corrupt(name + " is not followed by zeros");
    }
    offset += to_page(entry.bytes);
    ids.push_back(entry.id);
  }
  if (offset != header().table_offset) return corrupt("there is more in it than its table says");
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) return corrupt("it has a section twice");
  return {};
}

const checkpoint_entry* mapped_checkpoint::find(image_section wanted) const noexcept {
  const auto all = table();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.id == wanted.id; });
  return found != all.end() && found->entry_bytes == wanted.entry_bytes ? &*found : nullptr;
}

std::span<const std::byte> mapped_checkpoint::section(image_section wanted) const noexcept {
  const checkpoint_entry* const entry = find(wanted);
  if (entry == nullptr) return {};
  return {at(entry->offset), static_cast<std::size_t>(entry->bytes)};
}

result<void> mapped_checkpoint::place(image_section wanted, void* at) const {
  const checkpoint_entry* const entry = find(wanted);
  if (entry == nullptr || entry->bytes == 0) {
    return fail(errc::not_found, file_.path() + " has no section " + std::to_string(wanted.id));
  }
  return file_.place(entry->offset, to_page(entry->bytes), at);
}

}  // namespace rhizome
