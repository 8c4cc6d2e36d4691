#include <karyon/cell/detail/offload.hpp>

#include <new>
#include <string>
#include <utility>

#include "cell/away.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "sched/dirty_pool.hpp"

namespace karyon::detail {

namespace {

/// A cell's work in a pool's queue.
class offload_job final : public pool_job {
public:
  offload_job(runtime_core& core, const address& of, std::unique_ptr<offloaded> work) noexcept
      : core_(core), of_(of), work_(std::move(work)) {}

  void set_request(std::uint64_t token) noexcept { token_ = token; }

  void execute() noexcept override {
    if (!incarnation_alive(of_)) return discard();
    work_->run();
    if (!deliver_answer()) core_.count_offload(offload_loss::late);
    delete this;
  }
  void discard() noexcept override {
    core_.count_offload(offload_loss::skipped);
    delete this;
  }
  void refuse(error why) noexcept {
    work_->refuse(std::move(why));
    static_cast<void>(deliver_answer());
    delete this;
  }

private:
  [[nodiscard]] bool deliver_answer() noexcept {
    return deliver(of_.slot, of_.number, work_->take_answer(token_)) == send_result::accepted;
  }

  runtime_core& core_;
  const address of_;
  std::uint64_t token_ = 0;
  std::unique_ptr<offloaded> work_;
};

error queue_full() noexcept {
  try {
    return {errc::refused,
            "too much offloaded work waits for a thread already (dirty_options::offload_queue_limit): offer less, or "
            "later"};
  } catch (const std::bad_alloc&) {
    return {errc::refused, std::string()};
  }
}

}  // namespace

void begin_offload(cell_slot* self, execution pool, request_ptr then, std::unique_ptr<offloaded> work) {
  runtime_core& core = core_of(self);
  auto* const job = new offload_job(core, self->at(), std::move(work));
  try {
    job->set_request(add_request(self, std::move(then), std::chrono::nanoseconds::max()));
  } catch (...) {
    delete job;
    throw;
  }
  scheduler& workers = core.workers();
  dirty_pool& to = workers.dirty().at(kind_of(pool), workers.at(self->home).node());
  if (workers.simulated()) {
    to.count_simulated();
    return workers.schedule(job, self->home, true);
  }
  switch (to.push(*job)) {
    case dirty_pool::answer::taken: return;
    case dirty_pool::answer::full: return job->refuse(queue_full());
    case dirty_pool::answer::no_thread: return workers.schedule(job, self->home, true);
  }
}

error work_failed() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return {errc::out_of_memory, std::string()};
  } catch (...) {
    const exit_reason why = reason_of_current_exception();
    try {
      std::string words = "the offloaded work threw ";
      words.append(why.type());
      if (!why.text().empty()) words.append(": ").append(why.text());
      return {errc::cell_failed, std::move(words)};
    } catch (const std::bad_alloc&) {
      return {errc::cell_failed, std::string()};
    }
  }
}

}  // namespace karyon::detail
