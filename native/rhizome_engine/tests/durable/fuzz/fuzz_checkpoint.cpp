// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a checkpoint: as the whole file, or as changes {where, 4 bytes} of a whole one whose checksums are made to hold again, so
// that the store's own checks are reached.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "durable/checkpoint.hpp"
#include "durable/crc32c.hpp"
#include "durable/memory_disk.hpp"
#include "durable/workload.hpp"
#include "store/image.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

constexpr std::uint64_t seed = 5;
constexpr commit_number commits = 12;
const std::string path = home + '/' + checkpoint_name(commits);

memory_disk::bytes whole_checkpoint() {
  memory_disk disk;
  auto graph = store::make(small_store());
  for (commit_number n = 1; n <= commits; ++n) {
    if (!workload_step(*graph, seed, n)) std::abort();
  }
  auto writer = checkpoint_writer::create(disk, home, {}, commits);
  if (!writer || !save(*graph->now(), **writer) || !(*writer)->finish(0)) std::abort();
  return disk.content(path);
}

void apply_changes(memory_disk::bytes& bytes, const std::uint8_t* data, std::size_t size) {
  checkpoint_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (; size >= 7; data += 7, size -= 7) {
    std::uint32_t at = 0;
    std::memcpy(&at, data, 3);
    at %= static_cast<std::uint32_t>(bytes.size() - 4);
    if (at >= checkpoint_page) std::memcpy(bytes.data() + at, data + 3, 4);
  }
  for (std::uint32_t i = 0; i < header.sections; ++i) {
    checkpoint_entry entry;
    std::byte* const at = bytes.data() + header.table_offset + i * sizeof entry;
    std::memcpy(&entry, at, sizeof entry);
    if (entry.offset > header.table_offset || entry.bytes > header.table_offset - entry.offset) continue;
    const std::size_t pages = (entry.bytes + checkpoint_page - 1) / checkpoint_page * checkpoint_page;
    if (pages > bytes.size() - entry.offset) continue;
    entry.crc = crc32c(0, bytes.data() + entry.offset, pages);
    std::memcpy(at, &entry, sizeof entry);
  }
  header.table_crc = crc32c(0, bytes.data() + header.table_offset, bytes.size() - header.table_offset);
  header.crc = crc32c(0, &header, sizeof header - sizeof header.crc);
  std::memcpy(bytes.data(), &header, sizeof header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {  // NOLINT(readability-identifier-naming)
  static const memory_disk::bytes whole = whole_checkpoint();
  if (size == 0) return 0;
  memory_disk disk;
  disk.open(path, disk::mode::create);
  auto& bytes = disk.content(path);
  if (data[0] % 2 == 0) {
    const auto* const from = reinterpret_cast<const std::byte*>(data + 1);
    bytes.assign(from, from + size - 1);
  } else {
    bytes = whole;
    apply_changes(bytes, data + 1, size - 1);
  }
  const auto mapped = mapped_checkpoint::open(disk, path);
  if (!mapped) return 0;
  auto graph = load(**mapped, small_store());
  if (!graph) return 0;
  // What is not refused is a graph: it can be read and changed.
  static_cast<void>(dump(*graph->now()));
  for (commit_number n = commits + 1; n <= commits + 3; ++n) static_cast<void>(workload_step(*graph, seed, n));
  static_cast<void>(graph->compact(1 << 20));
  static_cast<void>(dump(*graph->now()));
  return 0;
}
