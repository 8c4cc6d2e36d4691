#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <karyon/cell/detail/signal.hpp>

namespace karyon::detail {

/// The handler types that a runtime has moved to its dirty CPU pool, though their classes do not say so.
///
/// Asked for each signal of a type that some runtime of the process has moved (handler_site::elsewhere), so a look takes no lock:
/// a table of fixed size, open addressing, from which nothing is ever taken out. Each place is 0, or a site's address with the
/// lowest bit set while it is moved. Places change under the lock; all orders are relaxed, since a site is never written to nor
/// freed, and a look that comes too early is made up for by the next signal's.
///
/// Any thread.
class moved_handlers {
public:
  static constexpr std::size_t sites_max = 192;

  moved_handlers() = default;
  moved_handlers(const moved_handlers&) = delete;
  moved_handlers& operator=(const moved_handlers&) = delete;
  ~moved_handlers();

  [[nodiscard]] bool has(const handler_site& site) const noexcept;
  /// False if it has been moved already, or if too many others were.
  bool add(handler_site& site) noexcept;
  /// False if it is not there.
  bool remove(handler_site& site) noexcept;
  template <class F>
  void for_each(F&& f) const {
    for (const auto& place : places_) {
      const std::uintptr_t p = place.load(std::memory_order_relaxed);
      if ((p & moved) != 0) f(*reinterpret_cast<handler_site*>(p & ~moved));
    }
  }

private:
  static constexpr std::size_t size = 256;
  static constexpr std::uintptr_t moved = 1;
  /// Where the site is, or would be.
  [[nodiscard]] std::size_t place_of(const handler_site& site) const noexcept;

  std::array<std::atomic<std::uintptr_t>, size> places_{};
  std::size_t sites_ = 0;  // mutex_
  std::mutex mutex_;
};

}  // namespace karyon::detail
