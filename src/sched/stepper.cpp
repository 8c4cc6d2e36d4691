#include "sched/stepper.hpp"

#include <utility>

namespace karyon::detail {

namespace {

/// While one of these lives, the calling thread is this worker.
class as_worker {
public:
  explicit as_worker(worker* w) noexcept : previous_(std::exchange(current_worker, w)) {}
  ~as_worker() { current_worker = previous_; }
  as_worker(const as_worker&) = delete;
  as_worker& operator=(const as_worker&) = delete;

private:
  worker* previous_;
};

}  // namespace

stepper::stepper(scheduler& s) : owner_(s), waiting_(s.size()) {}

stepper::~stepper() {
  for (unsigned i = 0; i < owner_.size(); ++i) {
    for (const entry& e : waiting_[i]) (e.pinned ? owner_.at(i).pinned_ : owner_.at(i).queue_).push(e.what);
  }
}

void stepper::collect() {
  for (unsigned i = 0; i < owner_.size(); ++i) collect(i);
}

void stepper::collect(unsigned index) {
  worker& w = owner_.at(index);
  std::vector<entry>& to = waiting_[index];
  while (task* t = w.pop_unpinned()) to.push_back({t, false});
  while (task* t = w.pinned_.pop()) to.push_back({t, true});
  while (task* t = w.high_.pop()) to.push_back({t, true});
  const auto all = [&to, &w](task* newest, bool pinned) {
    for (task* t = newest; t != nullptr; t = t->next) {
      to.push_back({t, pinned});
      ++w.taken_count_;
    }
  };
  all(w.inbox_.take_all(), false);
  all(w.pinned_inbox_.take_all(), true);
  all(w.high_inbox_.take_all(), true);
}

stepper::taken stepper::take(unsigned from, std::size_t i, std::uint64_t where) noexcept {
  std::vector<entry>& of = waiting_[from];
  const entry chosen = of[i];
  of[i] = of.back();
  of.pop_back();
  worker& home = owner_.at(from);
  if (chosen.pinned) return {chosen.what, &home};
  const worker_binding& binding = home.binding();
  const std::size_t near = binding.steal_order.size();
  const std::size_t others = near + binding.steal_remote.size();
  const std::size_t choice = static_cast<std::size_t>(where % (others + 1));
  unsigned to = from;
  if (choice != others) to = choice < near ? binding.steal_order[choice] : binding.steal_remote[choice - near];
  // One that is switched off is given nothing, and keeps nothing.
  if (!owner_.is_active(to)) to = owner_.route(from);
  worker& runner = owner_.at(to);
  const bool moves = to != from && runner.node() == home.node();
  // Where threads do it by load, chance does: now and then what another runs gets its home there.
  if (moves && (!owner_.is_active(from) || (where >> 32u) % 16 == 0)) home.rehome(chosen.what, to);
  return {chosen.what, &runner};
}

void stepper::run(const taken& t, std::uint32_t signals_per_turn) {
  const as_worker scope(t.where);
  owner_.signals_per_turn_ = signals_per_turn;
  t.what->run(t.what, *t.where);
  ++t.where->turns_;
  t.where->publish();
}

std::uint64_t stepper::next_timer_ns(unsigned worker) const noexcept { return owner_.at(worker).wheel_.next_ns(); }

void stepper::fire_timers(unsigned index, std::uint64_t now_ns) {
  worker& w = owner_.at(index);
  const as_worker scope(&w);
  w.release_cancelled();
  if (!w.wheel_.empty()) w.wheel_.advance(now_ns, w);
}

void stepper::release_cancelled(unsigned index) {
  worker& w = owner_.at(index);
  const as_worker scope(&w);
  w.release_cancelled();
}

void stepper::show_time(std::uint64_t now_ns) noexcept { owner_.pulse_.show(now_ns >> timer_wheel::tick_shift); }

}  // namespace karyon::detail
