#include "cell/links.hpp"

#include <array>
#include <atomic>
#include <new>
#include <utility>

#include "cell/extras.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "core/programmer_error.hpp"

namespace karyon::detail {

namespace {

// Each of these travels as a signal of the runtime's own, and acts on the cell that runs it (`running`).

/// exit/2, a supervisor's or the runtime's request to end.
struct exit_request : signal {
  address from;
  exit_reason why;
  static const signal_ops ops;
  exit_request(const address& f, exit_reason w) noexcept : signal(&ops), from(f), why(std::move(w)) {}
};

void doom(const exit_reason& why) {
  running->doomed = true;
  running->why = why;
}

/// The exit signal reaches a cell that traps, as a value; false if its class has no handler for it.
bool trap(void* object, const address& from, const exit_reason& why) {
  cell_slot& s = *running->slot;
  if (!s.has(cell_slot::trapping)) return false;
  const auto handler = s.info.load(std::memory_order_relaxed)->trapped_exit;
  if (handler == nullptr) return false;
  handler(object, exit_signal{handle_access::make<cell_ref>(from), why});
  return true;
}

void run_exit_request(void* object, signal& s) {
  const auto& request = static_cast<exit_request&>(s);
  const bool from_self = request.from == running->slot->at();
  if (request.why.why() == exit_reason::kind::killed) return doom(request.why);
  if (trap(object, request.from, request.why)) return;
  // As in Erlang: `normal` from another ends nobody.
  if (request.why.why() != exit_reason::kind::normal || from_self) doom(request.why);
}

void discard_exit_request(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<exit_request*>(s));
}

const signal_ops exit_request::ops{&run_exit_request, &discard_exit_request, "karyon::exit", true, false, true};

}  // namespace

// ---- links and monitors --------------------------------------------------------------------------------------------

/// One node serves for all that is said about a link or monitor, there and back: a request that finds its receiver gone goes
/// back as the news of that, a monitor's request stays with the receiver and becomes its `down`.
/// `what` as in bond_news.
struct bond_signal : signal {
  enum what : std::uint8_t { link, unlink, unlinked, monitor, demonitor, exit, down };
  /// What discard does with the node, once it was looked at by its receiver; `unseen` if it was not.
  enum fate : std::uint8_t { unseen, done, kept, acknowledged };

  what tells = link;
  fate next_fate = unseen;
  address from;
  address to;
  std::uint64_t id = 0;  // of the unlink or monitor
  exit_reason why;
  bond_signal() noexcept;
};

void bond_deleter::operator()(bond_signal* b) const noexcept { destroy_signal(b); }

namespace {

void send(bond_ptr b, bond_signal::what tells, address from, address to, std::uint64_t id,
          const exit_reason& why = {}) noexcept;

void accept_link(cell_slot& self, bond_signal& b) {
  cell_extras& e = extras_of(self);
  const auto [end, fresh] = e.links.try_emplace(b.from);
  b.next_fate = fresh ? bond_signal::kept : bond_signal::done;
  if (!fresh) return;
  end->second.notice.reset(&b);
  end->second.order = ++e.links_made;
}

void accept_unlink(cell_extras* e, bond_signal& b) noexcept {
  b.next_fate = bond_signal::acknowledged;
  if (e == nullptr) return;
  // If this side is unlinking too, it waits for its own acknowledgement all the same.
  const auto found = e->links.find(b.from);
  if (found != e->links.end() && found->second.unlinking == 0) e->links.erase(found);
}

void accept_acknowledgement(cell_extras* e, bond_signal& b) noexcept {
  b.next_fate = bond_signal::done;
  if (e == nullptr) return;
  const auto found = e->links.find(b.from);
  if (found != e->links.end() && found->second.unlinking == b.id) e->links.erase(found);
}

void accept_exit(void* object, cell_extras* e, bond_signal& b) {
  b.next_fate = bond_signal::done;
  if (e == nullptr) return;
  const auto found = e->links.find(b.from);
  if (found == e->links.end()) return;
  const bool linked = found->second.unlinking == 0;
  e->links.erase(found);
  if (!linked || trap(object, b.from, b.why)) return;
  if (b.why.why() != exit_reason::kind::normal) doom(b.why);
}

void accept_down(void* object, cell_slot& self, bond_signal& b) {
  b.next_fate = bond_signal::done;
  if (self.extras == nullptr || self.extras->monitors.erase(b.id) == 0) return;  // no longer monitored
  const auto handler = self.info.load(std::memory_order_relaxed)->monitored_down;
  if (handler != nullptr) handler(object, down{monitor_id{b.id}, handle_access::make<cell_ref>(b.from), b.why});
}

void run_bond(void* object, signal& s) {
  auto& b = static_cast<bond_signal&>(s);
  cell_slot& self = *running->slot;
  switch (b.tells) {
    case bond_signal::link: return accept_link(self, b);
    case bond_signal::unlink: return accept_unlink(self.extras, b);
    case bond_signal::unlinked: return accept_acknowledgement(self.extras, b);
    case bond_signal::monitor:
      extras_of(self).watchers.try_emplace(b.id).first->second.reset(&b);
      b.next_fate = bond_signal::kept;
      return;
    case bond_signal::demonitor:
      b.next_fate = bond_signal::done;
      if (self.extras != nullptr) self.extras->watchers.erase(b.id);
      return;
    case bond_signal::exit: return accept_exit(object, self.extras, b);
    case bond_signal::down: return accept_down(object, self, b);
  }
}

/// The same node back to where it came from.
void answer(bond_ptr b, bond_signal::what tells, const exit_reason& why = {}) noexcept {
  bond_signal& node = *b;
  send(std::move(b), tells, node.to, node.from, node.id, why);
}

/// The receiver was gone, or ended before it looked: the sender of a request learns so as if it had been accepted.
void return_unseen(bond_ptr b, const exit_reason& why) noexcept {
  switch (b->tells) {
    case bond_signal::link: return answer(std::move(b), bond_signal::exit, why);
    case bond_signal::unlink: return answer(std::move(b), bond_signal::unlinked);
    case bond_signal::monitor: return answer(std::move(b), bond_signal::down, why);
    default: return;
  }
}

void discard_bond(signal* s, errc, const exit_reason& why) noexcept {
  auto* node = static_cast<bond_signal*>(s);
  if (node->next_fate == bond_signal::kept) return;  // its receiver's, by now
  bond_ptr b(node);
  if (b->next_fate == bond_signal::unseen) return return_unseen(std::move(b), why);
  if (b->next_fate == bond_signal::acknowledged) answer(std::move(b), bond_signal::unlinked);
}

// Requests overtake what else waits; an end does not, since it comes behind what the cell has sent.
constexpr signal_ops request_ops{&run_bond, &discard_bond, "karyon::link", true, false, true};
constexpr signal_ops exit_ops{&run_bond, &discard_bond, "karyon::exit_signal", false, false, true};
constexpr signal_ops down_ops{&run_bond, &discard_bond, "karyon::down", false, false, true};

void send(bond_ptr b, bond_signal::what tells, address from, address to, std::uint64_t id,
          const exit_reason& why) noexcept {
  b->ops = tells == bond_signal::exit ? &exit_ops : tells == bond_signal::down ? &down_ops : &request_ops;
  b->tells = tells;
  b->next_fate = bond_signal::unseen;
  b->from = from;
  b->to = to;
  b->id = id;
  b->why = why;
  deliver(to.slot, to.number, b.release());
}

bond_ptr make_bond() { return bond_ptr(make_signal<bond_signal>()); }

/// For monitors and unlinks; a number is never given twice.
std::uint64_t next_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

bond_signal::bond_signal() noexcept : signal(&request_ops) {}

namespace {

bool is_bond(const signal& s) noexcept { return s.ops == &request_ops || s.ops == &exit_ops || s.ops == &down_ops; }

}  // namespace

bool read_bond(const signal& s, bond_news& news) noexcept {
  if (s.ops == &exit_request::ops) {
    const auto& request = static_cast<const exit_request&>(s);
    news.tells = bond_news::exit_request;
    news.from = request.from;
    news.why = request.why;
    return true;
  }
  if (!is_bond(s)) return false;
  const auto& b = static_cast<const bond_signal&>(s);
  news.tells = static_cast<bond_news::kind>(b.tells);
  news.from = b.from;
  news.to = b.to;
  news.id = b.id;
  news.why = b.why;
  return true;
}

void forget_bond(signal* s) noexcept {
  if (is_bond(*s)) static_cast<bond_signal*>(s)->next_fate = bond_signal::done;
  s->ops->discard(s, errc::dead, {});
}

void deliver_bond(const bond_news& news) {
  if (news.tells == bond_news::exit_request) return request_exit(news.to, news.from, news.why);
  send(make_bond(), static_cast<bond_signal::what>(news.tells), news.from, news.to, news.id, news.why);
}

std::uint64_t next_bond_id() noexcept { return next_id(); }

void request_exit(const address& whom, const address& from, const exit_reason& why) {
  deliver(whom.slot, whom.number, make_signal<exit_request>(from, why));
}

signal* make_exit_request(const exit_reason& why) { return make_signal<exit_request>(address{}, why); }

bool send_exit(const address& whom, const address& from, const exit_reason& why) noexcept {
  try {
    request_exit(whom, from, why);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

namespace {

bond_signal* merged(bond_signal* a, bond_signal* b) noexcept {
  signal* first = nullptr;
  signal** end = &first;
  while (a != nullptr && b != nullptr) {
    bond_signal*& lower = a->id < b->id ? a : b;
    *end = lower;
    end = &lower->next;
    lower = static_cast<bond_signal*>(lower->next);
  }
  *end = a != nullptr ? a : b;
  return static_cast<bond_signal*>(first);
}

/// Sorts a list by `id`; in place, since a cell's end allocates nothing.
bond_signal* sorted(bond_signal* list) noexcept {
  std::array<bond_signal*, 64> runs{};  // number i has 2^i signals, or none
  while (list != nullptr) {
    bond_signal* run = std::exchange(list, static_cast<bond_signal*>(list->next));
    run->next = nullptr;
    std::size_t i = 0;
    for (; runs[i] != nullptr; ++i) run = merged(std::exchange(runs[i], nullptr), run);
    runs[i] = run;
  }
  bond_signal* all = nullptr;
  for (bond_signal* run : runs) all = merged(run, all);
  return all;
}

/// The exit signals for a cell's links, in the order in which the links were made: that of the table follows from addresses,
/// and two runs of a simulation would differ by it.
bond_signal* notices_of(cell_extras& extras) noexcept {
  bond_signal* list = nullptr;
  for (auto& [other, end] : extras.links) {
    if (end.unlinking != 0) continue;
    bond_signal* b = end.notice.release();
    b->to = other;
    b->id = end.order;
    b->next = std::exchange(list, b);
  }
  return sorted(list);
}

}  // namespace

void tell_links(const address& ended, cell_extras& extras, const exit_reason& why) noexcept {
  for (bond_signal* b = notices_of(extras); b != nullptr;) {
    bond_ptr notice(std::exchange(b, static_cast<bond_signal*>(b->next)));
    const address other = notice->to;
    send(std::move(notice), bond_signal::exit, ended, other, 0, why);
  }
  for (auto& [id, request] : extras.watchers) {
    const address watcher = request->from;
    send(std::move(request), bond_signal::down, ended, watcher, id, why);
  }
  for (auto& [id, made] : extras.monitors) send(std::move(made.notice), bond_signal::demonitor, ended, made.whom, id);
}

}  // namespace karyon::detail

namespace karyon {

using detail::handle_access;

void cell::exit(exit_reason why) {
  if (detail::running != nullptr && detail::running->slot == slot_) {
    if (detail::running->closing) return;  // it is ending already, for the reason that on_exit was told
    detail::running->doomed = true;
    detail::running->why = std::move(why);
  } else {
    detail::request_exit(slot_->at(), slot_->at(), why);  // in the constructor: first thing once it runs
  }
}

void cell::exit(const cell_ref& whom, exit_reason why) {
  detail::request_exit(handle_access::of(whom), slot_->at(), why);
}

void cell::link(const cell_ref& other) {
  const detail::address& a = handle_access::of(other);
  if (a == slot_->at()) return;
  detail::cell_extras& e = detail::extras_of(*slot_);
  auto& links = e.links;
  if (const auto found = links.find(a); found != links.end() && found->second.unlinking == 0) return;
  detail::bond_ptr request = detail::make_bond();
  detail::bond_ptr notice = detail::make_bond();
  detail::link_end& end = links[a];
  end.notice = std::move(notice);
  end.unlinking = 0;
  end.order = ++e.links_made;
  detail::send(std::move(request), detail::bond_signal::link, slot_->at(), a, 0);
}

void cell::unlink(const cell_ref& other) noexcept {
  const detail::address& a = handle_access::of(other);
  if (slot_->extras == nullptr) return;
  const auto found = slot_->extras->links.find(a);
  if (found == slot_->extras->links.end() || found->second.unlinking != 0) return;
  found->second.unlinking = detail::next_id();
  detail::send(std::move(found->second.notice), detail::bond_signal::unlink, slot_->at(), a, found->second.unlinking);
}

monitor_id cell::monitor(const cell_ref& other) {
  const detail::address& a = handle_access::of(other);
  const std::uint64_t id = detail::next_id();
  detail::bond_ptr request = detail::make_bond();
  detail::bond_ptr notice = detail::make_bond();
  detail::extras_of(*slot_).monitors.try_emplace(id, detail::monitor_end{a, std::move(notice)});
  detail::send(std::move(request), detail::bond_signal::monitor, slot_->at(), a, id);
  return {id};
}

void cell::demonitor(monitor_id id) noexcept {
  if (slot_->extras == nullptr) return;
  const auto found = slot_->extras->monitors.find(id.value);
  if (found == slot_->extras->monitors.end()) return;
  detail::monitor_end made = std::move(found->second);
  slot_->extras->monitors.erase(found);
  detail::send(std::move(made.notice), detail::bond_signal::demonitor, slot_->at(), made.whom, id.value);
}

void cell::trap_exit(bool on) noexcept {
  if (on && slot_->info.load(std::memory_order_relaxed)->trapped_exit == nullptr) {
    detail::programmer_error("trap_exit(true) needs a handler void on(karyon::exit_signal) in the cell's class");
  }
  slot_->set(detail::cell_slot::trapping, on);
}

}  // namespace karyon
