#pragma once

#include <cstdint>

#include <karyon/core/result.hpp>

namespace karyon::detail {

struct reply_address;
struct signal;
struct signal_ops;
struct wire_type;
class wire_reader;
class wire_writer;

/// What is done with a signal whose receiver lives in another process: one table for each (receiving class, signal type) whose
/// type is declared (KARYON_SIGNAL, karyon/nerve/signal.hpp). What is about answers is set in the tables of questions alone.
struct remote_ops {
  const wire_type& (*type)() noexcept;
  void (*write)(const signal& s, wire_writer& to);
  /// The signal as a question to this class; null where what it is answered with can not cross.
  const signal_ops* ask = nullptr;
  reply_address& (*reply)(signal& s) noexcept = nullptr;
  /// A name for the answer's fields and their types; the two sides must have the same.
  std::uint64_t (*answer_schema)() noexcept = nullptr;
  /// Of a result<R>: its error, or null.
  const error* (*answer_error)(const void* result) noexcept = nullptr;
  void (*write_answer)(const void* result, wire_writer& to) = nullptr;
  /// False if what came is no R; nobody has been answered then.
  bool (*read_answer)(reply_address& to, wire_reader& from) = nullptr;
  void (*fail)(reply_address& to, error why) = nullptr;
};

/// What argument-dependent look-up finds a declaration by: karyon_signal(declared<T>), in the namespace of T.
template <class T>
struct declared {};

/// Whether signals of type T may cross to another process.
template <class T>
concept is_declared = requires {
  karyon_signal(declared<T>{});
};

template <class T>
struct remote_table {
  using traits = decltype(karyon_signal(declared<T>{}));
};

template <class C, class T>
constexpr const remote_ops* remote_tell_of() noexcept {
  if constexpr (is_declared<T>) {
    return remote_table<T>::traits::template tell<C>();
  } else {
    return nullptr;
  }
}
template <class C, class T>
constexpr const remote_ops* remote_ask_of() noexcept {
  if constexpr (is_declared<T>) {
    return remote_table<T>::traits::template ask<C>();
  } else {
    return nullptr;
  }
}
template <class C, class T>
constexpr const remote_ops* remote_shared_of() noexcept {
  if constexpr (is_declared<T>) {
    return remote_table<T>::traits::shared();
  } else {
    return nullptr;
  }
}

}  // namespace karyon::detail
