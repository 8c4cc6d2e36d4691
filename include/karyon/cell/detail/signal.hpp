#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/remote.hpp>
#include <karyon/cell/execution.hpp>
#include <karyon/cell/exit_reason.hpp>
#include <karyon/cell/send_result.hpp>
#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon::detail {

struct cell_slot;  // src/cell/slot.hpp

struct conflation_rule;  // declared.hpp
struct signal;

/// What a process knows of a handler type, a cell class and a signal: one for each, never destroyed.
struct handler_site {
  std::string_view cell_class;
  std::string_view signal;
  /// Where the class says that the handler runs.
  execution declared = execution::worker;
  /// Its number in the runtimes' statistics; 0 until one has some of it. Whoever counts first sets it.
  std::atomic<std::uint32_t> number{0};
  /// Not 0 if it may run elsewhere than on a worker: it is declared so, or in so many runtimes it was moved. Relaxed: says only
  /// that it is worth a closer look.
  std::atomic<std::uint32_t> elsewhere{declared != execution::worker ? 1u : 0u};
};

/// What can be done with a signal, fixed when it is sent: one constant table for each (receiving class, signal type).
struct signal_ops {
  /// Runs the receiver's handler. `object` is the receiving cell; does not free the signal. May throw what the handler throws.
  void (*invoke)(void* object, signal& s);
  /// Ends the life of the payload and frees the node; an ask that was not answered is first answered with `code` and,
  /// where the receiver has ended, why.
  void (*discard)(signal* s, errc code, const exit_reason& why) noexcept;
  /// The payload's type, for crash reports.
  std::string_view type;
  /// True for signals that overtake ordinary ones: exits, system requests.
  bool urgent = false;
  /// True where discard() only has to free the node.
  bool trivial = false;
  /// True for the runtime's own signals: neither counted nor refused by a bounded mailbox.
  bool internal = false;
  /// The node's size; needed where `trivial`.
  std::uint32_t bytes = 0;
  /// invoke that leaves the signal as it is, so that it can be handled once more (mailbox_policy::kept); null where the payload can
  /// only be moved.
  void (*invoke_copy)(void* object, signal& s) = nullptr;
  /// The handler's; null for the runtime's own signals.
  handler_site* site = nullptr;
  /// By which a newer one replaces one that waits; null for signals that are not conflated.
  const conflation_rule* conflation = nullptr;
  /// True for the user's signals that overtake others of the same mailbox (high_priority).
  bool high = false;
  /// How it reaches a receiver in another process; null where its type is not declared for that, and for the runtime's own.
  const remote_ops* remote = nullptr;
};

/// A signal in flight: an intrusive list node with its payload behind it. Allocated by the sender, owned by the
/// receiver's mailbox once accepted, freed by the receiver (or by whoever finds the receiver gone).
struct signal {
  signal* next = nullptr;
  const signal_ops* ops;
  explicit signal(const signal_ops* o) noexcept : ops(o) {}
};

/// 16-byte aligned memory for a signal, from the calling thread's NUMA node where the thread is bound. Throws
/// std::bad_alloc. Any thread may free it, with the same size.
[[nodiscard]] KARYON_API void* allocate_signal(std::size_t bytes);
KARYON_API void free_signal(void* memory, std::size_t bytes) noexcept;

/// Puts a signal into the mailbox of incarnation `generation` of `slot`. Any thread, lock-free, allocates nothing.
/// Consumes the signal in every case: one that is not accepted is discarded before the call returns.
KARYON_API send_result deliver(cell_slot* slot, std::uint32_t generation, signal* s) noexcept;
/// The same for whatever incarnation currently fills `role` of `slot`.
KARYON_API send_result deliver_to_role(cell_slot* slot, std::uint32_t role, signal* s) noexcept;

template <class T>
struct payload_signal : signal {
  T payload;
  template <class... Args>
  explicit payload_signal(const signal_ops* o, Args&&... args) : signal(o), payload(std::forward<Args>(args)...) {}
};

/// Makes a node of type Node from the heap of signals.
template <class Node, class... Args>
[[nodiscard]] Node* make_signal(Args&&... args) {
  static_assert(alignof(Node) <= 16, "karyon: a signal's payload may be aligned to 16 bytes at most");
  void* memory = allocate_signal(sizeof(Node));
  if constexpr (std::is_nothrow_constructible_v<Node, Args&&...>) {
    return ::new (memory) Node(std::forward<Args>(args)...);
  } else {
    try {
      return ::new (memory) Node(std::forward<Args>(args)...);
    } catch (...) {
      free_signal(memory, sizeof(Node));
      throw;
    }
  }
}

template <class Node>
void destroy_signal(Node* node) noexcept {
  node->~Node();
  free_signal(node, sizeof(Node));
}

/// Owns a node that is not delivered yet.
struct signal_deleter {
  template <class Node>
  void operator()(Node* node) const noexcept {
    destroy_signal(node);
  }
};
template <class Node>
using signal_ptr = std::unique_ptr<Node, signal_deleter>;

}  // namespace karyon::detail
