#include <chrono>
#include <memory>
#include <utility>

#include <karyon/cell/runtime.hpp>
#include <karyon/matrix/replicated_table.hpp>

#include "cell/runtime_core.hpp"
#include "sched/scheduler.hpp"
#include "sched/worker.hpp"

namespace karyon::detail {

namespace {

struct catch_up_now {};
struct try_again {};
struct end_keeping {};

/// Keeps the copy on one node: made and changed by a cell that lives there, so its memory is taken from there.
class replica_keeper : public cell {
public:
  using accepts = signals<catch_up_now, try_again, end_keeping>;

  replica_keeper(std::shared_ptr<replica_body> body, std::size_t node) noexcept : body_(std::move(body)), node_(node) {}
  replica_keeper(const replica_keeper&) = delete;
  replica_keeper& operator=(const replica_keeper&) = delete;
  ~replica_keeper() { body_->give_up(); }  // nobody else keeps this copy

  void on_start() { go_on(); }
  void on(catch_up_now) { go_on(); }
  void on(try_again) {
    waits_ = false;
    go_on();
  }
  void on(end_keeping) { exit(); }

private:
  void go_on() {
    constexpr std::chrono::milliseconds again_in(10);
    bool more = true;
    try {
      if (!is_open_) body_->open(node_);
      is_open_ = true;
      more = body_->catch_up(node_);
    } catch (...) {
      // Until then nobody reads the copy. However many changes fail meanwhile, one timer is enough.
      if (!waits_) static_cast<void>(send_after(self(this), try_again{}, again_in));
      waits_ = true;
      return;
    }
    if (more) static_cast<void>(self(this).send(catch_up_now{}));
  }

  std::shared_ptr<replica_body> body_;
  std::size_t node_;
  bool is_open_ = false;
  bool waits_ = false;  // to try again
};

}  // namespace

void start_replica_keepers(runtime& rt, const std::shared_ptr<replica_body>& body) {
  const std::size_t nodes = rt.nodes();
  if (nodes < 2) return;
  body->prepare(nodes);
  body->keepers.reserve(nodes);
  body->scheduler = &rt.core().workers();
  try {
    for (std::size_t n = 0; n < nodes; ++n) {
      body->keepers.push_back(rt.spawn_at<replica_keeper>(placement::on_node(static_cast<std::uint32_t>(n)), body, n));
    }
  } catch (...) {
    end_replica_keepers(*body);
    throw;
  }
}

std::size_t replica_body::node_here() const noexcept {
  const worker* const mine = worker_at_hand();
  return mine != nullptr && &mine->owner() == scheduler ? mine->node() : no_node;
}

void wake_replica_keepers(const replica_body& body) noexcept {
  // One that is not told now, for want of memory, is told with the next change; until then its copy is not read.
  for (const cell_ref& keeper : body.keepers) {
    try {
      static_cast<void>(keeper.send(catch_up_now{}));
    } catch (...) {
    }
  }
}

void end_replica_keepers(const replica_body& body) noexcept {
  for (const cell_ref& keeper : body.keepers) {
    try {
      static_cast<void>(keeper.send(end_keeping{}));
    } catch (...) {
    }
  }
}

}  // namespace karyon::detail
