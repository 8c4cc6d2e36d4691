#include <karyon/matrix/detail/account.hpp>

#include <algorithm>
#include <bit>
#include <thread>

#include "sched/cpu.hpp"

namespace karyon::detail {

namespace {

[[nodiscard]] std::uint32_t stripes_wanted() noexcept {
  return std::bit_ceil(std::clamp(2 * std::thread::hardware_concurrency(), 4U, 256U));
}

}  // namespace

table_account::table_account(std::uint64_t quota_bytes)
    : mask_(stripes_wanted() - 1), quota_bytes_(quota_bytes), stripes_(new stripe[mask_ + 1]) {}

std::uint64_t table_account::sum(std::atomic<std::int64_t> stripe::*which) const noexcept {
  std::int64_t all = 0;
  for (std::uint32_t i = 0; i <= mask_; ++i) all += (stripes_[i].*which).load(std::memory_order_relaxed);
  // Read beside changes, an entry's end may be seen before its beginning.
  return all > 0 ? static_cast<std::uint64_t>(all) : 0;
}

std::uint64_t table_account::entries() const noexcept { return sum(&stripe::entries); }
std::uint64_t table_account::bytes() const noexcept { return sum(&stripe::bytes); }
std::uint64_t table_account::splits() const noexcept { return sum(&stripe::splits); }
std::uint64_t table_account::joins() const noexcept { return sum(&stripe::joins); }
std::uint64_t table_account::contention_splits() const noexcept { return sum(&stripe::contention_splits); }

void wait_for_node(unsigned attempt) noexcept {
  // A lock is had for some ten nanoseconds, unless whoever has it has lost its core: then only the system can help.
  constexpr unsigned pauses = 32;
  if (attempt < pauses) {
    cpu_relax();
  } else {
    std::this_thread::yield();
  }
}

}  // namespace karyon::detail
