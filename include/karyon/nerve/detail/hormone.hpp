// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/cell/broadcast.hpp>
#include <karyon/core/type_name.hpp>

namespace karyon::detail {

/// How a published value becomes bytes and back, for a bus between processes. The general case is a value that may be copied byte by
/// byte; a specialisation with the same members serves others.
template <class T>
struct hormone_codec {
  static constexpr bool available = std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>;
  static void encode(const T& value, std::vector<std::byte>& to) {
    if constexpr (!std::is_empty_v<T>) {
      const std::size_t at = to.size();
      to.resize(at + sizeof(T));
      std::memcpy(to.data() + at, &value, sizeof(T));
    }
  }
  /// False if the bytes are no T.
  static bool decode(std::span<const std::byte> from, T& to) {
    if constexpr (std::is_empty_v<T>) {
      return from.empty();
    } else {
      if (from.size() != sizeof(T)) return false;
      std::memcpy(&to, from.data(), sizeof(T));
      return true;
    }
  }
};

/// What a bus knows of a type that is published; one constant a type.
struct hormone_type {
  std::string_view name;
  std::uint64_t id;  // the same in all processes: of the name and the size
  void (*encode)(const void* value, std::vector<std::byte>& to);
  /// Null if the bytes are no such value.
  std::shared_ptr<const void> (*decode)(std::span<const std::byte> from);
};

constexpr std::uint64_t hash_of_text(std::string_view text, std::uint64_t seed = 0xcbf29ce484222325u) noexcept {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3u;  // FNV-1a
  return seed;
}

template <class T>
void encode_hormone(const void* value, std::vector<std::byte>& to) {
  hormone_codec<T>::encode(*static_cast<const T*>(value), to);
}
template <class T>
std::shared_ptr<const void> decode_hormone(std::span<const std::byte> from) {
  auto value = std::make_shared<T>();
  if (!hormone_codec<T>::decode(from, *value)) return nullptr;
  return value;
}

template <class T>
inline constexpr hormone_type hormone_type_of{type_name<T>(),
                                              hash_of_text(type_name<T>()) + sizeof(T) * 0x9e3779b97f4a7c15u,
                                              &encode_hormone<T>, &decode_hormone<T>};

template <class T>
constexpr void check_published() {
  static_assert(check_sendable<T>());
  static_assert(
      hormone_codec<T>::available,
      "karyon: what is published may have to cross to another process: the type must be trivially copyable and "
      "default constructible, or have a codec");
}

/// How many hops the broadcast has behind it that this thread's handler handles; 0 outside.
[[nodiscard]] KARYON_API std::uint32_t& hops_behind() noexcept;

class hop_scope {
public:
  explicit hop_scope(std::uint32_t hops) noexcept : here_(hops_behind()), previous_(std::exchange(here_, hops)) {}
  ~hop_scope() { here_ = previous_; }
  hop_scope(const hop_scope&) = delete;
  hop_scope& operator=(const hop_scope&) = delete;

private:
  std::uint32_t& here_;
  std::uint32_t previous_;
};

/// A copy of a small value, for one receiver.
template <class T>
struct hormone_signal : payload_signal<T> {
  std::uint32_t hops;
  hormone_signal(const signal_ops* o, std::uint32_t h, const T& value) : payload_signal<T>(o, value), hops(h) {}
};

template <class C, class T>
void invoke_hormone(void* object, signal& s) {
  const hop_scope scope(static_cast<hormone_signal<T>&>(s).hops);
  invoke_tell<C, T>(object, s);
}
template <class C, class T>
void invoke_hormone_copy(void* object, signal& s) {
  const hop_scope scope(static_cast<hormone_signal<T>&>(s).hops);
  invoke_tell_copy<C, T>(object, s);
}
template <class C, class T>
void invoke_shared_hormone(void* object, signal& s) {
  const hop_scope scope(static_cast<shared_signal<T>&>(s).hops);
  invoke_shared<C, T>(object, s);
}
template <class T>
void discard_hormone(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<hormone_signal<T>*>(s));
}

template <class C, class T>
inline constexpr signal_ops hormone_ops{&invoke_hormone<C, T>,
                                        &discard_hormone<T>,
                                        type_name<T>(),
                                        false,
                                        std::is_trivially_destructible_v<T>,
                                        false,
                                        sizeof(hormone_signal<T>),
                                        &invoke_hormone_copy<C, T>,
                                        &site_of<C, T>,
                                        conflation_rule_of<C, T>(),
                                        is_high_signal<C, T>()};
template <class C, class T>
inline constexpr signal_ops shared_hormone_ops{&invoke_shared_hormone<C, T>,
                                               &discard_shared<T>,
                                               type_name<T>(),
                                               false,
                                               false,
                                               false,
                                               0,
                                               &invoke_shared_hormone<C, T>,
                                               &site_of<C, T>,
                                               nullptr,
                                               is_high_signal<C, T>()};

/// How cells of one class get signals of one type.
struct hormone_receiver {
  const hormone_type* type;
  /// Makes one receiver's signal. Throws std::bad_alloc.
  signal* (*make)(const std::shared_ptr<const void>& value, std::uint32_t hops);
};

template <class C, class T>
signal* make_hormone(const std::shared_ptr<const void>& value, std::uint32_t hops) {
  // As in broadcast(): what is small is copied, and what is conflated by key needs a value of its own.
  if constexpr ((std::is_trivially_copyable_v<T> && sizeof(T) <= 64) || is_conflated<C, T>()) {
    return make_signal<hormone_signal<T>>(&hormone_ops<C, T>, hops, *static_cast<const T*>(value.get()));
  } else {
    auto* s = make_signal<shared_signal<T>>(&shared_hormone_ops<C, T>, std::static_pointer_cast<const T>(value));
    s->hops = hops;
    return s;
  }
}

template <class C, class T>
inline constexpr hormone_receiver hormone_receiver_of{&hormone_type_of<T>, &make_hormone<C, T>};

}  // namespace karyon::detail
