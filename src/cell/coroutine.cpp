#include <karyon/cell/task.hpp>

#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "core/programmer_error.hpp"

namespace karyon::detail {

namespace {

/// A coroutine that waits is this cell's, and must not be reached from elsewhere.
void require_turn_of(const cell_slot* self) noexcept {
  if (running == nullptr || running->slot != self)
    programmer_error("a task waits within its own cell's handlers, not in another cell's and not on a thread outside");
}

}  // namespace

// ---- frames ----------------------------------------------------------------------------------------------------------

void* allocate_frame(std::size_t bytes) {
  if (running == nullptr || slot_under_construction() != nullptr)
    programmer_error("a task is called by a cell's handler, not by a constructor and not by a thread outside");
  return memory_of(*running->slot).allocate_frame(bytes);
}

void free_frame(void* frame) noexcept { cell_memory::free_frame(frame); }

void refuse_second_wait() noexcept {
  programmer_error("a task, an ask or offloaded work is awaited once: this one was already, or was moved from");
}

// ---- handlers that wait ----------------------------------------------------------------------------------------------

void link_suspended(coroutine_base& handler) noexcept {
  cell_extras& e = *running->slot->extras;
  handler.older = e.suspended;
  if (e.suspended != nullptr) e.suspended->newer = &handler;
  e.suspended = &handler;
  ++e.suspended_count;
}

void unlink_suspended(coroutine_base& handler) noexcept {
  cell_extras& e = *running->slot->extras;
  if (handler.newer != nullptr) {
    handler.newer->older = handler.older;
  } else {
    e.suspended = handler.older;
  }
  if (handler.older != nullptr) handler.older->newer = handler.newer;
  --e.suspended_count;
}

void destroy_suspended(cell_extras& e, const exit_reason& why) noexcept {
  while (e.suspended != nullptr) e.suspended->ops->abandon(*e.suspended, why);
}

std::uint64_t add_awaited_request(cell_slot* self, request_handler& waiting, std::chrono::nanoseconds timeout) {
  require_turn_of(self);
  return add_request(self, request_ptr(&waiting, request_release(false)), timeout);
}

void begin_awaited_offload(cell_slot* self, execution pool, request_handler& waiting, std::unique_ptr<offloaded> work) {
  require_turn_of(self);
  begin_offload(self, pool, request_ptr(&waiting, request_release(false)), std::move(work));
}

// ---- coroutines that wait for a signal ---------------------------------------------------------------------------------

namespace {

void unlink_receiver(cell_extras& e, receiver& r) noexcept {
  receiver_queue& queue = e.receivers[r.position];
  (r.ahead != nullptr ? r.ahead->behind : queue.first) = r.behind;
  (r.behind != nullptr ? r.behind->ahead : queue.last) = r.ahead;
}

}  // namespace

void add_receiver(cell_slot* self, receiver& waiting, std::chrono::nanoseconds timeout) {
  require_turn_of(self);
  cell_extras& e = *self->extras;
  if (e.receivers.size() <= waiting.position) e.receivers.resize(waiting.position + 1);
  if (timeout != std::chrono::nanoseconds::max()) waiting.request = add_awaited_request(self, waiting, timeout);
  receiver_queue& queue = e.receivers[waiting.position];
  waiting.ahead = queue.last;
  (queue.last != nullptr ? queue.last->behind : queue.first) = &waiting;
  queue.last = &waiting;
}

void remove_receiver(receiver& waiting) noexcept { unlink_receiver(*running->slot->extras, waiting); }

request_handler* take_receiver(std::size_t position) noexcept {
  cell_extras* e = running->slot->extras;
  if (e == nullptr || position >= e->receivers.size()) return nullptr;
  receiver* const first = e->receivers[position].first;
  if (first == nullptr) return nullptr;
  unlink_receiver(*e, *first);
  if (first->request != 0) static_cast<void>(take_request(first->request));
  return first;
}

}  // namespace karyon::detail
