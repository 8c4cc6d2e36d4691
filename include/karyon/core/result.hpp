#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

#include <karyon/core/export.hpp>

namespace karyon {

/// What went wrong, for programs. The sentence for people is in `error::message`.
enum class errc : std::uint8_t {
  invalid_argument = 1,  ///< The call's arguments can never work; change them.
  not_found,             ///< A named thing (file, node, worker) does not exist.
  dead,                  ///< The cell, or the incarnation that a reference names, has terminated.
  restarting,            ///< The child is between two incarnations; try again after its restart.
  mailbox_full,          ///< The receiver's bounded mailbox is full; slow down, then try again.
  no_handler,            ///< The receiver's class declares no handler for this signal type.
  timeout,               ///< No answer within the time given; the answer, if one comes, is dropped and counted.
  cell_failed,           ///< The asked cell ended before it answered, or offloaded work threw; the message says why.
  start_failed,          ///< A constructor or start hook of a cell threw; the message has type and text.
  closed,                ///< The runtime or supervisor is stopping or has stopped.
  would_block,           ///< A blocking call was made within a cell; use the asynchronous form.
  refused,               ///< The system or a policy refused (binding a thread, a limit reached).
  out_of_memory,         ///< Memory could not be had.
  unsupported,           ///< This machine or build lacks the capability.
  system_error,          ///< A system call failed; the message has its name and reason.
  already_started,       ///< A child of this id runs.
  already_present,       ///< A child of this id is kept without a cell: restart it, or delete it first.
  running,               ///< The child runs: end it first.
  no_route,              ///< No such node is known.
  peer_down,     ///< The node is not connected, or the link to it broke before the answer; the message says how.
  no_credit,     ///< The node, or this one, has no room for one more now; slow down, then try again.
  expired,       ///< Its time to live was over before it was sent.
  too_large,     ///< Larger than a frame may be.
  not_declared,  ///< The signal's type may not cross: not declared here, or not the same way there.
};

/// The field's short name of an error code, for logs and JSON; never null.
[[nodiscard]] KARYON_API const char* to_string(errc code) noexcept;

/// An error as a value: a code for programs and a sentence for people.
///
/// A plain value without shared state: copy it, send it in a signal, keep it as long as needed.
class error {
public:
  error(errc code, std::string message) : message_(std::move(message)), code_(code) {}

  [[nodiscard]] errc code() const noexcept { return code_; }
  /// One sentence that says what happened and what to do about it.
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

  friend bool operator==(const error& a, const error& b) noexcept {
    return a.code_ == b.code_ && a.message_ == b.message_;
  }

private:
  std::string message_;
  errc code_;
};

/// `code: message`, as logs print it.
[[nodiscard]] KARYON_API std::string to_string(const error& e);

/// A value of type T, or an `error`. Always tl::expected (never std::expected in one build and not in another,
/// which would break the ABI between the library and its host).
template <class T>
using result = tl::expected<T, error>;

/// Makes the error side of any `result`: `return fail(errc::not_found, "...")`.
[[nodiscard]] inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error(code, std::move(message)));
}

}  // namespace karyon
