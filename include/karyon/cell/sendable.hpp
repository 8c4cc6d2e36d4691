// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/fields.hpp>

namespace karyon {

namespace detail {
struct undecided {};
}  // namespace detail

/// The say of a type's author on whether it may travel in a signal; overrules what the check would find by itself.
///
///     template <> inline constexpr bool karyon::enable_sendable<app::handle> = true;    // trust it
///     template <> inline constexpr bool karyon::enable_sendable<app::session> = false;  // never send it
///
/// Say `true` only for a type whose copies and moves leave sender and receiver nothing in common that one of them can
/// write to without the other's consent. Specialise it before the type's first use in a signal.
template <class T>
inline constexpr auto enable_sendable = detail::undecided{};

namespace detail {

enum class obstacle {
  none,
  not_a_value,
  pointer,
  reference,
  view,
  shared_state,
  type_erased,
  not_visible,
  opted_out,
};

// What stands in the way, and the type that does.
template <obstacle Why, class Culprit>
struct finding {
  static constexpr obstacle why = Why;
  using culprit = Culprit;
};
using no_finding = finding<obstacle::none, void>;

// ---- Kinds of types, recognised by what they offer, so that this header drags in no container and no smart pointer,
// ---- and so that the kin of the standard's types in other libraries are recognised as well.

template <class T>
concept is_complete = requires {
  sizeof(T);
};

template <class T>
inline constexpr bool has_verdict = !std::is_same_v<std::remove_cv_t<decltype(enable_sendable<T>)>, undecided>;

// std::function, std::packaged_task and their kin: a class template over a function's type.
template <class T>
inline constexpr bool is_over_function = false;
template <template <class...> class Wrapper, class Signature, class... Rest>
inline constexpr bool is_over_function<Wrapper<Signature, Rest...>> = std::is_function_v<Signature>;

// A closure can only be told by its name: "f()::<lambda(int)>" in GCC, where that of a template over a closure ends in
// "> >", and "(lambda at file.cpp:1:2)" in clang.
template <class T>
constexpr bool is_closure() noexcept {
  constexpr std::string_view text = __PRETTY_FUNCTION__;
  constexpr std::size_t end = text.rfind(']');
#if defined(__clang__)
  constexpr std::string_view opening = "(lambda at ";
  constexpr std::string_view closing = ")";
#else
  constexpr std::string_view opening = "<lambda(";
  constexpr std::string_view closing = ")>";
#endif
  return text.substr(0, end).ends_with(closing) && text.find(opening) != std::string_view::npos;
}

template <class T>
concept is_lockable = requires(T& t) {
  t.lock(), t.unlock();
};
template <class T>
concept is_atomic = requires(T& t) {
  t.is_lock_free(), t.load();
};
template <class T>
concept is_condition = requires(T& t) {
  t.notify_one(), t.notify_all();
};
// std::weak_ptr: a way to an object of others that does not even keep it.
template <class T>
concept is_observer = requires(T& t) {
  t.lock(), t.expired();
};
// std::pmr containers and strings: their memory belongs to a resource, which may be the sending cell's own.
template <class T>
concept uses_resource = requires(T& t) {
  t.get_allocator().resource();
};

template <class T>
concept is_smart_pointer = requires(const T& t) {
  typename T::element_type;
  { t.get() } -> std::convertible_to<const volatile std::remove_extent_t<typename T::element_type>*>;
};
template <class T>
concept has_deleter = requires {
  typename T::deleter_type;
};

// std::reference_wrapper.
template <class T>
concept is_reference_like = requires(const T& t) {
  typename T::type;
  { t.get() } -> std::same_as<typename T::type&>;
};
template <class T>
concept is_iterator = requires(T& t) {
  *t, ++t;
};
// std::any.
template <class T>
concept is_any = requires(const T& t) {
  t.has_value(), t.type();
};
// std::coroutine_handle.
template <class T>
concept is_coroutine_handle = requires(const T& t) {
  t.resume(), t.address();
};

template <class T>
concept has_tuple_protocol = requires {
  std::tuple_size<T>::value;
};
template <class T>
concept has_pointer_to_front = requires(const T& t) {
  requires std::is_pointer_v<decltype(t.data())>;
}
|| requires(const T& t) { requires std::is_pointer_v<decltype(t.begin())>; };
// std::string_view, std::span, std::initializer_list: a range that is copied without its elements.
template <class T>
concept is_view = has_pointer_to_front<T> && std::is_trivially_copyable_v<T> && !std::is_aggregate_v<T> &&
                  !has_tuple_protocol<T> && sizeof(T) <= 2 * sizeof(void*);

template <class T>
inline constexpr bool is_variant = false;
template <template <class...> class Variant, class... Alternative>
inline constexpr bool is_variant<Variant<Alternative...>> = requires(const Variant<Alternative...>& v) {
  v.index(), v.valueless_by_exception();
};

template <class T>
concept has_value_type = requires {
  typename T::value_type;
};
template <class T>
concept has_error_type = requires {
  typename T::error_type;
};
template <class T>
concept has_mapped_type = requires {
  typename T::key_type;
  typename T::mapped_type;
};

// ---- The judgement. Path has the classes that are being looked into, so that a tree of vectors of itself ends.

template <class T, class... Path>
constexpr auto judge() noexcept;

template <class T, class... Path>
using judged = decltype(judge<std::remove_cv_t<T>, Path...>());

// The first of Parts that something is found in.
template <class List, class... Path>
struct judge_each {
  using type = no_finding;
};
template <class First, class... Rest, class... Path>
struct judge_each<type_list<First, Rest...>, Path...> {
  using first = judged<First, Path...>;
  using type = typename std::conditional_t<first::why == obstacle::none, judge_each<type_list<Rest...>, Path...>,
                                           std::type_identity<first>>::type;
};

template <class T>
struct template_arguments;
template <template <class...> class Template, class... Argument>
struct template_arguments<Template<Argument...>> {
  using type = type_list<Argument...>;
};

template <class T, std::size_t... I>
auto tuple_elements(std::index_sequence<I...>) -> type_list<std::tuple_element_t<I, T>...>;

// A pointer that owns or shares what it points at.
template <class T, class... Path>
constexpr auto judge_smart_pointer() noexcept {
  using element = typename T::element_type;
  if constexpr (std::is_void_v<element> || !is_complete<element>) {
    return finding<obstacle::not_visible, T>();
  } else if constexpr (!std::is_copy_constructible_v<T>) {  // one owner: the object goes with the signal
    if constexpr (has_deleter<T>) {
      return typename judge_each<type_list<element, typename T::deleter_type>, Path...>::type();
    } else {
      return judged<element, Path...>();
    }
  } else if constexpr (std::is_const_v<element>) {
    return judged<element, Path...>();
  } else {
    return finding<obstacle::shared_state, T>();
  }
}

// A class whose fields can not be seen, but perhaps what it holds.
template <class T, class... Path>
constexpr auto judge_opaque_class() noexcept {
  if constexpr (is_observer<T> || is_lockable<T> || is_atomic<T> || is_condition<T> || uses_resource<T>) {
    return finding<obstacle::shared_state, T>();
  } else if constexpr (is_over_function<T> || is_any<T> || is_closure<T>()) {
    return finding<obstacle::type_erased, T>();
  } else if constexpr (is_coroutine_handle<T>) {
    return finding<obstacle::pointer, T>();
  } else if constexpr (is_smart_pointer<T>) {
    return judge_smart_pointer<T, Path...>();
  } else if constexpr (is_reference_like<T> || is_iterator<T> || is_view<T>) {
    return finding<obstacle::view, T>();
  } else if constexpr (is_variant<T>) {
    return typename judge_each<typename template_arguments<T>::type, Path...>::type();
  } else if constexpr (has_mapped_type<T>) {
    return typename judge_each<type_list<typename T::key_type, typename T::mapped_type>, Path...>::type();
  } else if constexpr (has_value_type<T> && has_error_type<T>) {
    return typename judge_each<type_list<typename T::value_type, typename T::error_type>, Path...>::type();
  } else if constexpr (has_value_type<T>) {
    return judged<typename T::value_type, Path...>();
  } else if constexpr (has_tuple_protocol<T>) {
    using elements = decltype(tuple_elements<T>(std::make_index_sequence<std::tuple_size_v<T>>()));
    return typename judge_each<elements, Path...>::type();
  } else {
    return no_finding();
  }
}

template <class T, class... Path>
constexpr auto judge_aggregate() noexcept {
  if constexpr (has_tuple_protocol<T> && has_value_type<T>) {  // std::array: one look at the element is enough
    return judged<typename T::value_type, Path...>();
  } else {
    using fields = fields_of<T>;
    if constexpr (std::is_same_v<fields, not_decomposable>) {
      return finding<obstacle::not_visible, T>();
    } else {
      return typename judge_each<fields, Path...>::type();
    }
  }
}

template <class T, class... Path>
constexpr auto judge_class() noexcept {
  if constexpr ((std::is_same_v<T, Path> || ...)) {
    return no_finding();
  } else if constexpr (std::is_empty_v<T> && std::is_trivially_copyable_v<T>) {
    return no_finding();
  } else if constexpr (std::is_aggregate_v<T>) {
    return judge_aggregate<T, Path..., T>();
  } else {
    return judge_opaque_class<T, Path..., T>();
  }
}

template <class T, class... Path>
constexpr auto judge() noexcept {
  if constexpr (std::is_reference_v<T>) {
    return finding<obstacle::reference, T>();
  } else if constexpr (!std::is_object_v<T> || std::is_unbounded_array_v<T>) {
    return finding<obstacle::not_a_value, T>();
  } else if constexpr (has_verdict<T>) {
    return std::conditional_t<enable_sendable<T>, no_finding, finding<obstacle::opted_out, T>>();
  } else if constexpr (std::is_pointer_v<T>) {
    // A function is no data, and the same for everyone: a pointer to it reaches no cell's memory.
    return std::conditional_t<std::is_function_v<std::remove_pointer_t<T>>, no_finding,
                              finding<obstacle::pointer, T>>();
  } else if constexpr (std::is_array_v<T>) {
    return judged<std::remove_extent_t<T>, Path...>();
  } else if constexpr (std::is_union_v<T>) {
    return finding<obstacle::not_visible, T>();
  } else if constexpr (std::is_class_v<T>) {
    return judge_class<T, Path...>();
  } else {
    return no_finding();  // numbers, enumerations, nullptr, pointers to members
  }
}

}  // namespace detail

/// Whether a T may be a signal: a plain value, so that no cell can reach another's memory through it.
///
/// Checked at compile time, without cost at run time. T must be an object type without const or volatile whose move
/// constructor throws nothing, and must hold none of these, however deep in its fields, elements and owned objects:
///  - raw pointers to data (pointers to functions are fine) and references;
///  - views: std::string_view, std::span, std::reference_wrapper, iterators, std::initializer_list;
///  - state that sender and receiver would share: std::shared_ptr to something not const, std::weak_ptr, std::atomic,
///    mutexes, and std::pmr containers (their memory belongs to a resource, perhaps the sender's own);
///  - what could hide one of those: std::function and its kin, std::any, closures with captures, unions.
/// Aggregates of up to 16 fields are looked into, field by field, and containers, smart pointers, tuples, variants and
/// expecteds by their element types. std::unique_ptr is fine where its object is: ownership moves with the signal.
/// Other classes are trusted, since they can keep what is theirs; `enable_sendable` overrules either way, and is what
/// to use for an aggregate with more fields, a base class that has fields, or (the compiler stops there) an anonymous
/// union.
template <class T>
inline constexpr bool is_sendable = [] {
  if constexpr (detail::judge<T>().why != detail::obstacle::none) {
    return false;
  } else {
    return !std::is_const_v<T> && !std::is_volatile_v<T> && std::is_nothrow_move_constructible_v<T>;
  }
}();

/// A type that may be sent; see `is_sendable`.
template <class T>
concept sendable = is_sendable<T>;

namespace detail {

// One static_assert a reason; the compiler's trace names Signal and the Culprit in it.
template <class Signal, obstacle Why, class Culprit>
consteval bool explain() noexcept {
  static_assert(Why != obstacle::not_a_value, "karyon: a signal must be a value, not a function, void or open array");
  static_assert(Why != obstacle::pointer,
                "karyon: this signal holds a raw pointer, which would let one cell reach another's memory; send the "
                "value itself, or a std::unique_ptr to it");
  static_assert(Why != obstacle::reference,
                "karyon: this signal is or holds a reference, which would let one cell reach another's memory; send "
                "the value itself");
  static_assert(Why != obstacle::view,
                "karyon: this signal holds a view (string_view, span, iterator, reference_wrapper) of memory that it "
                "does not own; send the elements, as a std::string or std::vector");
  static_assert(Why != obstacle::shared_state,
                "karyon: this signal holds mutable state that sender and receiver would share (shared_ptr, weak_ptr, "
                "atomic, mutex, pmr container); send a copy, a std::unique_ptr, or a std::shared_ptr to const");
  static_assert(Why != obstacle::type_erased,
                "karyon: this signal holds a function object or std::any, whose captures can not be checked; send "
                "values and let the receiver decide what to do with them");
  static_assert(Why != obstacle::not_visible,
                "karyon: this signal holds something that can not be looked into (union, more than 16 fields, a base "
                "class with fields, a pointer to an incomplete type); specialise karyon::enable_sendable for it");
  static_assert(Why != obstacle::opted_out,
                "karyon: this signal holds a type whose author forbids sending it (karyon::enable_sendable is false)");
  return Why == obstacle::none;  // false only beside an error above: keeps a second one from being made of it
}

/// True for a sendable T; otherwise fails to compile with a sentence that says why it is not.
template <class T>
consteval bool check_sendable() noexcept {
  using found = decltype(judge<T>());
  if constexpr (explain<T, found::why, typename found::culprit>()) {
    static_assert(!std::is_const_v<T> && !std::is_volatile_v<T>,
                  "karyon: a signal's type must not be const or volatile");
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "karyon: moving this signal may throw or is impossible; give it a noexcept move constructor");
  }
  return true;
}

}  // namespace detail
}  // namespace karyon
