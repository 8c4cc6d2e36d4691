#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>

#include <karyon/cell/ref.hpp>

namespace karyon {

namespace detail {

struct task;

/// Sends to many from one thread: fetches the receivers' memory ahead, and hands woken cells over to their workers by the
/// dozen. Nothing waits longer than the call.
class KARYON_API bulk_sender {
public:
  bulk_sender() noexcept = default;
  ~bulk_sender() { flush(); }
  bulk_sender(const bulk_sender&) = delete;
  bulk_sender& operator=(const bulk_sender&) = delete;

  static void fetch(const cell_slot* slot) noexcept;
  send_result send(const address& to, bool role, signal* s) noexcept;
  void flush() noexcept;

private:
  struct chain {
    void* target = nullptr;  // the worker
    task* first = nullptr;
    task* last = nullptr;
    std::size_t size = 0;
  };
  void wake(cell_slot& slot) noexcept;
  static void hand_over(chain& c) noexcept;
  std::array<chain, 8> chains_;
  std::size_t next_ = 0;
};

/// One immutable payload for all receivers.
template <class T>
struct shared_signal : signal {
  std::shared_ptr<const T> payload;
  std::uint32_t hops = 0;  // of what came over a bus (karyon/nerve)
  shared_signal(const signal_ops* o, std::shared_ptr<const T> p) noexcept : signal(o), payload(std::move(p)) {}
};

template <class C, class T>
void invoke_shared(void* object, signal& s) {
  const T& shared = *static_cast<shared_signal<T>&>(s).payload;
  if constexpr (!uses_behaviors<C>() && !uses_tasks<C> && requires(C & c) { c.on(shared); }) {
    (void)static_cast<C*>(object)->on(shared);
  } else {
    T copy = shared;
    run_handler(*static_cast<C*>(object), copy, nullptr);
  }
}

template <class T>
void discard_shared(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<shared_signal<T>*>(s));
}

template <class C, class T>
inline constexpr signal_ops shared_ops{&invoke_shared<C, T>,
                                       &discard_shared<T>,
                                       type_name<T>(),
                                       false,
                                       false,
                                       false,
                                       0,
                                       &invoke_shared<C, T>,
                                       &site_of<C, T>,
                                       nullptr,
                                       is_high_signal<C, T>(),
                                       remote_shared_of<C, T>()};

template <class Handle>
inline constexpr bool names_role = false;
template <class C>
inline constexpr bool names_role<child<C>> = true;

}  // namespace detail

/// How a broadcast went; `accepted` and the rest add up to the number of receivers.
struct broadcast_result {
  std::size_t accepted = 0;
  std::size_t refused = 0;  ///< dead, restarting, full or dropped; each is counted by cause in runtime_metrics
};

/// Sends the same value to each of a range of ref<C> or child<C>. Small trivially copyable values are copied into each
/// signal, others are shared: one immutable payload, which handlers that take `const T&` see without a copy.
///
/// Order as with single sends, to each receiver. Faster than a loop of sends where the receivers are many and idle: their
/// memory is fetched ahead, and workers are handed what they have to run in groups; all is handed over when it returns.
/// Any thread. Throws std::bad_alloc, or what copying T throws, after having sent to a part of the range.
template <std::ranges::random_access_range Handles, class T>
broadcast_result broadcast(const Handles& to, const T& value) {
  using receiver = std::ranges::range_value_t<Handles>;
  using C = typename receiver::cell_type;
  detail::check_signal<C, T>();
  constexpr std::size_t ahead = 12;
  // What is conflated by key replaces another's value: each needs its own.
  constexpr bool copied = (std::is_trivially_copyable_v<T> && sizeof(T) <= 64) || detail::is_conflated<C, T>();
  const auto first = std::ranges::begin(to);
  const auto n = static_cast<std::size_t>(std::ranges::size(to));
  std::shared_ptr<const T> shared;
  if constexpr (!copied) shared = std::make_shared<const T>(value);
  detail::bulk_sender sender;
  broadcast_result result;
  for (std::size_t i = 0; i < n; ++i) {
    if (i + ahead < n)
      detail::bulk_sender::fetch(detail::handle_access::of(first[static_cast<std::ptrdiff_t>(i + ahead)]).slot);
    detail::signal* s = nullptr;
    if constexpr (copied) {
      s = detail::make_signal<detail::payload_signal<T>>(&detail::tell_ops<C, T>, value);
    } else {
      s = detail::make_signal<detail::shared_signal<T>>(&detail::shared_ops<C, T>, shared);
    }
    const send_result sent =
        sender.send(detail::handle_access::of(first[static_cast<std::ptrdiff_t>(i)]), detail::names_role<receiver>, s);
    ++(ok(sent) ? result.accepted : result.refused);
  }
  return result;
}

}  // namespace karyon
