#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <karyon/core/export.hpp>

namespace karyon {

/// Why a cell terminated: Erlang's exit reasons as a small value.
///
/// Eight bytes; copying one that carries no text is free, copying one with text shares it (an atomic count). Thread-safe
/// to copy and read from any thread as any value is.
class KARYON_API exit_reason {
public:
  enum class kind : std::uint8_t {
    normal,        ///< The cell was done.
    shutdown,      ///< Its supervisor or host asked it to stop.
    killed,        ///< It was terminated without being asked; can not be trapped.
    error,         ///< An exception left a handler; `type` and `text` say which.
    memory_limit,  ///< It went over its memory quota.
    no_cell,       ///< A link or monitor to something that was already gone.
    start_failed,  ///< Its constructor or start hook threw.
    node_down,     ///< The link to its node is lost: `type` is "died", "unreachable", "refused" or "closed".
  };

  exit_reason() noexcept = default;                                        ///< normal
  exit_reason(kind k) noexcept : bits_(static_cast<std::uintptr_t>(k)) {}  // NOLINT: a kind is a reason
  /// A reason with the type and text of what was thrown, or the words of whoever asks for the exit.
  exit_reason(kind k, std::string type, std::string text);
  exit_reason(const exit_reason& other) noexcept : bits_(other.bits_) {
    if (has_details()) acquire();
  }
  exit_reason(exit_reason&& other) noexcept : bits_(std::exchange(other.bits_, 0)) {}
  exit_reason& operator=(const exit_reason& other) noexcept { return *this = exit_reason(other); }
  exit_reason& operator=(exit_reason&& other) noexcept {
    std::swap(bits_, other.bits_);
    return *this;
  }
  ~exit_reason() {
    if (has_details()) release();
  }

  static exit_reason normal() noexcept { return {}; }
  static exit_reason shutdown() noexcept { return kind::shutdown; }
  /// OTP's {shutdown, Reason}: expected all the same.
  static exit_reason shutdown(std::string text) { return {kind::shutdown, {}, std::move(text)}; }
  static exit_reason killed() noexcept { return kind::killed; }
  static exit_reason error(std::string type, std::string text) {
    return {kind::error, std::move(type), std::move(text)};
  }

  [[nodiscard]] kind why() const noexcept;
  /// The type of the exception ("std::runtime_error"); empty where there is none.
  [[nodiscard]] std::string_view type() const noexcept;
  /// Its what(), or the value of a thrown number or string; empty where there is none.
  [[nodiscard]] std::string_view text() const noexcept;
  /// Whether a transient child that ends this way is left ended: normal, and shutdown with or without words.
  [[nodiscard]] bool is_expected() const noexcept { return why() == kind::normal || why() == kind::shutdown; }

  /// Same kind, type and text.
  friend KARYON_API bool operator==(const exit_reason& a, const exit_reason& b) noexcept;

private:
  struct details;
  static constexpr std::uintptr_t kinds_end = 16;
  [[nodiscard]] bool has_details() const noexcept { return bits_ >= kinds_end; }
  [[nodiscard]] details* get() const noexcept;
  void acquire() const noexcept;
  void release() noexcept;

  // A kind below 16, or the address of a counted block (which has the kind).
  std::uintptr_t bits_ = 0;
};

/// "normal", or "error: std::runtime_error: no such file".
[[nodiscard]] KARYON_API std::string to_string(const exit_reason& r);
[[nodiscard]] KARYON_API const char* to_string(exit_reason::kind k) noexcept;

}  // namespace karyon
