#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>

#include <karyon/cell/ref.hpp>
#include <karyon/core/export.hpp>

namespace karyon::detail {

struct class_info;

/// Where the fields of a signal are written, one behind the other. It knows the format, the fields (codec.hpp) do not. What does
/// not fit is remembered; whoever began looks at the end.
class KARYON_API wire_writer {
public:
  wire_writer() = default;
  wire_writer(const wire_writer&) = delete;
  wire_writer& operator=(const wire_writer&) = delete;

  virtual void boolean(bool v) = 0;
  virtual void integer(std::int64_t v) = 0;
  virtual void natural(std::uint64_t v) = 0;
  virtual void single(float v) = 0;
  virtual void real(double v) = 0;
  virtual void text(std::string_view v) = 0;
  virtual void blob(std::span<const std::byte> v) = 0;
  /// A whole value as it lies in memory; nothing else is written then.
  virtual void raw(const void* from, std::size_t bytes) = 0;
  /// A handle, from which the cell is exported; `role`: of a child.
  virtual void cell(const address& at, bool role) = 0;

protected:
  ~wire_writer() = default;
};

/// Gives the fields again, in the same order. Each function is false if that is not what comes next, or if a limit is exceeded; the
/// reason is kept, and all further ones are false too. Nothing is allocated for what has not been found to be there.
class KARYON_API wire_reader {
public:
  wire_reader() = default;
  wire_reader(const wire_reader&) = delete;
  wire_reader& operator=(const wire_reader&) = delete;

  [[nodiscard]] virtual bool boolean(bool& v) = 0;
  [[nodiscard]] virtual bool integer(std::int64_t& v) = 0;
  [[nodiscard]] virtual bool natural(std::uint64_t& v) = 0;
  [[nodiscard]] virtual bool single(float& v) = 0;
  [[nodiscard]] virtual bool real(double& v) = 0;
  /// The view is good as long as the frame.
  [[nodiscard]] virtual bool text(std::string_view& v) = 0;
  [[nodiscard]] virtual bool blob(std::span<const std::byte>& v) = 0;
  [[nodiscard]] virtual bool raw(void* to, std::size_t bytes) = 0;
  /// A handle to a cell of class `expected` (null: any), as a role if `role`. One that has come home, but to a cell of another
  /// class, is refused: its signals would be handled by the wrong functions.
  [[nodiscard]] virtual bool cell(address& at, bool& role, const class_info* expected) = 0;
  /// A list is to be made of `count` elements that take `bytes_each` in memory and at least `least` values each in the frame.
  [[nodiscard]] virtual bool begin_list(std::uint64_t count, std::size_t bytes_each, std::size_t least) = 0;
  /// Values within values: false where they are too deep.
  [[nodiscard]] virtual bool enter() = 0;
  virtual void leave() noexcept = 0;
  /// What came is of the right kind, but no value of the type. Always false.
  virtual bool out_of_range() noexcept = 0;
  /// Whether all was read and nothing was wrong.
  [[nodiscard]] virtual bool complete() noexcept = 0;

protected:
  ~wire_reader() = default;
};

/// What this process knows of a type that is declared as a signal. One for each, never destroyed.
struct wire_type {
  std::string_view name;     ///< As declared: what peers know it by.
  std::string text;          ///< Its fields with their names and types: "{int64 amount, text currency}".
  std::uint64_t schema = 0;  ///< A hash of name and text; peers must have the same.
  std::type_index type;
  std::uint16_t number = 0;  ///< Its place in this process' list, from 1 on; 0 if it is not on it.
  /// The signal for a receiver with these ops; `asker` for a question, whose it is from then on. Null if what comes is no such
  /// value. Throws std::bad_alloc.
  signal* (*make)(const signal_ops& ops, wire_reader& from, foreign_reply* asker) = nullptr;
  /// The ops of one that is only read, and copied for its receivers.
  const signal_ops* bare = nullptr;
  /// Another one, for a receiver with these ops; null where the type can not be copied. Throws what copying throws.
  signal* (*copy)(const signal_ops& ops, const signal& of) = nullptr;
};

/// Puts a type on the list of this process, from which the greetings of its nodes are made. Any thread; at the start of the program, from
/// KARYON_SIGNAL. Aborts with a sentence if there is another type of that name.
KARYON_API void list_wire_type(wire_type& t);
/// FNV-1a, 64 bits.
[[nodiscard]] KARYON_API std::uint64_t wire_hash(std::string_view text,
                                                 std::uint64_t from = 0xcbf29ce484222325U) noexcept;

}  // namespace karyon::detail
