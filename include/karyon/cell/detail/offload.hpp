#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <karyon/cell/detail/ask.hpp>
#include <karyon/cell/execution.hpp>

namespace karyon::detail {

/// Work that a cell has given away, with the signal that will bring back what it yields: made before the work is begun, so that
/// nothing can fail afterwards.
class offloaded {
public:
  offloaded() = default;
  offloaded(const offloaded&) = delete;
  offloaded& operator=(const offloaded&) = delete;
  virtual ~offloaded() = default;

  /// Does the work, and ends its life; what it yields or throws is the answer. At most once.
  virtual void run() noexcept = 0;
  /// In place of run().
  virtual void refuse(error why) noexcept = 0;
  /// The answer to the cell's request of this number; the caller's from now on. At most once.
  [[nodiscard]] virtual signal* take_answer(std::uint64_t token) noexcept = 0;
};

/// Gives work to a pool; `then` gets a result<R> as from an ask (request_handler), in the cell. For the cell itself, within its own.
/// Throws std::bad_alloc before anything has happened.
KARYON_API void begin_offload(cell_slot* self, execution pool, request_ptr then, std::unique_ptr<offloaded> work);
/// The error for the exception being handled, thrown by offloaded work.
[[nodiscard]] KARYON_API error work_failed() noexcept;

template <class T>
struct offload_answer {
  using type = T;
};
template <class T>
struct offload_answer<result<T>> {
  using type = T;
};
/// What offloaded work of type Work answers with.
template <class Work>
using offload_result = typename offload_answer<std::remove_cvref_t<std::invoke_result_t<Work&>>>::type;

template <class Work>
class typed_offload final : public offloaded {
public:
  using value_type = offload_result<Work>;

  template <class F>
  explicit typed_offload(F&& work)
      : answer_(make_signal<answer_signal<value_type>>(&answer_ops<value_type>, std::uint64_t{0},
                                                       result<value_type>(fail(errc::closed, std::string())))),
        work_(std::in_place, std::forward<F>(work)) {}

  void run() noexcept override {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<Work&>>) {
        (*work_)();
        put(result<void>());
      } else {
        auto yielded = (*work_)();  // a value or a result
        put(std::move(yielded));
      }
    } catch (...) {
      put(tl::unexpected<error>(work_failed()));
    }
    work_.reset();  // what it holds is let go before the cell goes on
  }
  void refuse(error why) noexcept override { put(tl::unexpected<error>(std::move(why))); }
  [[nodiscard]] signal* take_answer(std::uint64_t token) noexcept override {
    answer_->token = token;
    return answer_.release();
  }

private:
  // Anew, since an answer need not be assignable.
  template <class T>
  void put(T&& r) noexcept {
    std::destroy_at(&answer_->value);
    std::construct_at(&answer_->value, std::forward<T>(r));
  }

  signal_ptr<answer_signal<value_type>> answer_;
  std::optional<Work> work_;
};

}  // namespace karyon::detail
