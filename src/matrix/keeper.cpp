#include <mutex>
#include <utility>

#include <karyon/cell/runtime.hpp>
#include <karyon/matrix/owned_table.hpp>

namespace karyon::detail {

namespace {

struct give_to {
  cell_ref whom;
  std::string data;
};
struct inherit_by {
  cell_ref whom;
  std::string data;
};
struct end_now {};

// Slots stay for as long as the process lives; those without a table wait here for the next one.
constinit std::mutex slots_lock;
owned_table_slot* free_slots = nullptr;  // slots_lock

owned_table_slot* take_slot() {
  {
    const std::lock_guard lock(slots_lock);
    if (free_slots != nullptr) return std::exchange(free_slots, free_slots->next_free);
  }
  return new owned_table_slot();
}

void give_slot_back(owned_table_slot* slot) noexcept {
  const std::lock_guard lock(slots_lock);
  slot->next_free = free_slots;
  free_slots = slot;
}

/// Watches over a table's owner, and holds the table: one a table. What it does is in the order in which it is told.
class table_keeper : public cell {
public:
  using accepts = signals<give_to, inherit_by, end_now>;

  table_keeper(owned_table_body* body, kept_table how) : body_(body), how_(std::move(how)) {
    body->keeper = self();
    // Release pairs with the acquires of with_keeper, table_ref::use and table_ref::alive: who finds the body sees its number, its
    // keeper and the table.
    body->slot->body.store(body, std::memory_order_release);
  }

  void on_start() { watched_ = monitor(how_.owner); }

  void on(const down& d) {
    if (d.id != watched_ || body_ == nullptr) return;
    if (!how_.heir) return drop();
    hand_over(how_.heir, how_.heir_data);
  }
  void on(const give_to& to) {
    if (body_ != nullptr) hand_over(to.whom, to.data);
  }
  void on(inherit_by heir) {
    how_.heir = heir.whom;
    how_.heir_data = std::move(heir.data);
  }
  void on(end_now) { drop(); }
  /// However it ends, the table does not outlive it: nobody would watch over its owner.
  void on_exit(const exit_reason&) { end_body(); }

private:
  // By value: it may be the heir, who is forgotten here.
  void hand_over(cell_ref to, const std::string& data) {
    const cell_ref from = how_.owner;
    demonitor(watched_);
    watched_ = monitor(to);  // `down` comes at once if it has ended
    how_.owner = to;
    if (to == how_.heir) how_.heir = cell_ref();
    if (!to.alive() || body_->tell(to, from, data) == send_result::dead) drop();
  }
  void drop() {
    end_body();
    exit();
  }
  void end_body() noexcept {
    if (body_ == nullptr) return;
    owned_table_slot* const slot = body_->slot;
    slot->body.store(nullptr, std::memory_order_relaxed);  // who sees it looks at nothing; retire waits for the others
    {
      epoch_pin pin;
      retire(pin.record(), std::exchange(body_, nullptr));
    }
    give_slot_back(slot);
  }

  owned_table_body* body_;
  kept_table how_;
  monitor_id watched_;
};

/// Calls f(keeper) of a table that there is.
template <class F>
bool with_keeper(const owned_table_slot& slot, std::uint64_t number, const F& f) {
  const epoch_pin pin;
  // Acquire pairs with the release of table_keeper's constructor: who finds the body sees its number and its keeper.
  const owned_table_body* const body = slot.body.load(std::memory_order_acquire);
  return body != nullptr && body->number == number && f(body->keeper) == send_result::accepted;
}

}  // namespace

std::uint64_t next_table_number() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

result<owned_table_slot*> keep_table(runtime& rt, owned_table_body& body, kept_table how) {
  if (!how.owner.alive()) return fail(errc::dead, "the cell that was to own the table has ended");
  if (how.heir && !how.heir.alive()) return fail(errc::dead, "the cell that was to inherit the table has ended");
  owned_table_slot* const slot = take_slot();
  body.slot = slot;
  try {
    rt.spawn<table_keeper>(&body, std::move(how));
  } catch (const runtime_error& e) {
    give_slot_back(slot);
    return tl::unexpected<error>(e.why());
  } catch (...) {
    give_slot_back(slot);
    throw;
  }
  return slot;
}

bool give_table_away(const owned_table_slot& slot, std::uint64_t number, const cell_ref& to, std::string data) {
  return with_keeper(slot, number, [&](const cell_ref& keeper) { return keeper.send(give_to{to, std::move(data)}); });
}

bool set_table_heir(const owned_table_slot& slot, std::uint64_t number, const cell_ref& heir, std::string data) {
  return with_keeper(slot, number, [&](const cell_ref& keeper) {
    return keeper.send(inherit_by{heir, std::move(data)});
  });
}

bool end_table(const owned_table_slot& slot, std::uint64_t number) {
  return with_keeper(slot, number, [](const cell_ref& keeper) { return keeper.send(end_now{}); });
}

tl::unexpected<error> table_gone() {
  return fail(errc::dead, "the table has ended: its owner has, and no heir was left");
}

}  // namespace karyon::detail
