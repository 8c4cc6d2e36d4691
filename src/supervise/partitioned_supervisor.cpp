#include <karyon/supervise/partitioned_supervisor.hpp>

#include <atomic>
#include <string>
#include <utility>

#include "cell/runtime_core.hpp"
#include "core/programmer_error.hpp"
#include "sched/worker.hpp"

namespace karyon {

struct partitioned_supervisor::parts {
  ordered_supervisor above;
  std::vector<supervisor> each;
  detail::scheduler* workers = nullptr;  // looked at on its own threads only
  partition_by by = partition_by::hash;
  std::atomic<std::uint64_t> turn{0};
};

namespace {

constexpr std::size_t partitions_most = 65'536;

// What a partition stands for is in its id, so that a started tree can be told from others.
const char* prefix_of(partition_by by) noexcept {
  switch (by) {
    case partition_by::worker: return "worker ";
    case partition_by::node: return "node ";
    default: return "partition ";
  }
}

std::size_t count_of(runtime& rt, const partition_options& o) noexcept {
  switch (o.by) {
    case partition_by::worker: return rt.workers();
    case partition_by::node: return rt.nodes();
    default: return o.partitions != 0 ? o.partitions : rt.workers();
  }
}

tl::unexpected<error> wrong(std::string what) {
  return fail(errc::invalid_argument, "partition_options: " + std::move(what));
}

}  // namespace

result<supervisor_spec> partitioned_supervisor::spec(runtime& rt, const partition_options& options) {
  if (options.by > partition_by::node) return wrong("by: is none of its values");
  if (options.by != partition_by::hash && options.partitions != 0) {
    return wrong("partitions: is the number of workers or nodes here, and must be 0");
  }
  const std::size_t n = count_of(rt, options);
  if (n > partitions_most) return wrong("partitions: must be at most " + std::to_string(partitions_most));
  if (auto fine = check(options.each); !fine) return wrong("each: " + fine.error().message());
  supervisor_spec tree;
  tree.intensity = options.intensity;
  for (std::size_t i = 0; i < n; ++i) {
    supervisor_options each = options.each;
    if (options.by == partition_by::worker) each.where = placement::on_worker(static_cast<std::uint32_t>(i));
    if (options.by == partition_by::node) each.where = placement::on_node(static_cast<std::uint32_t>(i));
    tree.children.push_back(child_spec::dynamic(prefix_of(options.by) + std::to_string(i), each));
  }
  if (auto fine = check(tree); !fine) return wrong(fine.error().message());
  return tree;
}

result<partitioned_supervisor> partitioned_supervisor::start(runtime& rt, const partition_options& options) {
  auto tree = spec(rt, options);
  if (!tree) return tl::unexpected<error>(tree.error());
  return rt.start(*tree).and_then([&](const ordered_supervisor& started) { return of(rt, started); });
}

result<partitioned_supervisor> partitioned_supervisor::of(runtime& rt, const ordered_supervisor& tree) {
  auto made = std::make_shared<parts>();
  made->above = tree;
  made->workers = &rt.core().workers();
  if (tree) {
    for (const partition_by by : {partition_by::hash, partition_by::worker, partition_by::node}) {
      if (tree.find_any(prefix_of(by) + std::string("0")).as_dynamic()) made->by = by;
    }
    while (auto s = tree.find_any(prefix_of(made->by) + std::to_string(made->each.size())).as_dynamic()) {
      made->each.push_back(std::move(s));
    }
  }
  if (made->each.empty() || made->each.size() != tree.count().specs) {
    return fail(errc::invalid_argument, "this tree was not made by partitioned_supervisor::spec");
  }
  return partitioned_supervisor(std::move(made));
}

supervisor partitioned_supervisor::by_number(std::uint64_t number) const {
  if (parts_ == nullptr) {
    detail::programmer_error("this partitioned_supervisor is empty: it comes from partitioned_supervisor::start");
  }
  return parts_->each[number % parts_->each.size()];
}

supervisor partitioned_supervisor::partition(std::size_t index) const noexcept {
  return index < partitions() ? parts_->each[index] : supervisor();
}

supervisor partitioned_supervisor::here() const {
  const detail::worker* w = detail::worker_at_hand();
  if (parts_ != nullptr && parts_->by != partition_by::hash && w != nullptr && &w->owner() == parts_->workers) {
    return by_number(parts_->by == partition_by::worker ? w->index() : w->node());
  }
  return by_number(parts_ != nullptr ? parts_->turn.fetch_add(1, std::memory_order_relaxed) : 0);
}

std::size_t partitioned_supervisor::partitions() const noexcept { return parts_ != nullptr ? parts_->each.size() : 0; }

std::size_t partitioned_supervisor::children() const noexcept {
  std::size_t n = 0;
  for (std::size_t i = 0; i < partitions(); ++i) n += parts_->each[i].children();
  return n;
}

std::uint64_t partitioned_supervisor::restarts() const noexcept {
  std::uint64_t n = parts_ != nullptr ? parts_->above.restarts() : 0;
  for (std::size_t i = 0; i < partitions(); ++i) n += parts_->each[i].restarts();
  return n;
}

void partitioned_supervisor::stop() {
  if (parts_ != nullptr) parts_->above.stop();
}

void partitioned_supervisor::exit(exit_reason why) {
  if (parts_ != nullptr) parts_->above.exit(std::move(why));
}

std::optional<exit_reason> partitioned_supervisor::ended() const {
  return parts_ != nullptr ? parts_->above.ended() : std::nullopt;
}

bool partitioned_supervisor::wait_ended(std::chrono::nanoseconds timeout) const {
  return parts_ != nullptr && parts_->above.wait_ended(timeout);
}

}  // namespace karyon
