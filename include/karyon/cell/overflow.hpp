#pragma once

#include <cstdint>

namespace karyon {

/// What becomes of signals where a bounded mailbox has no place left, as the receiving class declares it:
///
///     class ticker : public karyon::cell {
///     public:
///       using accepts = karyon::signals<price, order>;
///       static constexpr std::size_t mailbox_limit = 1000;
///       static constexpr karyon::overflow mailbox_overflow = karyon::overflow::conflate;
///       static auto conflation_key(const price& p) noexcept { return p.symbol; }  // prices only
///
/// Whatever is dropped is counted by cause (runtime_metrics), and a dropped question is answered at once with `mailbox_full`.
/// The runtime's own signals (exits, links, answers) are never dropped and need no place.
enum class overflow : std::uint8_t {
  /// The sender is told `full`. The default.
  refuse,
  /// The new signal is dropped; the sender is told `dropped`.
  drop_newest,
  /// The new signal is accepted, and the oldest ones that wait are dropped: before each signal that it handles the cell looks
  /// what has arrived, and keeps the newest `mailbox_limit`. Up to three times as many lie in memory while it is in a handler; a
  /// sender that finds so many drops the oldest of them itself, once for `mailbox_limit` sends. A sender that finds another at
  /// that is told `full`.
  drop_oldest,
  /// As drop_oldest, but of signals whose type and `conflation_key` are equal only the newest value waits, in the place of
  /// the oldest of them: so a value that changes all the time has its turn, and may be seen before what its sender sent
  /// earlier. Some 100 ns a signal that has a key.
  conflate,
};

/// The name; never null.
[[nodiscard]] constexpr const char* to_string(overflow o) noexcept {
  switch (o) {
    case overflow::refuse: return "refuse";
    case overflow::drop_newest: return "drop_newest";
    case overflow::drop_oldest: return "drop_oldest";
    case overflow::conflate: return "conflate";
  }
  return "unknown";
}

}  // namespace karyon
