// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a log. The first byte says how: as a segment's file, or as frames whose checksums are made to hold, so that what is
// behind them is reached too (the payload {flags, length, bytes} again and again).
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "durable/memory_disk.hpp"
#include "durable/wal.hpp"
#include "durable/workload.hpp"

using namespace rhizome;
using namespace rhizome::tests;

namespace {

constexpr store_identity identity{{1}, 2};
const std::string path = home + "/0000000001.wal";

void require(bool holds) {
  if (!holds) std::abort();
}

void put(memory_disk::bytes& to, const void* what, std::size_t count) {
  const auto* const bytes = static_cast<const std::byte*>(what);
  to.insert(to.end(), bytes, bytes + count);
}

memory_disk::bytes framed(const std::uint8_t* data, std::size_t size) {
  memory_disk::bytes out;
  segment_header header;
  header.store = identity.id;
  header.kind = identity.kind;
  header.index = 1;
  header.first = 1;
  header.crc = crc32c(0, &header, sizeof header - sizeof header.crc);
  put(out, &header, sizeof header);
  commit_number commit = 1;
  while (size >= 2) {
    const std::uint8_t flags = data[0];
    const std::size_t count = std::min<std::size_t>(data[1], size - 2);
    frame_header frame;
    frame.size_flags = static_cast<std::uint32_t>(count) | (std::uint32_t{flags} & 0x0FU) << 24;
    if ((flags & 0x0F) == 0) frame.size_flags |= frame_begins | frame_ends;
    frame.commit = commit - ((flags & 0x40) != 0 ? 1 : 0);
    frame.durable = commit - 1;
    const std::size_t at = out.size();
    put(out, &frame, sizeof frame);
    put(out, data + 2, count);
    if ((frame.size_flags & frame_ends) != 0) ++commit;
    frame.crc = frame_crc(header.crc, at, std::span(out).subspan(at));
    if ((flags & 0x80) != 0) frame.crc ^= 1;
    std::memcpy(out.data() + at, &frame, sizeof frame);
    data += 2 + count;
    size -= 2 + count;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {  // NOLINT(readability-identifier-naming)
  if (size == 0) return 0;
  memory_disk disk;
  disk.open(path, disk::mode::create);
  if (data[0] % 2 == 0) {
    put(disk.content(path), data + 1, size - 1);
  } else {
    disk.content(path) = framed(data + 1, size - 1);
  }
  auto graph = store::make(small_store());
  require(graph.has_value());
  const auto scan = scan_log(disk, home, {}, [&](const commit_record& record) { return graph->replay(record); });
  require(scan.has_value());
  require(graph->newest() == scan->last);
  static_cast<void>(dump(*graph->now()));
  if (scan->damage || scan->segments.empty()) return 0;
  // What was read well can be gone on with, and is the same then.
  auto log = wal::resume(disk, home, *scan, {.allocate_bytes = 0});
  require(log.has_value());
  if (scan->last >= newest_commit - 2) return 0;
  require((*log)->append({scan->last + 1, 0, {}}).has_value());
  require((*log)->sync().has_value());
  const auto again = scan_log(disk, home, {}, [](const commit_record&) -> result<void> { return {}; });
  require(again.has_value() && !again->damage && again->last == scan->last + 1 && again->cut_bytes == 0);
  return 0;
}
