#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <karyon/nerve/detail/wire.hpp>

#include "nerve/frame.hpp"

namespace karyon::detail {

/// A cell as all nodes know it.
struct wire_handle {
  std::uint64_t node = 0;  // 0: no cell
  std::uint64_t incarnation = 0;
  cell_number number;
};

/// Turns handles into what travels, and back.
class handle_map {
public:
  /// False if there is no room for one more exported cell.
  [[nodiscard]] virtual bool to_wire(const address& at, bool role, wire_handle& h) = 0;
  /// False if it names a cell of ours that is of another class, or if no more can be remembered.
  [[nodiscard]] virtual bool from_wire(const wire_handle& h, address& at, bool& role, const class_info* expected) = 0;

protected:
  ~handle_map() = default;
};

/// Makes a frame's payload: MessagePack, one array of all values one behind the other, whatever they are parts of; or the bytes of a
/// raw value. Nothing for no value. One thread's, used again and again so that it need not allocate.
class payload_writer final : public wire_writer {
public:
  /// For a payload of at most so many bytes.
  void begin(handle_map& handles, std::size_t limit);
  /// Empty, and failed(), if it does not fit. Good until the next begin.
  [[nodiscard]] std::span<const std::byte> finish(std::span<const std::byte> before = {});
  [[nodiscard]] bool failed() const noexcept { return failed_; }

  void boolean(bool v) override;
  void integer(std::int64_t v) override;
  void natural(std::uint64_t v) override;
  void single(float v) override;
  void real(double v) override;
  void text(std::string_view v) override;
  void blob(std::span<const std::byte> v) override;
  void raw(const void* from, std::size_t bytes) override;
  void cell(const address& at, bool role) override;

  /// For the packer.
  void write(const char* from, std::size_t n);

private:
  // Before the values: what is put there last, the array's head (5 bytes at most) and what the frame has before it.
  static constexpr std::size_t room_before = 16;
  template <class F>
  void value(std::size_t bytes_most, F&& pack);

  std::vector<char> bytes_;
  handle_map* handles_ = nullptr;
  std::size_t limit_ = 0;
  std::uint32_t values_ = 0;
  bool raw_ = false;
  bool failed_ = true;
};

/// Why a payload was not what it should be.
enum class unreadable : std::uint8_t {
  none,
  malformed,   // no MessagePack, or more or less of it than the frame has
  wrong_type,  // a value of another kind than its place has
  out_of_range,
  too_deep,
  too_much,      // it would take more memory than a frame may, or says that there is more than there is
  wrong_handle,  // a handle to a cell of ours of another class, or one handle too many
};

struct payload_limits {
  std::uint32_t depth = 32;
  std::uint64_t memory_bytes = std::uint64_t{64} << 20U;  // of all containers in it together
  std::uint64_t empty_elements = 65'536;                  // of one container, of a type that takes nothing in a frame
};

class payload_reader final : public wire_reader {
public:
  void begin(std::span<const std::byte> payload, handle_map& handles, const payload_limits& limits = {});
  [[nodiscard]] bool complete() noexcept override;
  [[nodiscard]] unreadable why() const noexcept { return why_; }

  [[nodiscard]] bool boolean(bool& v) override;
  [[nodiscard]] bool integer(std::int64_t& v) override;
  [[nodiscard]] bool natural(std::uint64_t& v) override;
  [[nodiscard]] bool single(float& v) override;
  [[nodiscard]] bool real(double& v) override;
  [[nodiscard]] bool text(std::string_view& v) override;
  [[nodiscard]] bool blob(std::span<const std::byte>& v) override;
  [[nodiscard]] bool raw(void* to, std::size_t bytes) override;
  [[nodiscard]] bool cell(address& at, bool& role, const class_info* expected) override;
  [[nodiscard]] bool begin_list(std::uint64_t count, std::size_t bytes_each, std::size_t least) override;
  [[nodiscard]] bool enter() override;
  void leave() noexcept override { --depth_; }
  bool out_of_range() noexcept override { return fail(unreadable::out_of_range); }

  struct token {
    enum class kind : std::uint8_t { boolean, natural, integer, text, blob };
    union {
      std::uint64_t natural;
      std::int64_t integer;
      const char* bytes;
    };
    std::uint32_t size;
    kind is;
  };

private:
  bool fail(unreadable why) noexcept {
    if (why_ == unreadable::none) why_ = why;
    return false;
  }
  [[nodiscard]] bool parse();
  [[nodiscard]] const token* take(token::kind is);

  std::span<const std::byte> payload_;
  handle_map* handles_ = nullptr;
  payload_limits limits_;
  std::vector<token> tokens_;
  std::size_t next_ = 0;
  std::uint64_t memory_ = 0;
  std::uint32_t depth_ = 0;
  bool parsed_ = false;
  bool raw_taken_ = false;
  unreadable why_ = unreadable::none;
};

[[nodiscard]] const char* to_string(unreadable why) noexcept;

}  // namespace karyon::detail
