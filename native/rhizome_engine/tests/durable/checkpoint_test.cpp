// SPDX-License-Identifier: Apache-2.0
#include "durable/checkpoint.hpp"

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "histories.hpp"
#include "memory_disk.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

constexpr image_section numbers{7, 4};
constexpr image_section letters{9, 1};
constexpr image_section nothing{3, 16};

std::vector<std::uint32_t> some_numbers(std::size_t count) {
  std::vector<std::uint32_t> all(count);
  std::iota(all.begin(), all.end(), 5U);
  return all;
}

result<std::uint64_t> write_one(disk& on, const std::string& directory, commit_number commit, std::size_t count) {
  auto made = checkpoint_writer::create(on, directory, some_store, commit);
  if (!made) return tl::unexpected(made.error());
  const auto all = some_numbers(count);
  const auto bytes = std::as_bytes(std::span(all));
  if (auto done = (*made)->begin(numbers); !done) return tl::unexpected(done.error());
  if (auto done = (*made)->write(bytes.first(bytes.size() / 3)); !done) return tl::unexpected(done.error());
  if (auto done = (*made)->write(bytes.subspan(bytes.size() / 3)); !done) return tl::unexpected(done.error());
  if (auto done = (*made)->begin(nothing); !done) return tl::unexpected(done.error());
  if (auto done = (*made)->begin(letters); !done) return tl::unexpected(done.error());
  if (auto done = (*made)->write(std::as_bytes(std::span("hello", 5))); !done) return tl::unexpected(done.error());
  return (*made)->finish(12);
}

void check_content(const mapped_checkpoint& opened, std::size_t count) {
  const auto bytes = opened.section(numbers);
  const auto all = some_numbers(count);
  REQUIRE(bytes.size() == count * 4);
  CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % checkpoint_page == 0);
  CHECK(std::memcmp(bytes.data(), all.data(), bytes.size()) == 0);
  CHECK(opened.section(letters).size() == 5);
  CHECK(opened.section(nothing).empty());
  CHECK(opened.section({7, 8}).empty());  // entries of another size
  CHECK(opened.section({8, 4}).empty());
}

}  // namespace

TEST_CASE("an image comes back from a checkpoint, in place and writable without changing the file") {
  const karyon::tests::temporary_tree tree;
  disk& on = disk::system();
  const std::size_t count = 700'000;  // more than the writer's buffer
  REQUIRE(write_one(on, tree.path(), 42, count));
  const std::string path = tree.path(checkpoint_name(42));
  auto opened = mapped_checkpoint::open(on, path);
  REQUIRE(opened);
  CHECK((*opened)->commit() == 42);
  CHECK((*opened)->store() == some_store);
  check_content(**opened, count);

  const auto room = std::make_unique<std::byte[]>(count * 4 + 2 * checkpoint_page);
  std::byte* const page = room.get() + checkpoint_page - reinterpret_cast<std::uintptr_t>(room.get()) % checkpoint_page;
  memory_disk memory;
  REQUIRE(write_one(memory, home, 42, 900));
  auto remembered = mapped_checkpoint::open(memory, home + '/' + checkpoint_name(42));
  REQUIRE(remembered);
  REQUIRE((*remembered)->place(numbers, page));
  CHECK(std::memcmp(page, some_numbers(900).data(), 3'600) == 0);
  CHECK(page[3'600] == std::byte{0});
  const auto missing = (*remembered)->place({8, 4}, page);
  REQUIRE(!missing);
  CHECK(missing.error().code == errc::not_found);

  const auto kept = (*opened)->keep_alive();
  const auto bytes = (*opened)->section(letters);
  opened->reset();
  CHECK(bytes[4] == static_cast<std::byte>('o'));
}

TEST_CASE("each changed bit of a checkpoint is found") {
  memory_disk disk;
  REQUIRE(write_one(disk, home, 5, 1'500));
  const std::string path = home + '/' + checkpoint_name(5);
  auto& bytes = disk.content(path);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const auto bit = static_cast<std::byte>(1U << (at % 8));
    bytes[at] ^= bit;
    const auto opened = mapped_checkpoint::open(disk, path);
    INFO("byte " << at);
    REQUIRE(!opened);
    REQUIRE(opened.error().code == errc::corrupt);
    bytes[at] ^= bit;
  }
}

TEST_CASE("a checkpoint that ends early or late is refused") {
  memory_disk disk;
  REQUIRE(write_one(disk, home, 5, 1'500));
  const std::string path = home + '/' + checkpoint_name(5);
  const auto whole = disk.content(path);
  for (std::size_t size = 0; size < whole.size() + 5'000; size += 97) {
    disk.content(path).resize(size);
    INFO("size " << size);
    const auto opened = mapped_checkpoint::open(disk, path);
    REQUIRE(!opened);
    REQUIRE(opened.error().code == errc::corrupt);
    disk.content(path) = whole;
  }
}

TEST_CASE("a checkpoint whose checksums hold is refused when its table can not be") {
  memory_disk disk;
  REQUIRE(write_one(disk, home, 5, 1'500));
  const std::string path = home + '/' + checkpoint_name(5);
  auto& bytes = disk.content(path);
  const auto whole = bytes;
  std::mt19937_64 random(1);
  for (int i = 0; i < 3'000; ++i) {
    checkpoint_header header;
    std::memcpy(&header, bytes.data(), sizeof header);
    auto* const table = bytes.data() + header.table_offset;
    // Any field becomes any number; what stays the same says so below.
    if (random() % 2 == 0) {
      const std::uint64_t number = random() >> (random() % 64);
      std::memcpy(table + 4 * (random() % 24), &number, random() % 2 == 0 ? 4 : 8);
    } else {
      const std::uint64_t number = random() >> (random() % 64);
      std::memcpy(reinterpret_cast<std::byte*>(&header) + 48 + 4 * (random() % 6), &number, 4);
    }
    const bool same_header = std::memcmp(&header, whole.data(), sizeof header - 4) == 0;
    if (header.table_offset <= bytes.size()) {
      header.table_crc = crc32c(0, bytes.data() + header.table_offset, bytes.size() - header.table_offset);
    }
    header.crc = crc32c(0, &header, sizeof header - 4);
    std::memcpy(bytes.data(), &header, sizeof header);
    const auto opened = mapped_checkpoint::open(disk, path);
    if (opened) {  // ids and sizes of entries are the reader's to judge
      for (const image_section wanted : {numbers, letters, nothing}) {
        const auto section = (*opened)->section(wanted);
        CHECK(section.size() <= bytes.size());
        CHECK(std::accumulate(section.begin(), section.end(), 0U, [](unsigned sum, std::byte b) {
                return sum + static_cast<unsigned>(b);
              }) < 255U * bytes.size());
      }
    } else {
      CHECK((opened.error().code == errc::corrupt || opened.error().code == errc::wrong_version));
    }
    if (same_header && bytes == whole) CHECK(opened);
    bytes = whole;
  }
}

TEST_CASE("a checkpoint that fails at any point leaves those before it alone, and is told as what it was") {
  for (const auto& [number, code] : {std::pair{ENOSPC, errc::no_space}, std::pair{EIO, errc::io}}) {
    for (std::uint64_t change = 1;; ++change) {
      memory_disk disk;
      REQUIRE(write_one(disk, home, 5, 1'500));
      disk.fail_at(change, number);
      const auto done = write_one(disk, home, 6, 300'000);
      const bool reached = disk.changes() >= change;
      disk.fail_at(0, 0);
      INFO("change " << change);
      REQUIRE(mapped_checkpoint::open(disk, home + '/' + checkpoint_name(5)));
      if (!reached) {
        REQUIRE(done);
        REQUIRE(change > 5);
        break;
      }
      REQUIRE(!done);
      REQUIRE(done.error().code == code);
      for (const std::string& name : disk.files()) REQUIRE(!name.ends_with(unfinished_suffix));
    }
  }
}

TEST_CASE("a checkpoint is there after a loss of power once it was finished") {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    memory_disk disk;
    REQUIRE(write_one(disk, home, 5, 1'500));
    disk.fail_at(1 + random() % 12, EIO, true);
    const auto done = write_one(disk, home, 6, 300'000);
    disk.lose_power(random);
    INFO("seed " << seed);
    REQUIRE(mapped_checkpoint::open(disk, home + '/' + checkpoint_name(5)));
    const auto files = disk.files();
    const bool there = std::find(files.begin(), files.end(), home + '/' + checkpoint_name(6)) != files.end();
    if (done) REQUIRE(there);
    if (there) REQUIRE(mapped_checkpoint::open(disk, home + '/' + checkpoint_name(6)));  // whole, or not there
  }
}

TEST_CASE("a section is begun once, and ends with a whole entry") {
  memory_disk disk;
  auto made = checkpoint_writer::create(disk, home, some_store, 5);
  REQUIRE(made);
  CHECK(!(*made)->write(std::as_bytes(std::span("x", 1))));
  made = checkpoint_writer::create(disk, home, some_store, 6);
  REQUIRE((*made)->begin(numbers));
  CHECK(!(*made)->begin(numbers));
  made = checkpoint_writer::create(disk, home, some_store, 7);
  REQUIRE((*made)->begin(numbers));
  REQUIRE((*made)->write(std::as_bytes(std::span("xyz", 3))));
  const auto done = (*made)->finish(1);
  REQUIRE(!done);
  CHECK(done.error().code == errc::invalid_argument);
  made->reset();
  CHECK(disk.files().empty());
}
