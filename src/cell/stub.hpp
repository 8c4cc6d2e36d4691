#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <karyon/cell/ref.hpp>
#include <karyon/cell/send_result.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

class remote_port;

/// The way out of the process, for as long as it is open; never freed, since handles that lead here are held forever.
///
/// Each thread that passes is counted on a line of its own (one of 16), so that senders do not meet. close() returns once nobody is
/// inside: the port may go then. Dekker: who enters counts, then looks at the port; close() takes the port away, then looks at the counts.
class KARYON_API remote_gate {
public:
  /// Throws std::bad_alloc.
  [[nodiscard]] static remote_gate& make(remote_port& port);
  remote_gate(const remote_gate&) = delete;
  remote_gate& operator=(const remote_gate&) = delete;
  /// Once; not from a thread that is inside.
  void close() noexcept;

  /// While one of these lives, and finds it open, the port stays.
  class KARYON_API pass {
  public:
    explicit pass(remote_gate& g) noexcept;
    ~pass();
    pass(const pass&) = delete;
    pass& operator=(const pass&) = delete;
    [[nodiscard]] remote_port* port() const noexcept { return port_; }

  private:
    std::atomic<std::uint32_t>& count_;
    remote_port* port_;
  };

private:
  struct alignas(64) stripe {
    std::atomic<std::uint32_t> inside{0};
  };
  explicit remote_gate(remote_port& port) noexcept : port_(&port) {}
  [[nodiscard]] std::atomic<std::uint32_t>& mine() noexcept;

  std::atomic<remote_port*> port_;
  std::array<stripe, 16> stripes_;
  remote_gate* next_ = nullptr;  // of all that were ever made
};

/// What stands in this process for a cell in another: a slot whose inbox is always vacant, so that a send to a local cell has not one
/// instruction more. Who finds a slot vacant looks whether it is one of these, and sends through its gate.
///
/// Stubs lie in slots of their own, never those of cells, and are used again for other stubs only, with the next number: `number`
/// names both the incarnation and the role that a handle means. The three fields below lie where a cell has its object:
///
///   1  the inbox word takes the next number   release (find_stub: acquire)
///   2  peer, far, gate are written            release (find_stub: acquire)
///   3  the handle is given out
///   4  free_stub: gate becomes null           release
///
/// A reader looks at the word, the fields, and the word again: if it has read a field of a later stub, it sees that stub's word.
struct stub {
  remote_gate* gate = nullptr;
  void* peer = nullptr;   // the port's: which node
  std::uint64_t far = 0;  // the port's: which cell there
  address at;
};

/// Sends signals to where they can not be put by a pointer.
class remote_port {
public:
  remote_port() = default;
  remote_port(const remote_port&) = delete;
  remote_port& operator=(const remote_port&) = delete;
  /// Any thread. Consumes the signal in every case.
  [[nodiscard]] virtual send_result forward(const stub& to, signal* s) noexcept = 0;
  /// Whether the cell may be there: its node is connected, and has not said that it ended.
  [[nodiscard]] virtual bool reachable(const stub& to) const noexcept = 0;
  /// A signal was refused before it was made, since its type is not declared.
  virtual void refused_undeclared() noexcept = 0;

protected:
  ~remote_port() = default;
};

/// Whether the handle names a stub that is in use. Any thread, lock-free.
[[nodiscard]] KARYON_API bool find_stub(const address& a, stub& to) noexcept;
/// Throws std::bad_alloc. One lock.
[[nodiscard]] KARYON_API address make_stub(remote_gate& gate, void* peer, std::uint64_t far);
/// From now on its handles say `dead`. Its maker only, once.
KARYON_API void free_stub(const address& a) noexcept;

/// For a port: the signal is discarded, with its cause, and a question answered with it.
KARYON_API send_result refuse_remote(signal* s, send_result why, const exit_reason& reason) noexcept;

}  // namespace karyon::detail
