#include "nerve/payload.hpp"

#include <bit>
#include <cstring>
#include <limits>
#include <string>

#include <karyon/nerve/detail/codec.hpp>

#include <msgpack/null_visitor.hpp>
#include <msgpack/pack.hpp>
#include <msgpack/parse.hpp>
#include <msgpack/unpack.hpp>

namespace karyon::detail {

namespace {

constexpr std::size_t handle_bytes = 22;

void put(std::array<std::byte, handle_bytes>& to, std::size_t at, std::uint64_t v, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) to[at + i] = static_cast<std::byte>(v >> (8 * i));
}
std::uint64_t get(std::span<const std::byte> from, std::size_t at, std::size_t n) noexcept {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i) v |= std::to_integer<std::uint64_t>(from[at + i]) << (8 * i);
  return v;
}

/// What msgpack finds, as a flat list: this format has no values within values.
struct flattener : msgpack::null_visitor {
  using token = payload_reader::token;
  std::vector<token>* tokens = nullptr;
  std::size_t bytes = 0;
  bool begun = false;
  bool bad = false;

  token& add(token::kind is) {
    token& t = tokens->emplace_back();
    t.is = is;
    t.size = 0;
    return t;
  }
  bool visit_nil() { return false; }
  bool visit_boolean(bool v) { return begun && (add(token::kind::boolean).natural = v ? 1 : 0, true); }
  bool visit_positive_integer(std::uint64_t v) { return begun && (add(token::kind::natural).natural = v, true); }
  bool visit_negative_integer(std::int64_t v) { return begun && (add(token::kind::integer).integer = v, true); }
  bool visit_float32(float) { return false; }
  bool visit_float64(double) { return false; }
  bool visit_str(const char* v, std::uint32_t size) { return begun && text(token::kind::text, v, size); }
  bool visit_bin(const char* v, std::uint32_t size) { return begun && text(token::kind::blob, v, size); }
  bool visit_ext(const char*, std::uint32_t) { return false; }
  bool start_array(std::uint32_t n) {
    if (begun || n > bytes) return false;  // each value takes a byte at least
    tokens->reserve(n);
    return begun = true;
  }
  bool start_map(std::uint32_t) { return false; }
  void parse_error(std::size_t, std::size_t) { bad = true; }
  void insufficient_bytes(std::size_t, std::size_t) { bad = true; }

private:
  bool text(token::kind is, const char* v, std::uint32_t size) {
    token& t = add(is);
    t.bytes = v;
    t.size = size;
    return true;
  }
};

}  // namespace

// ---- writing -------------------------------------------------------------------------------------------------------

void payload_writer::begin(handle_map& handles, std::size_t limit) {
  bytes_.resize(room_before);
  handles_ = &handles;
  limit_ = limit;
  values_ = 0;
  raw_ = false;
  failed_ = false;
}

void payload_writer::write(const char* from, std::size_t n) { bytes_.insert(bytes_.end(), from, from + n); }

template <class F>
void payload_writer::value(std::size_t bytes_most, F&& pack) {
  // Looked at before anything is copied: what is too large takes no memory.
  if (failed_ || raw_ || bytes_.size() - room_before + bytes_most > limit_) {
    failed_ = true;
    return;
  }
  msgpack::packer<payload_writer> packer(*this);
  pack(packer);
  ++values_;
}

void payload_writer::boolean(bool v) {
  value(1, [v](auto& p) { v ? p.pack_true() : p.pack_false(); });
}
void payload_writer::integer(std::int64_t v) {
  value(9, [v](auto& p) { p.pack_int64(v); });
}
void payload_writer::natural(std::uint64_t v) {
  value(9, [v](auto& p) { p.pack_uint64(v); });
}
// By their bits: msgpack's own floating point turns what happens to be whole into integers, and loses the sign of a zero.
void payload_writer::single(float v) { natural(std::bit_cast<std::uint32_t>(v)); }
void payload_writer::real(double v) { natural(std::bit_cast<std::uint64_t>(v)); }
void payload_writer::text(std::string_view v) {
  value(5 + v.size(), [v](auto& p) {
    p.pack_str(static_cast<std::uint32_t>(v.size()));
    p.pack_str_body(v.data(), static_cast<std::uint32_t>(v.size()));
  });
}
void payload_writer::blob(std::span<const std::byte> v) {
  value(5 + v.size(), [v](auto& p) {
    p.pack_bin(static_cast<std::uint32_t>(v.size()));
    p.pack_bin_body(reinterpret_cast<const char*>(v.data()), static_cast<std::uint32_t>(v.size()));
  });
}

void payload_writer::raw(const void* from, std::size_t bytes) {
  if (failed_ || values_ != 0 || raw_ || bytes > limit_) {
    failed_ = true;
    return;
  }
  raw_ = true;
  write(static_cast<const char*>(from), bytes);
}

void payload_writer::cell(const address& at, bool role) {
  wire_handle h;
  if (failed_ || !handles_->to_wire(at, role, h)) {
    failed_ = true;
    return;
  }
  std::array<std::byte, handle_bytes> bytes{};
  put(bytes, 0, h.node, 8);
  put(bytes, 8, h.incarnation, 8);
  put(bytes, 16, h.number.index, 4);
  put(bytes, 20, h.number.tenant, 2);
  blob(bytes);
}

std::span<const std::byte> payload_writer::finish(std::span<const std::byte> before) {
  if (failed_) return {};
  std::size_t begin = room_before;
  if (values_ != 0) {
    // The head comes last, when the count is known, and goes where room was left for it.
    const std::size_t end = bytes_.size();
    msgpack::packer<payload_writer>(*this).pack_array(values_);
    const std::size_t head = bytes_.size() - end;
    begin -= head;
    std::memcpy(bytes_.data() + begin, bytes_.data() + end, head);
    bytes_.resize(end);
  }
  begin -= before.size();
  if (!before.empty()) std::memcpy(bytes_.data() + begin, before.data(), before.size());
  const std::span<const std::byte> all = std::as_bytes(std::span(bytes_)).subspan(begin);
  if (all.size() > limit_) {
    failed_ = true;
    return {};
  }
  return all;
}

// ---- reading -------------------------------------------------------------------------------------------------------

void payload_reader::begin(std::span<const std::byte> payload, handle_map& handles, const payload_limits& limits) {
  payload_ = payload;
  handles_ = &handles;
  limits_ = limits;
  tokens_.clear();
  next_ = 0;
  memory_ = 0;
  depth_ = 0;
  parsed_ = false;
  raw_taken_ = false;
  why_ = unreadable::none;
}

bool payload_reader::parse() {
  parsed_ = true;
  if (payload_.empty()) return true;
  flattener all;
  all.tokens = &tokens_;
  all.bytes = payload_.size();
  std::size_t offset = 0;
  const bool good = msgpack::parse(reinterpret_cast<const char*>(payload_.data()), payload_.size(), offset, all);
  if (!good || all.bad || offset != payload_.size()) {
    tokens_.clear();
    return fail(unreadable::malformed);
  }
  return true;
}

bool payload_reader::complete() noexcept {
  if (why_ != unreadable::none) return false;
  if (raw_taken_ || payload_.empty()) return true;
  if (!parsed_) return fail(unreadable::malformed);  // there is something where nothing should be
  return next_ == tokens_.size() || fail(unreadable::malformed);
}

const payload_reader::token* payload_reader::take(token::kind is) {
  if (why_ != unreadable::none) return nullptr;
  if (raw_taken_ || (!parsed_ && !parse())) return nullptr;
  if (next_ == tokens_.size()) {
    fail(unreadable::malformed);
    return nullptr;
  }
  const token& t = tokens_[next_];
  const bool fits = t.is == is || (is == token::kind::integer && t.is == token::kind::natural);
  if (!fits) {
    fail(unreadable::wrong_type);
    return nullptr;
  }
  ++next_;
  return &t;
}

bool payload_reader::boolean(bool& v) {
  const token* t = take(token::kind::boolean);
  if (t != nullptr) v = t->natural != 0;
  return t != nullptr;
}
bool payload_reader::integer(std::int64_t& v) {
  const token* t = take(token::kind::integer);
  if (t == nullptr) return false;
  if (t->is == token::kind::natural) {
    if (t->natural > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return out_of_range();
    v = static_cast<std::int64_t>(t->natural);
  } else {
    v = t->integer;
  }
  return true;
}
bool payload_reader::natural(std::uint64_t& v) {
  const token* t = take(token::kind::natural);
  if (t != nullptr) v = t->natural;
  return t != nullptr;
}
bool payload_reader::single(float& v) {
  std::uint64_t bits = 0;
  if (!natural(bits)) return false;
  if (bits > std::numeric_limits<std::uint32_t>::max()) return out_of_range();
  v = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  return true;
}
bool payload_reader::real(double& v) {
  std::uint64_t bits = 0;
  if (!natural(bits)) return false;
  v = std::bit_cast<double>(bits);
  return true;
}
bool payload_reader::text(std::string_view& v) {
  const token* t = take(token::kind::text);
  if (t != nullptr) v = {t->bytes, t->size};
  return t != nullptr;
}
bool payload_reader::blob(std::span<const std::byte>& v) {
  const token* t = take(token::kind::blob);
  if (t != nullptr) v = std::as_bytes(std::span(t->bytes, t->size));
  return t != nullptr;
}

bool payload_reader::raw(void* to, std::size_t bytes) {
  if (why_ != unreadable::none) return false;
  if (parsed_ || raw_taken_ || bytes != payload_.size()) return fail(unreadable::malformed);
  raw_taken_ = true;
  std::memcpy(to, payload_.data(), bytes);
  return true;
}

bool payload_reader::cell(address& at, bool& role, const class_info* expected) {
  std::span<const std::byte> bytes;
  if (!blob(bytes)) return false;
  if (bytes.size() != handle_bytes) return fail(unreadable::malformed);
  wire_handle h;
  h.node = get(bytes, 0, 8);
  h.incarnation = get(bytes, 8, 8);
  h.number.index = static_cast<std::uint32_t>(get(bytes, 16, 4));
  h.number.tenant = static_cast<std::uint16_t>(get(bytes, 20, 2));
  return handles_->from_wire(h, at, role, expected) || fail(unreadable::wrong_handle);
}

bool payload_reader::begin_list(std::uint64_t count, std::size_t bytes_each, std::size_t least) {
  if (least != 0 && count > (tokens_.size() - next_) / least) return fail(unreadable::too_much);
  if (least == 0 && count > limits_.empty_elements) return fail(unreadable::too_much);
  const std::uint64_t left = limits_.memory_bytes - memory_;
  if (count > left / (bytes_each != 0 ? bytes_each : 1)) return fail(unreadable::too_much);
  memory_ += count * bytes_each;
  return true;
}

bool payload_reader::enter() {
  ++depth_;
  return depth_ <= limits_.depth || fail(unreadable::too_deep);
}

const char* to_string(unreadable why) noexcept {
  switch (why) {
    case unreadable::none: return "none";
    case unreadable::malformed: return "malformed";
    case unreadable::wrong_type: return "wrong_type";
    case unreadable::out_of_range: return "out_of_range";
    case unreadable::too_deep: return "too_deep";
    case unreadable::too_much: return "too_much";
    case unreadable::wrong_handle: return "wrong_handle";
  }
  return "unknown";
}

// ---- values of this library ------------------------------------------------------------------------------------------

bool read_reason(wire_reader& r, exit_reason& v) {
  std::uint64_t kind = 0;
  std::string_view type;
  std::string_view text;
  if (!r.natural(kind) || !r.text(type) || !r.text(text)) return false;
  if (kind > static_cast<std::uint64_t>(exit_reason::kind::node_down)) return r.out_of_range();
  const auto why = static_cast<exit_reason::kind>(kind);
  v = type.empty() && text.empty() ? exit_reason(why) : exit_reason(why, std::string(type), std::string(text));
  return true;
}

bool read_error(wire_reader& r, error& v) {
  std::uint64_t code = 0;
  std::string_view text;
  if (!r.natural(code) || !r.text(text)) return false;
  if (code < static_cast<std::uint64_t>(errc::invalid_argument) ||
      code > static_cast<std::uint64_t>(errc::not_declared)) {
    return r.out_of_range();
  }
  v = error(static_cast<errc>(code), std::string(text));
  return true;
}

}  // namespace karyon::detail
