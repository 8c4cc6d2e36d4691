#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>

#include <karyon/matrix/detail/epoch.hpp>

namespace karyon::detail {

/// Nodes hold words only, which are read while others write them. A key of at most 8 plain bytes is such a word itself: then no
/// reader ever compares half of an old key with half of a new one. Every other key lies in a box of its own that does not
/// change; the word is its address.
using slot_word = std::uint64_t;
using node_slot = std::atomic<slot_word>;

inline constexpr std::size_t inline_value_bytes_max = 32;

template <class T>
inline constexpr bool is_plain = std::is_trivially_copyable_v<T>&& std::is_trivially_destructible_v<T>;
template <class Key>
inline constexpr bool is_word_key = is_plain<Key> && sizeof(Key) <= sizeof(slot_word);
template <class Value>
inline constexpr bool is_inline_value = is_plain<Value> && sizeof(Value) <= inline_value_bytes_max &&
                                        alignof(Value) <= alignof(slot_word);

/// A key or a value that does not fit a slot. Constant once others can see it.
template <class T>
struct boxed : retired {
  template <class U>
  explicit boxed(U&& v) : value(static_cast<U&&>(v)) {
    destroy = [](retired* r) noexcept { delete static_cast<boxed*>(r); };
  }
  T value;
};

template <class T>
[[nodiscard]] const boxed<T>* box_of(slot_word w) noexcept {
  return reinterpret_cast<const boxed<T>*>(static_cast<std::uintptr_t>(w));
}

template <class T>
[[nodiscard]] slot_word make_box(const T& v) {
  return static_cast<slot_word>(reinterpret_cast<std::uintptr_t>(new boxed<T>(v)));
}

template <class T>
void free_box(slot_word w) noexcept {
  delete box_of<T>(w);
}

template <class T>
void retire_box(epoch_record& r, slot_word w) noexcept {
  retire(r, const_cast<boxed<T>*>(box_of<T>(w)));
}

/// Plain bytes as words, and back. The rest of the last word is zero.
template <class T>
inline constexpr std::size_t words_of = (sizeof(T) + sizeof(slot_word) - 1) / sizeof(slot_word);

template <class T>
[[nodiscard]] std::array<slot_word, words_of<T>> to_words(const T& v) noexcept {
  std::array<slot_word, words_of<T>> words{};
  std::memcpy(words.data(), &v, sizeof v);
  return words;
}

template <class T>
[[nodiscard]] T from_words(const std::array<slot_word, words_of<T>>& words) noexcept {
  alignas(T) std::byte bytes[sizeof(T)];
  std::memcpy(bytes, words.data(), sizeof bytes);
  return *std::launder(reinterpret_cast<const T*>(bytes));
}

template <class Key>
struct key_slots {
  static constexpr bool boxes = !is_word_key<Key>;
  static constexpr std::size_t bytes_each = boxes ? sizeof(boxed<Key>) : 0;

  [[nodiscard]] static slot_word make(const Key& k) {
    if constexpr (boxes) {
      return make_box<Key>(k);
    } else {
      return to_words(k)[0];
    }
  }
  [[nodiscard]] static decltype(auto) get(slot_word w) noexcept {
    if constexpr (boxes) {
      return (box_of<Key>(w)->value);
    } else {
      return from_words<Key>(std::array<slot_word, 1>{w});
    }
  }
  static void free(slot_word w) noexcept {
    if constexpr (boxes) free_box<Key>(w);
  }
  static void retire(epoch_record& r, slot_word w) noexcept {
    if constexpr (boxes) retire_box<Key>(r, w);
  }
};

template <class Value>
struct value_slots {
  static constexpr bool boxes = !is_inline_value<Value>;
  static constexpr std::size_t words = boxes ? 1 : words_of<Value>;
  static constexpr std::size_t bytes_each = boxes ? sizeof(boxed<Value>) : 0;
  using image = std::array<slot_word, words>;

  [[nodiscard]] static image make(const Value& v) {
    if constexpr (boxes) {
      return image{make_box<Value>(v)};
    } else {
      return to_words(v);
    }
  }
  /// Copies the value: for a boxed one with the user's constructor, while pinned.
  [[nodiscard]] static Value get(const image& i) {
    if constexpr (boxes) {
      return box_of<Value>(i[0])->value;
    } else {
      return from_words<Value>(i);
    }
  }
  static void free(const image& i) noexcept {
    if constexpr (boxes) free_box<Value>(i[0]);
  }
  static void retire(epoch_record& r, const image& i) noexcept {
    if constexpr (boxes) retire_box<Value>(r, i[0]);
  }
  /// Acquire pairs with the releases of store and move_slot, and of insert_into: who sees the address of a box sees what is in it, and
  /// who sees any word of a writer sees its lock (version_lock).
  [[nodiscard]] static image load(const node_slot* at) noexcept {
    image i;
    for (std::size_t w = 0; w < words; ++w) i[w] = at[w].load(std::memory_order_acquire);
    return i;
  }
  /// Release pairs with load's acquire.
  static void store(node_slot* at, const image& i) noexcept {
    for (std::size_t w = 0; w < words; ++w) at[w].store(i[w], std::memory_order_release);
  }
};

/// A key or value made for a slot that nobody has seen yet; freed if it does not get there.
template <class Slots, class T, class Image>
class staged {
public:
  staged() = default;
  staged(const staged&) = delete;
  staged& operator=(const staged&) = delete;
  ~staged() {
    if (made_) Slots::free(image_);
  }
  /// Once; throws what copying throws.
  void make(const T& v) {
    if (made_) return;
    image_ = Slots::make(v);
    made_ = true;
  }
  void remake(const T& v) {
    const Image fresh = Slots::make(v);
    if (made_) Slots::free(image_);
    image_ = fresh;
    made_ = true;
  }
  [[nodiscard]] bool is_made() const noexcept { return made_; }
  [[nodiscard]] const Image& look() const noexcept { return image_; }
  [[nodiscard]] Image hand_over() noexcept {
    made_ = false;
    return image_;
  }

private:
  Image image_{};
  bool made_ = false;
};

template <class Key>
using staged_key = staged<key_slots<Key>, Key, slot_word>;
template <class Value>
using staged_value = staged<value_slots<Value>, Value, typename value_slots<Value>::image>;

}  // namespace karyon::detail
