#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/cell/exit_reason.hpp>

namespace karyon::testing::detail {

/// Something that happened in a world. The texts are constants of the program.
struct event {
  enum class kind : std::uint8_t { handled, dropped, delayed, ended, ran, timers };
  static constexpr std::uint16_t no_worker = 0xffff;  // in nobody's turn: in the test itself
  kind what = kind::ran;
  std::uint16_t worker = 0;
  std::uint32_t cell = 0;     // its number; 0: none
  std::uint64_t time_ns = 0;  // since the world was made
  std::string_view cell_class;
  std::string_view type;  // the signal's
  exit_reason why;        // ended
};

/// All that happened, as one number, and the last of it (or all) in words.
///
/// The number is FNV-1a over 64-bit words in place of bytes, and of nothing that differs between two runs: no address, no
/// process-wide count.
class trace {
public:
  explicit trace(bool keep_all) : keep_all_(keep_all) {}

  void add(const event& e);
  /// What is not worth an event, but tells one run from another.
  void stir(std::uint64_t word) noexcept { hash_ = (hash_ ^ word) * prime; }

  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// A line for each of the last `most` events that it still has.
  [[nodiscard]] std::vector<std::string> lines(std::size_t most) const;

private:
  static constexpr std::uint64_t prime = 0x100000001b3u;
  static constexpr std::size_t kept = 64;

  /// The texts are few, and each has one address in a process: their hashes are found again by it.
  struct known_text {
    const char* at = nullptr;
    std::size_t size = 0;
    std::uint64_t hash = 0;
  };
  [[nodiscard]] std::uint64_t hash_of(std::string_view text) noexcept;

  std::uint64_t hash_ = 0xcbf29ce484222325u;
  std::uint64_t size_ = 0;
  const bool keep_all_;
  std::vector<event> events_;  // the last `kept`, from size_ % kept on, or all
  std::array<known_text, 256> texts_;
};

/// "1.500000 s", for lines that people read.
[[nodiscard]] std::string seconds_text(std::uint64_t ns);

}  // namespace karyon::testing::detail
