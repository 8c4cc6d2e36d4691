// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <vector>

#include "base/change.hpp"

// How a transaction becomes bytes and again a transaction. The table is in docs/internals/rhizome-wal-format.md.
namespace rhizome {

/// The number in a form whose small magnitudes are small: 0, -1, 1, -2 become 0, 1, 2, 3.
[[nodiscard]] constexpr std::uint64_t zigzag(std::uint64_t two_s_complement) noexcept {
  return (two_s_complement << 1) ^ (std::uint64_t{0} - (two_s_complement >> 63));
}
[[nodiscard]] constexpr std::uint64_t unzigzag(std::uint64_t coded) noexcept {
  return (coded >> 1) ^ (std::uint64_t{0} - (coded & 1));
}

/// Seven bits a byte, the lowest first, the top bit set on all bytes but the last: 1 to 10 bytes. Returns the end.
inline std::byte* put_varint(std::byte* at, std::uint64_t number) noexcept {
  for (; number >= 0x80; number >>= 7) *at++ = static_cast<std::byte>(number | 0x80);
  *at++ = static_cast<std::byte>(number);
  return at;
}

/// Takes numbers off the front of bytes that may be anything. After the first that is not there, `ok` is false and all else is 0.
class byte_reader {
public:
  explicit byte_reader(std::span<const std::byte> bytes) noexcept
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool at_end() const noexcept { return at_ == end_; }
  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }

  [[nodiscard]] bool next_is(std::uint8_t byte) const noexcept {
    return at_ != end_ && static_cast<std::uint8_t>(*at_) == byte;
  }
  std::uint8_t byte() noexcept {
    if (at_ == end_) return refuse();
    return static_cast<std::uint8_t>(*at_++);
  }
  /// A varint of at most `most`.
  std::uint64_t varint(std::uint64_t most = ~std::uint64_t{0}) noexcept {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const auto part = static_cast<std::uint8_t>(*at_++);
      if (shift == 63 && part > 1) return refuse();
      number |= std::uint64_t{part & 0x7FU} << shift;
      if (part < 0x80) return number <= most ? number : refuse();
    }
    return refuse();
  }
  std::span<const std::byte> bytes(std::uint64_t count) noexcept {
    if (count > left()) {
      refuse();
      return {};
    }
    const std::span<const std::byte> taken(at_, static_cast<std::size_t>(count));
    at_ += count;
    return taken;
  }

private:
  std::uint8_t refuse() noexcept {
    ok_ = false;
    at_ = end_;
    return 0;
  }

  const std::byte* at_;
  const std::byte* end_;
  bool ok_ = true;
};

/// What is left out of a change because it is the same as in the change before it; at a transaction's start all are 0.
struct change_context {
  label arc_label = 0;
  vertex source = 0;
};

/// No change needs more than this without the bytes of its string.
inline constexpr std::size_t change_bytes_max = 64;

[[nodiscard]] constexpr bool carries_value(change_kind kind) noexcept {
  return kind == change_kind::set_vertex_property || kind == change_kind::set_arc_property ||
         kind == change_kind::name_label || kind == change_kind::name_property;
}

/// Writes a change but for the bytes of its string, which follow it. Returns the end, at most change_bytes_max on; nullptr when the
/// change lacks the value that its kind carries, or is of no kind.
[[nodiscard]] std::byte* put_change(std::byte* at, change_context& context, const change& made,
                                    time_us commit_time) noexcept;

/// Writes a part that another shard has, before the changes and counted as one of them. Returns the end, at most change_bytes_max on.
[[nodiscard]] std::byte* put_part(std::byte* at, const commit_part& other) noexcept;

/// The string that follows a change's other bytes; nullptr: none does.
[[nodiscard]] inline const std::string* carried_text(const change& made) noexcept {
  return made.data == nullptr || !carries_value(made.kind) ? nullptr : std::get_if<std::string>(made.data);
}

/// A transaction out of the log. The record's spans point into this object.
class decoded_commit {
public:
  /// Reads the payload of one transaction: {time, count, parts and changes}, and nothing after it. False when it is not that.
  [[nodiscard]] bool decode(std::span<const std::byte> payload, commit_number number, time_us time_base);
  [[nodiscard]] const commit_record& record() const noexcept { return record_; }

private:
  [[nodiscard]] bool decode_change(byte_reader& from, change_context& context);
  [[nodiscard]] bool decode_part(byte_reader& from);
  [[nodiscard]] bool decode_value(byte_reader& from, change& into);

  commit_record record_;
  std::vector<change> changes_;
  std::vector<commit_part> others_;
  std::deque<value> values_;  // whose elements stay where they are
};

}  // namespace rhizome
