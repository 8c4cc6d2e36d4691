#include "cell/links.hpp"

#include <atomic>

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

/// A linked cell has ended.
struct link_exit : signal {
  address from;
  exit_reason why;
  static const signal_ops ops;
  link_exit(const address& f, exit_reason w) noexcept : signal(&ops), from(f), why(std::move(w)) {}
};

struct monitor_down : signal {
  std::uint64_t id;
  address from;
  exit_reason why;
  static const signal_ops ops;
  monitor_down(std::uint64_t i, const address& f, exit_reason w) noexcept
      : signal(&ops), id(i), from(f), why(std::move(w)) {}
};

/// "Link me", "unlink me", "monitor yourself for me", "no longer": what the other side of a link or monitor is told.
struct link_request : signal {
  enum what : std::uint8_t { link, unlink, monitor, demonitor, settled };
  what ask;
  address from;
  address target;
  std::uint64_t id;
  static const signal_ops ops;
  link_request(what a, const address& f, const address& t, std::uint64_t i) noexcept
      : signal(&ops), ask(a), from(f), target(t), id(i) {}
};

template <class Node>
void discard_plain(signal* s, errc, const exit_reason&) noexcept {
  destroy_signal(static_cast<Node*>(s));
}

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

void run_link_exit(void* object, signal& s) {
  const auto& ended = static_cast<link_exit&>(s);
  cell_extras* e = running->slot->extras;
  if (e == nullptr || e->links.erase(ended.from) == 0) return;  // unlinked in the meantime
  if (trap(object, ended.from, ended.why)) return;
  if (ended.why.why() != exit_reason::kind::normal) doom(ended.why);
}

void run_monitor_down(void* object, signal& s) {
  const auto& ended = static_cast<monitor_down&>(s);
  cell_extras* e = running->slot->extras;
  if (e == nullptr || e->monitors.erase(ended.id) == 0) return;  // no longer monitored
  const auto handler = running->slot->info.load(std::memory_order_relaxed)->monitored_down;
  if (handler != nullptr) {
    handler(object, down{monitor_id{ended.id}, handle_access::make<cell_ref>(ended.from), ended.why});
  }
}

void run_link_request(void*, signal& s) {
  auto& request = static_cast<link_request&>(s);
  cell_extras& e = extras_of(*running->slot);
  switch (request.ask) {
    case link_request::link: e.links.insert(request.from); break;
    case link_request::unlink: e.links.erase(request.from); break;
    case link_request::monitor: e.watchers.emplace(request.id, request.from); break;
    case link_request::demonitor: e.watchers.erase(request.id); break;
    case link_request::settled: break;
  }
  request.ask = link_request::settled;  // the discard that follows has nothing to tell the asker any more
}

/// The target was gone, or ended before it saw the request: the asker learns so as if it had been linked to it.
void discard_link_request(signal* s, errc, const exit_reason& why) noexcept {
  auto* request = static_cast<link_request*>(s);
  if (request->ask == link_request::link) send_link_exit(request->from, request->target, why);
  if (request->ask == link_request::monitor) send_down(request->from, request->id, request->target, why);
  destroy_signal(request);
}

const signal_ops exit_request::ops{&run_exit_request, &discard_plain<exit_request>, "karyon::exit", true, false, true};
const signal_ops link_exit::ops{&run_link_exit, &discard_plain<link_exit>, "karyon::exit_signal", false, false, true};
const signal_ops monitor_down::ops{&run_monitor_down, &discard_plain<monitor_down>, "karyon::down", false, false, true};
const signal_ops link_request::ops{&run_link_request, &discard_link_request, "karyon::link", true, false, true};

void request(link_request::what what, const address& from, const address& to, std::uint64_t id) {
  deliver(to.slot, to.number, make_signal<link_request>(what, from, to, id));
}

std::uint64_t next_monitor() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

void send_exit(const address& whom, const address& from, const exit_reason& why) noexcept {
  deliver(whom.slot, whom.number, make_signal<exit_request>(from, why));
}

signal* make_exit_request(const exit_reason& why) { return make_signal<exit_request>(address{}, why); }

void send_link_exit(const address& to, const address& from, const exit_reason& why) noexcept {
  deliver(to.slot, to.number, make_signal<link_exit>(from, why));
}

void send_down(const address& to, std::uint64_t monitor, const address& from, const exit_reason& why) noexcept {
  deliver(to.slot, to.number, make_signal<monitor_down>(monitor, from, why));
}

void tell_links(const address& ended, cell_extras& extras, const exit_reason& why) noexcept {
  for (const address& other : extras.links) send_link_exit(other, ended, why);
  for (const auto& [id, watcher] : extras.watchers) send_down(watcher, id, ended, why);
  for (const auto& [id, target] : extras.monitors) request(link_request::demonitor, ended, target, id);
}

}  // namespace karyon::detail

namespace karyon {

using detail::handle_access;

void cell::exit(exit_reason why) noexcept {
  if (detail::running != nullptr && detail::running->slot == slot_) {
    if (detail::running->closing) return;  // it is ending already, for the reason that on_exit was told
    detail::running->doomed = true;
    detail::running->why = std::move(why);
  } else {
    detail::send_exit(slot_->at(), slot_->at(), why);  // in the constructor: first thing once it runs
  }
}

void cell::exit(const cell_ref& whom, exit_reason why) noexcept {
  detail::send_exit(handle_access::of(whom), slot_->at(), why);
}

void cell::link(const cell_ref& other) {
  const detail::address& a = handle_access::of(other);
  if (a == slot_->at() || !detail::extras_of(*slot_).links.insert(a).second) return;
  detail::request(detail::link_request::link, slot_->at(), a, 0);
}

void cell::unlink(const cell_ref& other) noexcept {
  const detail::address& a = handle_access::of(other);
  if (slot_->extras == nullptr || slot_->extras->links.erase(a) == 0) return;
  detail::request(detail::link_request::unlink, slot_->at(), a, 0);
}

monitor_id cell::monitor(const cell_ref& other) {
  const std::uint64_t id = detail::next_monitor();
  detail::extras_of(*slot_).monitors.emplace(id, handle_access::of(other));
  detail::request(detail::link_request::monitor, slot_->at(), handle_access::of(other), id);
  return {id};
}

void cell::demonitor(monitor_id id) noexcept {
  if (slot_->extras == nullptr) return;
  const auto found = slot_->extras->monitors.find(id.value);
  if (found == slot_->extras->monitors.end()) return;
  const detail::address target = found->second;
  slot_->extras->monitors.erase(found);
  detail::request(detail::link_request::demonitor, slot_->at(), target, id.value);
}

void cell::trap_exit(bool on) noexcept {
  if (on && slot_->info.load(std::memory_order_relaxed)->trapped_exit == nullptr) {
    detail::programmer_error("trap_exit(true) needs a handler void on(karyon::exit_signal) in the cell's class");
  }
  slot_->set(detail::cell_slot::trapping, on);
}

}  // namespace karyon
