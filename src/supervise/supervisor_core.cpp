#include "supervise/supervisor_core.hpp"

#include <new>
#include <string>
#include <utility>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "supervise/kept_spec.hpp"

namespace karyon::detail {

supervisor_core::supervisor_core(runtime_core& rt, const supervisor_options& options)
    : runtime_(rt), options_(options), counts_(options.max_children != 0 || options.intensity_share > 0) {
  // One that the runtime does not have is refused here, not at each child's start.
  const placement::kind how = options.where.how;
  if (how == placement::kind::node || how == placement::kind::worker) static_cast<void>(rt.choose(options.where));
  for (unsigned i = 0; i < rt.workers().size(); ++i) shards_.push_back(std::make_unique<shard>(*this, i));
}

// ---- start and end -------------------------------------------------------------------------------------------------

void supervisor_core::begin_start(node_parent& parent, const std::string& path) noexcept {
  try {
    limits_ = std::make_unique<restart_limits>(options_);
    path_ = path;
  } catch (const std::bad_alloc&) {
    return parent.child_reports(*this, node_parent::report::start_failed,
                                reason_of_current_exception(exit_reason::kind::start_failed));
  }
  parent_ = &parent;
  // One more than there are shards: no end is reported before the start.
  units_.store(shards_.size() + 1, std::memory_order_relaxed);
  // Under the room's lock, so that nobody asks it to end half open.
  room_.change([this] {
    phase_ = phase::live;
    why_ = {};
    // Release pairs with the acquire of stopping(): who finds it running sees its path and its limits.
    stopping_.store(false, std::memory_order_release);
    for (const auto& s : shards_) s->open();
  });
  parent.child_reports(*this, node_parent::report::started, {});
  drop_unit();
}

bool supervisor_core::add_unit() noexcept {
  // Relaxed: the caller holds the room's lock, under which the last start was made.
  std::size_t n = units_.load(std::memory_order_relaxed);
  while (n != 0 && !units_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) {
  }
  return n != 0;
}

void supervisor_core::drop_unit() noexcept {
  // Acquire-release pairs with that of the others: whoever is last has seen all that the shards did.
  if (units_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const auto self = shared_from_this();  // its parent and its handles may let it go as soon as they know
  node_parent& parent = *parent_;
  exit_reason why;
  room_.change([&] {
    phase_ = phase::idle;
    ++ends_;
    why = why_;
  });
  parent.child_reports(*this, node_parent::report::ended, why);
}

void supervisor_core::request_exit(const exit_reason& why) noexcept {
  if (why.why() == exit_reason::kind::normal) return;
  const bool kills = why.why() == exit_reason::kind::killed;
  bool entered = false;
  room_.change([&] {
    const bool begins = phase_ == phase::live;
    const bool hardens = phase_ == phase::stopping && kills && why_.why() != exit_reason::kind::killed;
    if ((!begins && !hardens) || !add_unit()) return;  // a unit, so that the end, and a new start, wait for us
    entered = true;
    phase_ = phase::stopping;
    why_ = why;
    // Release pairs with the acquire of stopping(): who is refused sees what was done before it was told to end.
    stopping_.store(true, std::memory_order_release);
    // Under the lock: a kill that overtook a stop on its way to the shards would find one of them still open, and be lost. Our
    // unit keeps a shard that ends at once from ending the supervisor here, which takes the lock.
    for (const auto& s : shards_) {
      if (begins) {
        s->close(kills);
      } else {
        s->kill();
      }
    }
  });
  if (entered) drop_unit();
}

bool supervisor_core::wait_ended(std::chrono::nanoseconds timeout) const {
  return room_.wait([this] { return phase_ == phase::idle; }, timeout);
}

void supervisor_core::stop(bool waits) {
  const auto [over, lives] = room_.read([this] { return std::pair(phase_ == phase::idle, ends_); });
  if (over) return;
  request_exit(exit_reason::shutdown());
  // Its own supervisor may start it again before we look.
  if (waits) room_.wait([this, n = lives] { return ends_ != n; });
}

std::optional<exit_reason> supervisor_core::ended() const {
  return room_.read([this] { return phase_ == phase::idle ? std::optional(why_) : std::nullopt; });
}

void supervisor_core::significant_ended() noexcept {
  // Acquire pairs with let_go's release: who sees none left sees that the others have ended.
  if (options_.auto_shutdown == auto_shutdown::any_significant ||
      (options_.auto_shutdown == auto_shutdown::all_significant && significant_.load(std::memory_order_acquire) == 0)) {
    request_exit(exit_reason::shutdown());
  }
}

// ---- children ------------------------------------------------------------------------------------------------------

namespace {
runtime_error closed() {
  return runtime_error(error(errc::closed, "the supervisor is ending, or has ended: no child is started any more"));
}
}  // namespace

void supervisor_core::check_running() const {
  if (stopping()) throw closed();
}

std::vector<shard*> supervisor_core::choose_all(placement where) {
  shard& one = choose(where, 0);  // also checks the index
  if (where.how == placement::kind::parent) where = options_.where;
  if (where.how == placement::kind::worker) return {&one};
  std::vector<shard*> chosen;
  for (const auto& s : shards_) {
    if (where.how != placement::kind::node || runtime_.workers().at(s->worker_index()).node() == where.index) {
      chosen.push_back(s.get());
    }
  }
  return chosen;
}

shard& supervisor_core::choose(placement where, std::uint32_t number) {
  check_running();  // first: a supervisor that has ended may be held beyond its runtime
  if (where.how == placement::kind::parent) where = options_.where;
  if (where.how == placement::kind::parent || where.how == placement::kind::spread) {
    return *shards_[number % shards_.size()];
  }
  return *shards_[runtime_.choose(where).home];
}

/// One more child; false at max_children.
bool supervisor_core::admit() noexcept {
  if (!counts_) return true;
  // Not added first and taken back: that would refuse a child that has a place while another is being refused.
  const std::uint64_t most = options_.max_children != 0 ? options_.max_children : ~std::uint64_t{0};
  std::uint64_t n = counted_.load(std::memory_order_relaxed);
  do {
    if (n >= most) return false;
  } while (!counted_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed));
  return true;
}

void supervisor_core::let_go(bool significant) noexcept {
  // Release pairs with the acquire of children(): whoever sees the count sees the child's handle dead.
  if (counts_) counted_.fetch_sub(1, std::memory_order_release);
  // Release pairs with the acquire of significant_ended. Of two that end at once on two shards, the second sees that it is the last:
  // each looks after its own change of this one number.
  if (significant) significant_.fetch_sub(1, std::memory_order_release);
}

std::size_t supervisor_core::children() const noexcept {
  // One number, changed once a child, and never above max_children: a shard counts who comes before it is admitted, and who goes
  // after its place is free.
  if (counts_) return counted_.load(std::memory_order_acquire);  // partner: let_go
  std::size_t n = 0;
  for (const auto& s : shards_) n += s->size();
  return n;
}

void supervisor_core::enter(shard& on) {
  if (!on.who().enter_child()) throw closed();
  if (admit()) return;
  if (on.who().leave_child()) on.say_ended();
  throw runtime_error(error(errc::refused, "the supervisor has its " + std::to_string(options_.max_children) +
                                               " children already (supervisor_options::max_children)"));
}

namespace {

/// A place in a shard for a child that is being started; given back unless the child takes it over.
class place_for_child {
public:
  place_for_child(supervisor_core& core, shard& on) : core_(core), shard_(on) { core.enter(on); }
  place_for_child(const place_for_child&) = delete;
  place_for_child& operator=(const place_for_child&) = delete;
  ~place_for_child() {
    if (taken_) return;
    core_.let_go(false);
    if (shard_.who().leave_child()) shard_.say_ended();
  }
  void taken() noexcept { taken_ = true; }

private:
  supervisor_core& core_;
  shard& shard_;
  bool taken_ = false;
};

}  // namespace

address supervisor_core::start(shard& on, child_factory& factory, std::uint32_t index, bool joins, start_note* note) {
  const auto release_factory = [](child_factory* f) { f->release(1); };
  std::unique_ptr<child_factory, decltype(release_factory)> held(&factory, release_factory);
  const child_options& options = factory.options();
  place_for_child place(*this, on);
  cell_slot& s = take_slot(runtime_, factory.info(), runtime_.workers().at(on.worker_index()).node());
  s.home = static_cast<std::uint16_t>(on.worker_index());
  s.flags = 0;
  const placement::kind how = options.where.how == placement::kind::parent ? options_.where.how : options.where.how;
  s.set(cell_slot::pinned, how == placement::kind::worker);
  if (options.mailbox != mailbox_policy::dropped) keep_mailbox(s, options.mailbox == mailbox_policy::kept);
  s.keeper_index = index;
  s.keeper_bits.store(0, std::memory_order_relaxed);
  keep_factory(s, factory);
  const std::uint32_t role = begin_role(s, on);
  begin_incarnation(s, factory.info());
  const auto give_up_slot = [&](const exit_reason& why) {
    abandon_incarnation(s, why);
    discard_kept(s, why);
    end_role(s);
    if (backend_release(s)) release_slot(s);
    runtime_.count(&cell_counters::ended);
  };
  try {
    const construction_scope scope(&s);
    std::optional<start_note_scope> notes;
    if (note != nullptr) notes.emplace(*note, s);
    factory.construct(s.object(), index);
  } catch (const ignore_start&) {
    give_up_slot(exit_reason::normal());
    return {};
  } catch (...) {
    give_up_slot(reason_of_current_exception(exit_reason::kind::start_failed));
    throw;
  }
  if (options.restart == restart_type::temporary) {
    keep_temporary(s, options);
  } else {
    held.release();  // the slot's, until the shard forgets it
  }
  place.taken();
  if (options.significant) significant_started();
  if (joins) {
    on.join(s);
  } else {
    on.take_in(s);
  }
  launch_cell(s);
  return {&s, role};
}

std::shared_ptr<supervisor_node> make_dynamic_node(runtime_core& rt, const supervisor_options& options) {
  return std::make_shared<supervisor_core>(rt, options);
}

}  // namespace karyon::detail
