// SPDX-License-Identifier: Apache-2.0
#include "text/structure.hpp"

#include <limits>
#include <string>

#include "text/block.hpp"
#include "text/c_machine.hpp"

namespace rhizome {

/// Room for marks in a scanner's memory, which grows with what a text needs.
class mark_writer {
public:
  explicit mark_writer(structure_scanner& scanner) : scanner_(scanner) {}

  /// Room for a chunk's marks, and for what write_marks scribbles beyond.
  std::uint32_t* room() {
    constexpr std::size_t chunk_marks = chunk_bytes + 2 * block_bytes;
    if (scanner_.capacity_ - size_ < chunk_marks) {
      const auto capacity = scanner_.capacity_ * 2 + chunk_marks;
      auto larger = std::make_unique_for_overwrite<std::uint32_t[]>(capacity);
      std::copy_n(scanner_.marks_.get(), size_, larger.get());
      scanner_.marks_ = std::move(larger);
      scanner_.capacity_ = capacity;
    }
    return scanner_.marks_.get() + size_;
  }
  void wrote_to(const std::uint32_t* end) { size_ = static_cast<std::size_t>(end - scanner_.marks_.get()); }
  [[nodiscard]] structure_scanner::marks marks() const { return {scanner_.marks_.get(), size_}; }

private:
  structure_scanner& scanner_;
  std::size_t size_ = 0;
};

namespace {

/// Hands a text to `chunk(first, blocks, offset)` in chunks of whole blocks, the last one filled up with spaces, each after it
/// was found to be UTF-8. `chunk` returns false to stop.
template <class Chunk>
std::optional<scan_error> for_each_chunk(std::string_view text, utf8_function valid, Chunk chunk) {
  std::size_t checked = 0;
  for (std::size_t at = 0; at < text.size(); at += chunk_bytes) {
    auto end = std::min(text.size(), at + chunk_bytes);
    auto whole = end;  // up to a character's begin, of which at most three bytes may lie before the chunk's end
    for (int i = 0; i < 3 && end < text.size() && whole > checked && (text[whole] & 0xC0) == 0x80; ++i) {
      --whole;
    }
    if (!valid(text.substr(checked, whole - checked))) {
      // The chunk may have been cut where no character begins: what is wrong is said of the whole text.
      const auto fault = checked + utf8_fault(text.substr(checked));
      return scan_error{scan_fault::malformed_utf8, static_cast<std::uint32_t>(fault)};
    }
    checked = whole;
    const auto blocks = (end - at) / block_bytes;
    if (blocks != 0 && !chunk(text.data() + at, blocks, at)) {
      return std::nullopt;
    }
    const auto done = at + blocks * block_bytes;
    if (done < end) {  // only at the text's end
      char rest[block_bytes];
      std::memset(rest, ' ', sizeof rest);
      std::memcpy(rest, text.data() + done, end - done);
      chunk(rest, 1, done);
    }
  }
  return std::nullopt;
}

bool too_long(std::string_view text) { return text.size() > std::numeric_limits<std::uint32_t>::max(); }

}  // namespace

error to_error(const scan_error& refused) {
  const auto at = " at byte " + std::to_string(refused.offset);
  switch (refused.fault) {
    case scan_fault::too_long: return {errc::limit, "the text has 4 GiB or more: scan it in parts"};
    case scan_fault::malformed_utf8: return {errc::corrupt, "the text is not UTF-8" + at};
    case scan_fault::unterminated_string:
      return {errc::corrupt, "a string or character literal has no end: it begins" + at};
    case scan_fault::control_in_string:
      return {errc::corrupt, "a string holds a control character that is not escaped" + at};
    case scan_fault::unterminated_comment: return {errc::corrupt, "a comment has no end: it begins" + at};
  }
  return {errc::corrupt, "the text can not be scanned" + at};
}

bool available(scan_path path) noexcept {
  switch (path) {
    case scan_path::avx2: return has_avx2();
    case scan_path::avx512: return has_avx512();
    default: return true;
  }
}

structure_scanner::structure_scanner(scan_path path) noexcept {
  static constexpr scan_functions portable{json_portable, classify_c_portable, utf8_portable};
  static constexpr scan_functions avx2{json_avx2, classify_c_avx2, utf8_avx2};
  static constexpr scan_functions avx512{json_avx512, classify_c_avx512, utf8_avx2};
  const bool widest = path == scan_path::automatic || path == scan_path::avx512;
  functions_ = widest && has_avx512() ? &avx512 : path != scan_path::portable && has_avx2() ? &avx2 : &portable;
}

tl::expected<structure_scanner::marks, scan_error> structure_scanner::json(std::string_view text) {
  if (too_long(text)) {
    return tl::unexpected(scan_error{scan_fault::too_long, 0});
  }
  mark_writer writer(*this);
  json_state state;
  const auto scan = functions_->json;
  const auto refused =
      for_each_chunk(text, functions_->utf8, [&](const char* first, std::size_t blocks, std::size_t offset) {
        writer.wrote_to(scan(first, blocks, static_cast<std::uint32_t>(offset), state, writer.room()));
        return state.control == ~std::uint64_t{0};
      });
  if (refused) {
    return tl::unexpected(*refused);
  }
  if (state.control < text.size()) {
    return tl::unexpected(scan_error{scan_fault::control_in_string, static_cast<std::uint32_t>(state.control)});
  }
  if (state.in_string != 0) {  // nothing in a string is marked, so its opening quote is the last mark
    return tl::unexpected(scan_error{scan_fault::unterminated_string, writer.marks().back()});
  }
  return writer.marks();
}

tl::expected<structure_scanner::marks, scan_error> structure_scanner::c(std::string_view text, c_scan_options options) {
  if (too_long(text)) {
    return tl::unexpected(scan_error{scan_fault::too_long, 0});
  }
  constexpr std::size_t batch = 32;  // their masks take half as much of the first cache as a chunk
  c_masks masks[batch];
  mark_writer writer(*this);
  c_machine machine(text, options);
  const auto classify = functions_->classify_c;
  const auto refused =
      for_each_chunk(text, functions_->utf8, [&](const char* first, std::size_t blocks, std::size_t offset) {
        auto* out = writer.room();
        for (std::size_t done = 0; done < blocks; done += batch) {
          const auto count = std::min(batch, blocks - done);
          classify(first + done * block_bytes, count, masks);
          for (std::size_t i = 0; i < count; ++i) {
            out = machine.step(offset + (done + i) * block_bytes, masks[i], out);
            if (out == nullptr) {
              return false;
            }
          }
        }
        writer.wrote_to(out);
        return true;
      });
  if (refused) {
    return tl::unexpected(*refused);
  }
  if (!machine.fault()) {
    writer.wrote_to(machine.finish(writer.room()));
  }
  if (machine.fault()) {
    return tl::unexpected(*machine.fault());
  }
  return writer.marks();
}

}  // namespace rhizome
