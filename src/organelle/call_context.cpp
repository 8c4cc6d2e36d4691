// SPDX-License-Identifier: Apache-2.0
#include "organelle/call_context.hpp"

#include <karyon/cell/detail/ask.hpp>

#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>

#include "cell/slot.hpp"

namespace karyon::detail {

namespace {

/// The watches of cells, by their numbers: one for a cell, however many of its calls monitor something.
class cell_watches {
public:
  [[nodiscard]] std::shared_ptr<caller_watch> find(std::uint64_t caller) noexcept {
    const std::lock_guard lock(mutex_);
    const auto at = watches_.find(caller);
    return at != watches_.end() ? at->second : nullptr;
  }
  void add(std::uint64_t caller, std::shared_ptr<caller_watch> watch) {
    const std::lock_guard lock(mutex_);
    watches_.emplace(caller, std::move(watch));
  }
  void remove(std::uint64_t caller) noexcept {
    const std::lock_guard lock(mutex_);
    watches_.erase(caller);
  }

private:
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<caller_watch>> watches_;
};

cell_watches& all_watches() {
  static auto& watches = *new cell_watches();  // cells may end while the process does
  return watches;
}

/// A request of the cell that nobody answers: it is destroyed when the cell ends.
class end_of_cell final : public request_handler {
public:
  end_of_cell(std::uint64_t caller, std::shared_ptr<caller_watch> watch) noexcept
      : caller_(caller), watch_(std::move(watch)) {}
  ~end_of_cell() override {
    all_watches().remove(caller_);
    watch_->fire();
  }
  void answer(void*) override {}
  void fail(error) override {}

private:
  const std::uint64_t caller_;
  const std::shared_ptr<caller_watch> watch_;
};

/// In the cell's turn.
std::shared_ptr<caller_watch> watch_of(cell_slot* cell) {
  const std::uint64_t caller = caller_number(cell);
  auto watch = all_watches().find(caller);
  if (watch != nullptr) return watch;
  watch = std::make_shared<caller_watch>(caller);
  all_watches().add(caller, watch);
  std::unique_ptr<request_handler> guard;
  try {
    guard = std::make_unique<end_of_cell>(caller, watch);
  } catch (...) {
    all_watches().remove(caller);
    throw;
  }
  static_cast<void>(add_request(cell, std::move(guard), std::chrono::nanoseconds::max()));
  return watch;
}

}  // namespace

std::uint64_t caller_number(cell_slot* cell) noexcept {
  // Addresses of slots have 48 bits; of the incarnation's number enough are left to tell it from those before.
  return reinterpret_cast<std::uint64_t>(cell) ^ (std::uint64_t{cell->number()} << 48);
}

karyon_status call_context::monitor(void* object) noexcept {
  try {
    caller_watch::answer answer{};
    if (pending_ != nullptr) {
      answer = pending_->add(object);
    } else {
      answer = watch_of(cell_)->add(object);
    }
    return answer == caller_watch::answer::done ? KARYON_OK : KARYON_OUT_OF_MEMORY;
  } catch (const std::bad_alloc&) {
    return KARYON_OUT_OF_MEMORY;
  }
}

void adopt_monitors(cell_slot* cell, caller_watch& from) { watch_of(cell)->adopt(from); }

}  // namespace karyon::detail
