// SPDX-License-Identifier: Apache-2.0
#include "durable/encoding.hpp"

#include <limits>
#include <string>

namespace rhizome {
namespace {

// The first byte of a change: its kind below, what follows above.
constexpr std::uint8_t kind_mask = 0x0F;
constexpr std::uint8_t has_label = 0x10;    // else the label of the change before
constexpr std::uint8_t same_source = 0x20;  // the source of the change before
constexpr std::uint8_t has_valid = 0x40;    // else true always
constexpr std::uint8_t unused = 0x80;
constexpr std::uint8_t part_head =
    10;  // no change: a part of the transaction in another shard; after the last change_kind
static_assert(part_head > static_cast<std::uint8_t>(change_kind::name_property));

// Before a valid interval: which of its ends follow.
constexpr std::uint8_t has_from = 1;
constexpr std::uint8_t has_to = 2;

enum value_tag : std::uint8_t { no_value = 0, integer = 1, real = 2, text = 3 };

// What a kind of change carries.
struct shape {
  bool known, source, target, arc_label, key, valid;
};
constexpr shape shape_of(change_kind kind) noexcept {
  switch (kind) {
    case change_kind::add_vertex:
    case change_kind::remove_vertex: return {true, true, false, false, false, false};
    case change_kind::add_arc: return {true, true, true, true, false, true};
    case change_kind::remove_arc: return {true, true, true, true, false, false};
    case change_kind::set_valid: return {true, true, true, true, false, true};
    case change_kind::set_vertex_property: return {true, true, false, false, true, true};
    case change_kind::set_arc_property: return {true, true, true, true, true, true};
    case change_kind::name_label: return {true, false, false, true, false, false};
    case change_kind::name_property: return {true, false, false, false, true, false};
  }
  return {};
}

std::byte* put_byte(std::byte* at, std::uint8_t number) noexcept {
  *at = static_cast<std::byte>(number);
  return at + 1;
}

std::byte* put_time(std::byte* at, time_us time, time_us base) noexcept {
  return put_varint(at, zigzag(static_cast<std::uint64_t>(time) - static_cast<std::uint64_t>(base)));
}
time_us take_time(byte_reader& from, time_us base) noexcept {
  return static_cast<time_us>(static_cast<std::uint64_t>(base) + unzigzag(from.varint()));
}

std::byte* put_valid(std::byte* at, const interval& valid, time_us base) noexcept {
  const bool from = valid.from != beginning_of_time;
  const bool to = valid.to != end_of_time;
  at = put_byte(at, static_cast<std::uint8_t>((from ? has_from : 0) | (to ? has_to : 0)));
  if (from) at = put_time(at, valid.from, base);
  if (to) at = put_time(at, valid.to, base);
  return at;
}

std::byte* put_value(std::byte* at, const value& data) noexcept {
  if (const auto* number = std::get_if<std::int64_t>(&data)) {
    return put_varint(put_byte(at, integer), zigzag(static_cast<std::uint64_t>(*number)));
  }
  if (const auto* number = std::get_if<double>(&data)) {
    at = put_byte(at, real);
    std::memcpy(at, number, sizeof *number);
    return at + sizeof *number;
  }
  if (const auto* string = std::get_if<std::string>(&data)) return put_varint(put_byte(at, text), string->size());
  return put_byte(at, no_value);
}

}  // namespace

std::byte* put_change(std::byte* at, change_context& context, const change& made, time_us commit_time) noexcept {
  const shape has = shape_of(made.kind);
  const bool has_data = carries_value(made.kind);
  if (!has.known || (has_data && made.data == nullptr)) return nullptr;
  std::uint8_t head = static_cast<std::uint8_t>(made.kind);
  const bool new_label = has.arc_label && made.arc_label != context.arc_label;
  const bool new_source = has.source && made.source != context.source;
  const bool says_valid = has.valid && !made.valid.always();
  if (new_label) head |= has_label;
  if (has.source && !new_source) head |= same_source;
  if (says_valid) head |= has_valid;
  at = put_byte(at, head);
  if (new_label) at = put_varint(at, context.arc_label = made.arc_label);
  if (has.key) at = put_varint(at, made.key);
  if (new_source) at = put_varint(at, context.source = made.source);
  if (has.target) at = put_varint(at, made.target);
  if (says_valid) at = put_valid(at, made.valid, commit_time);
  if (has_data) at = put_value(at, *made.data);
  return at;
}

std::byte* put_part(std::byte* at, const commit_part& other) noexcept {
  return put_varint(put_varint(put_byte(at, part_head), other.shard), other.number);
}

bool decoded_commit::decode_part(byte_reader& from) {
  from.byte();
  const auto shard = static_cast<std::uint32_t>(from.varint(std::numeric_limits<std::uint32_t>::max()));
  const auto number = static_cast<commit_number>(from.varint(newest_commit - 1));
  others_.push_back({shard, number});
  return from.ok() && number > 0;
}

bool decoded_commit::decode_value(byte_reader& from, change& into) {
  switch (from.byte()) {
    case no_value: into.data = &values_.emplace_back(); break;
    case integer: into.data = &values_.emplace_back(static_cast<std::int64_t>(unzigzag(from.varint()))); break;
    case real: {
      const auto bytes = from.bytes(sizeof(double));
      if (!from.ok()) return false;
      double number = 0;
      std::memcpy(&number, bytes.data(), sizeof number);
      into.data = &values_.emplace_back(number);
      break;
    }
    case text: {
      const auto bytes = from.bytes(from.varint());  // refused there when longer than what is left
      into.data = &values_.emplace_back(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
      break;
    }
    default: return false;
  }
  return from.ok();
}

bool decoded_commit::decode_change(byte_reader& from, change_context& context) {
  const std::uint8_t head = from.byte();
  change made;
  made.kind = static_cast<change_kind>(head & kind_mask);
  const shape has = shape_of(made.kind);
  if (!has.known || (head & unused) != 0) return false;
  if ((head & has_label) != 0 && !has.arc_label) return false;
  if ((head & same_source) != 0 && !has.source) return false;
  if ((head & has_valid) != 0 && !has.valid) return false;

  if ((head & has_label) != 0) context.arc_label = static_cast<label>(from.varint(std::numeric_limits<label>::max()));
  if (has.arc_label) made.arc_label = context.arc_label;
  if (has.key) made.key = static_cast<property_key>(from.varint(std::numeric_limits<property_key>::max()));
  if (has.source && (head & same_source) == 0) context.source = static_cast<vertex>(from.varint(no_vertex));
  if (has.source) made.source = context.source;
  if (has.target) made.target = static_cast<vertex>(from.varint(no_vertex));
  if ((head & has_valid) != 0) {
    const std::uint8_t ends = from.byte();
    if (ends > (has_from | has_to)) return false;
    if ((ends & has_from) != 0) made.valid.from = take_time(from, record_.time);
    if ((ends & has_to) != 0) made.valid.to = take_time(from, record_.time);
  }
  if (carries_value(made.kind) && !decode_value(from, made)) return false;
  if (!from.ok()) return false;
  changes_.push_back(made);
  return true;
}

bool decoded_commit::decode(std::span<const std::byte> payload, commit_number number, time_us time_base) {
  changes_.clear();
  others_.clear();
  values_.clear();
  byte_reader from(payload);
  record_.number = number;
  record_.time = take_time(from, time_base);
  const std::uint64_t count = from.varint();
  if (!from.ok() || count > from.left())
    return false;  // each takes a byte at least, so that this bounds what is allocated
  changes_.reserve(static_cast<std::size_t>(count));
  change_context context;
  std::uint64_t i = 0;
  for (; i < count && from.next_is(part_head); ++i) {
    if (!decode_part(from)) return false;
  }
  for (; i < count; ++i) {
    if (!decode_change(from, context)) return false;
  }
  record_.changes = changes_;
  record_.others = others_;
  return from.at_end();
}

}  // namespace rhizome
