#include "supervise/restart_budget.hpp"

namespace karyon::detail {

namespace {
constexpr std::uint32_t chunks_for(std::uint32_t restarts, std::uint32_t size) { return restarts / size + 1; }
}  // namespace

restart_budget::restart_budget(std::uint32_t restarts, std::uint64_t period_ns)
    : restarts_(restarts),
      period_ns_(period_ns),
      chunks_(std::make_unique<std::atomic<chunk*>[]>(chunks_for(restarts, chunk_size))) {}

restart_budget::~restart_budget() {
  for (std::uint32_t i = 0; i < chunks_for(restarts_, chunk_size); ++i)
    delete chunks_[i].load(std::memory_order_relaxed);
}

std::atomic<std::uint64_t>& restart_budget::place(std::uint32_t i) {
  std::atomic<chunk*>& slot = chunks_[i / chunk_size];
  // Acquire pairs with the release of whoever has made the chunk: it is found zeroed.
  chunk* c = slot.load(std::memory_order_acquire);
  if (c == nullptr) {
    auto fresh = std::make_unique<chunk>();
    // Release pairs with the acquire above, and with that of the loser of a race here, who frees its own.
    if (slot.compare_exchange_strong(c, fresh.get(), std::memory_order_acq_rel, std::memory_order_acquire))
      c = fresh.release();
  }
  return c->at[i % chunk_size];
}

bool restart_budget::add(std::uint64_t now_ns) {
  if (restarts_ == 0) return false;
  // Relaxed: the number alone matters. The exchange below decides; its partners are the exchanges on the same place.
  const std::uint64_t k = count_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t before =
      place(static_cast<std::uint32_t>(k % restarts_)).exchange(now_ns + 1, std::memory_order_acq_rel);
  if (k < restarts_) return true;
  // Not written yet: restart k - n is being decided right now, so it is not older than the period.
  return before != 0 && now_ns > before - 1 && now_ns - (before - 1) > period_ns_;
}

}  // namespace karyon::detail
