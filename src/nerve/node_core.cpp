#include "nerve/node_core.hpp"

#include <algorithm>
#include <chrono>
#include <unordered_set>
#include <utility>

#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"
#include "core/log.hpp"
#include "core/report_text.hpp"
#include "nerve/node_hello.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

/// Lives of other nodes that are remembered, dead ones included. Those that are only named in handles that peers send take half of it at
/// most: they neither fill the memory nor take the places of nodes that are met.
constexpr std::size_t peers_most = 65'536;
constexpr std::size_t peers_named_most = peers_most / 2;

/// Microseconds since 1970, but later than any that this process has used: the clock may have been set back.
std::uint64_t next_incarnation() {
  static std::atomic<std::uint64_t> last{0};
  const auto now = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
  std::uint64_t seen = last.load(std::memory_order_relaxed);
  std::uint64_t next = 0;
  do next = std::max(now, seen + 1);
  while (!last.compare_exchange_weak(seen, next, std::memory_order_relaxed));
  return next;
}

node_options checked(node_options o) {
  const auto refuse = [](const char* what) { throw runtime_error(error(errc::invalid_argument, what)); };
  if (o.name.empty() || o.name.size() > 255) refuse("node_options::name has 1 to 255 characters");
  // What groups and names tell each other needs as much: less would leave them out in silence.
  static_assert(node_services::frame_bytes_least == 520);
  if (o.frame_bytes_max < node_services::frame_bytes_least || o.frame_bytes_max > 0xffffffffU)
    refuse("node_options::frame_bytes_max is 520 to 2^32 - 1");
  if (o.time_to_live.count() < 0) refuse("node_options::time_to_live is not below 0");
  if (o.cells_max < 2 || o.cells_max > 0xffffffffU) refuse("node_options::cells_max is 2 to 2^32 - 1");
  if (!o.synapse.listen.empty() || !o.synapse.peers.empty()) {
    if (o.synapse.frame_bytes_max < node_services::frame_bytes_least) {
      refuse("synapse_options::frame_bytes_max of a node is 520 at least");
    }
    o.frame_bytes_max = std::min<std::size_t>(o.frame_bytes_max, o.synapse.frame_bytes_max);
  }
  if (o.questions_max == 0) refuse("node_options::questions_max is 1 at least");
  return o;
}

}  // namespace

thread_local const peer_state* speaking = nullptr;

payload_writer& thread_writer() noexcept {
  static thread_local payload_writer w;
  return w;
}
payload_reader& thread_reader() noexcept {
  static thread_local payload_reader r;
  return r;
}

exit_reason reason_of(link_loss why) {
  constexpr auto down = exit_reason::kind::node_down;
  switch (why) {
    case link_loss::died: return {down, "died", "the other process ended, or began anew"};
    case link_loss::unreachable: return {down, "unreachable", "nothing was heard of it for too long"};
    case link_loss::refused: return {down, "refused", "it may not speak with this node, or broke the protocol"};
    case link_loss::closed: return {down, "closed", "one side closed the link on purpose"};
  }
  return down;
}

node_core::node_core(runtime& host, node_options options)
    : host_(host),
      options_(checked(std::move(options))),
      self_{wire_hash(options_.name), next_incarnation()},
      gate_(remote_gate::make(*this)),
      exports_(options_.cells_max) {}

node_core::~node_core() { close(); }

result<std::vector<std::byte>> node_core::hello() const { return write_node_hello(options_.name); }

void node_core::open_synapse() {
  if (options_.synapse.listen.empty() && options_.synapse.peers.empty()) return;
  const auto need = [](auto r) {
    if (!r) throw runtime_error(std::move(r).error());
    return r;
  };
  synapse_ = std::move(need(synapse::open(options_.synapse, self_)).value());
  attach(*synapse_);
  static_cast<void>(need(synapse_->start(*this, std::move(need(hello()).value()))));
}

void node_core::close_synapse() noexcept {
  if (synapse_ != nullptr) synapse_->close();
}

// Services ask from their own threads as soon as they have this node, and that is before it has a synapse: `carrier_` says when
// synapse_ can be looked at.
// Orders: connect, call, endpoints, public_key and allows load it with acquire, which pairs with attach's release: who finds a carrier
// sees synapse_.

result<void> node_core::connect(const synapse_peer& peer) {
  if (carrier_.load(std::memory_order_acquire) == nullptr || synapse_ == nullptr) {
    return fail(errc::closed, "this node listens nowhere, so it can not speak with others");
  }
  return synapse_->connect(peer);
}

void node_core::call(const std::string& endpoint, const std::optional<curve_key>& key) {
  if (carrier_.load(std::memory_order_acquire) == nullptr || synapse_ == nullptr) return;
  const auto called = synapse_->connect_passing({endpoint, key ? to_hex(*key) : std::string()});
  if (!called && log_enabled(log_level::debug)) {
    log(log_level::debug, "a node that another has told of is not called: " + called.error().message());
  }
}

std::optional<curve_key> node_core::public_key() const {
  if (carrier_.load(std::memory_order_acquire) == nullptr || synapse_ == nullptr) return std::nullopt;
  return synapse_->public_key();
}

bool node_core::allows(const curve_key& key, std::uint64_t node) const {
  if (carrier_.load(std::memory_order_acquire) == nullptr || synapse_ == nullptr) return false;
  return synapse_->allows(key, node);
}

std::vector<std::string> node_core::endpoints() const {
  if (carrier_.load(std::memory_order_acquire) == nullptr || synapse_ == nullptr) return {};
  return synapse_->endpoints();
}

// ---- services ------------------------------------------------------------------------------------------------------

void node_core::install_services() {
  runtime_core& rt = host_.core();
  // A simulation has no thread to call listeners on; its tests bring a network of their own.
  if (rt.workers().simulated()) return;
  auto of_runtime = [&] { return std::dynamic_pointer_cast<node_services>(rt.network()); };
  std::shared_ptr<node_services> services = of_runtime();
  if (services == nullptr) {
    services = std::make_shared<node_services>();
    if (!services->attach(*this)) return;
    if (rt.install_network(services)) {
      services_ = std::move(services);
      return;
    }
    services->detach();
    services = of_runtime();
  }
  if (services != nullptr && services->attach(*this)) services_ = std::move(services);
}

frame_fate node_core::send_service(const peer_id& to, std::uint8_t flags, std::span<const std::byte> payload) noexcept {
  // Acquire pairs with attach's release: who finds the carrier sees it whole.
  transport* const carrier = carrier_.load(std::memory_order_acquire);
  if (carrier == nullptr) return frame_fate::no_route;
  frame_header h;
  h.kind = frame_kind::service;
  h.flags = flags;
  h.length = static_cast<std::uint32_t>(payload.size());
  return carrier->send(to, h, payload);
}

// ---- peers ---------------------------------------------------------------------------------------------------------

peer_state* node_core::find_peer(const peer_id& id) const {
  const std::shared_lock lock(peers_mutex_);
  const auto found = peers_.find({id.node, id.incarnation});
  return found != peers_.end() ? found->second.get() : nullptr;
}

peer_state* node_core::newest_peer(std::uint64_t node) const {
  const std::shared_lock lock(peers_mutex_);
  peer_state* newest = nullptr;
  for (auto i = peers_.lower_bound({node, 0}); i != peers_.end() && i->first.first == node; ++i) {
    // What was met counts more than what a handle only says to be there: anybody may have made it up.
    const bool met = i->second->types.load(std::memory_order_relaxed) != nullptr;
    if (newest == nullptr || met || newest->types.load(std::memory_order_relaxed) == nullptr) newest = i->second.get();
  }
  return newest;
}

peer_state* node_core::know_peer(const peer_id& id, bool met) {
  if (peer_state* known = find_peer(id)) return known;
  const std::unique_lock lock(peers_mutex_);
  if (peers_.size() >= (met ? peers_most : peers_named_most)) return nullptr;
  auto& p = peers_[{id.node, id.incarnation}];
  if (p == nullptr) {
    p = std::make_unique<peer_state>(id);
    for (auto i = peers_.upper_bound({id.node, id.incarnation}); i != peers_.end() && i->first.first == id.node; ++i) {
      // A later life has been seen: a handle to this one says `dead` from the beginning.
      if (i->second->types.load(std::memory_order_relaxed) != nullptr)
        p->retired.store(true, std::memory_order_relaxed);
    }
  }
  return p.get();
}

/// The one handle to a cell of a peer.
bool node_core::intern(peer_state& p, cell_number there, address& at) {
  std::vector<address> ended;  // freed without the lock
  const bool known = intern_locked(p, there, at, ended);
  for (const address& old : ended) free_stub(old);
  return known;
}

bool node_core::intern_locked(peer_state& p, cell_number there, address& at, std::vector<address>& ended) {
  const std::lock_guard lock(p.mutex);
  if (p.retired.load(std::memory_order_relaxed)) {
    at = {};
    return true;  // nobody lives there any more: an empty handle says `dead`
  }
  const bool vouched = speaking == &p;
  if (const auto found = p.stubs.find(packed(there)); found != p.stubs.end()) {
    found->second.vouched = found->second.vouched || vouched;
    at = found->second.at;
    return true;
  }
  // Nodes that nobody has met share one limit: a peer can name as many as it likes.
  const bool met = p.types.load(std::memory_order_relaxed) != nullptr;
  if (p.stubs.size() >= std::min(p.sweep_stubs_at, options_.cells_max)) sweep_stubs(p, met, ended);
  if (p.stubs.size() >= options_.cells_max) return false;
  if (!met && stubs_unmet_.load(std::memory_order_relaxed) >= options_.cells_max) return false;
  known_stub& place = p.stubs[packed(there)];
  try {
    place = {make_stub(gate_, &p, packed(there)), vouched};
  } catch (...) {
    p.stubs.erase(packed(there));
    throw;
  }
  if (!met) stubs_unmet_.fetch_add(1, std::memory_order_relaxed);
  at = place.at;
  return true;
}

/// A place of the peer's table that has a later tenant shows that the earlier ones have ended: nobody needs their stubs any more, once the
/// notices of their ends are here. What only others say of the peer shows nothing. Each look costs as much as it finds at the most, since
/// the next comes when there are twice as many.
void node_core::sweep_stubs(peer_state& p, bool met, std::vector<address>& ended) {
  std::unordered_map<std::uint32_t, std::uint16_t> newest;
  for (const auto& [far, s] : p.stubs) {
    const cell_number n = unpacked(far);
    std::uint16_t& tenant = newest[n.index];
    if (s.vouched) tenant = std::max(tenant, n.tenant);
  }
  std::unordered_set<std::uint64_t> bonded;
  for (const auto& [pair, l] : p.links) bonded.insert(pair.there);
  for (const auto& [id, m] : p.watched) bonded.insert(m.there);
  for (const auto& [id, m] : p.monitors) bonded.insert(m.there);
  ended.reserve(p.stubs.size());
  std::erase_if(p.stubs, [&](const auto& entry) {
    const cell_number n = unpacked(entry.first);
    if (n.tenant >= newest[n.index] || bonded.contains(entry.first)) return false;
    ended.push_back(entry.second.at);
    return true;
  });
  if (!met) stubs_unmet_.fetch_sub(ended.size(), std::memory_order_relaxed);
  p.sweep_stubs_at = std::max<std::size_t>(1024, 2 * p.stubs.size());
}

/// A later life of the node has been seen, or ours ends: no handle leads to this one any more.
void node_core::retire(peer_state& p, link_loss why) noexcept {
  lose_link(p, reason_of(why));
  std::unordered_map<std::uint64_t, known_stub> stubs;
  {
    const std::lock_guard lock(p.mutex);
    p.retired.store(true, std::memory_order_relaxed);
    stubs.swap(p.stubs);
    if (p.types.load(std::memory_order_relaxed) == nullptr) {
      stubs_unmet_.fetch_sub(stubs.size(), std::memory_order_relaxed);
    }
  }
  for (const auto& [there, s] : stubs) free_stub(s.at);
}

// ---- links coming and going ------------------------------------------------------------------------------------------

void node_core::greet(peer_state& p, std::span<const std::byte> hello) {
  result<node_hello> g = read_node_hello(hello);
  if (g.has_value() && wire_hash(g->node) != p.id.node) {
    g = fail(errc::invalid_argument, "its name is not the one that it is known by");
  }
  if (!g.has_value()) {
    // It stays as if it were not connected: nothing that it sends can be trusted to mean the same here.
    log(log_level::warn, "a node is connected, but is not understood: " + g.error().message());
    return;
  }
  auto types = std::make_unique<shared_types>(compare_types(listed_wire_types(), g->types));
  for (const std::string& difference : types->differences) {
    log(log_level::warn, "node " + g->node + ": " + difference);
  }
  const std::lock_guard lock(p.mutex);
  if (p.retired.load(std::memory_order_relaxed)) return;  // its handles are gone for good
  p.name = g->node;
  const shared_types* const before = p.types.load(std::memory_order_relaxed);
  // The old ones are kept, so a link that comes and goes must not add one each time.
  if (before == nullptr || *before != *types) {
    p.all_types.push_back(std::move(types));
    if (before == nullptr) stubs_unmet_.fetch_sub(p.stubs.size(), std::memory_order_relaxed);
    // Release pairs with the acquires of `types` in node_send.cpp and node_receive.cpp: what is in it.
    p.types.store(p.all_types.back().get(), std::memory_order_release);
  }
  p.up.store(true, std::memory_order_release);  // pairs with the acquires of `up`: that there are types
}

void node_core::link_up(const peer_id& peer, std::span<const std::byte> hello) noexcept try {
  if (peer.incarnation > latest_incarnation()) {  // else the lives that follow would be taken for earlier ones
    return log(log_level::warn, "a node is not let in: it says that it begins in the far future");
  }
  std::vector<peer_state*> earlier;
  {
    const std::shared_lock lock(peers_mutex_);
    for (auto i = peers_.lower_bound({peer.node, 0}); i != peers_.end() && i->first.first == peer.node; ++i) {
      if (i->first.second < peer.incarnation) earlier.push_back(i->second.get());
    }
  }
  for (peer_state* p : earlier) {
    if (!p->retired.load(std::memory_order_relaxed)) retire(*p, link_loss::died);
  }
  if (peer_state* p = know_peer(peer, true)) {
    greet(*p, hello);
    if (services_ != nullptr && p->up.load(std::memory_order_relaxed)) services_->link_up(peer);
    return;
  }
  log(log_level::warn, "a node is not let in: this one remembers as many lives of others as it can");
} catch (...) {  // std::bad_alloc: the peer stays as if it were not connected
}

void node_core::namesake(const peer_id& who, std::string_view its_endpoint,
                         std::string_view endpoint_of_the_other) noexcept try {
  std::string name = who.node == self_.node ? options_.name : std::string();
  if (name.empty()) {
    const std::shared_lock lock(peers_mutex_);
    for (auto i = peers_.lower_bound({who.node, 0}); i != peers_.end() && i->first.first == who.node; ++i) {
      const std::lock_guard its_lock(i->second->mutex);
      name = i->second->name;
    }
  }
  std::string line = "a second node of the name \"";
  append_escaped(line, name);
  line += "\", at ";
  append_escaped(line, its_endpoint.empty() ? "an unknown endpoint" : its_endpoint);
  line += ", is not let in: there is one already, at ";
  append_escaped(line, endpoint_of_the_other.empty() ? "an unknown endpoint" : endpoint_of_the_other);
  log(log_level::warn, line + "; give each node a name of its own (node_options::name)");
} catch (...) {  // std::bad_alloc
}

void node_core::lose_link(peer_state& p, const exit_reason& why) noexcept try {
  if (services_ != nullptr) services_->link_down(p.id);
  signal* questions = nullptr;
  link_map links;
  std::map<std::uint64_t, far_monitor> monitors;
  std::map<std::uint64_t, far_monitor> watched;
  {
    const std::lock_guard lock(p.mutex);
    // Under the lock: whoever adds to these tables looks at `up` under it. Release pairs with forward_signal's acquire: who finds it down
    // by this sees that there were types.
    p.up.store(false, std::memory_order_release);
    questions = p.questions.take_all();
    links.swap(p.links);
    monitors.swap(p.monitors);
    watched.swap(p.watched);
    p.monitor_by_their_id.clear();
    node_counters::add(counters_.notices_lost, p.unsent.size());
    p.unsent.clear();
  }
  while (questions != nullptr) {
    signal* const s = std::exchange(questions, questions->next);
    s->next = nullptr;
    node_counters::add(counters_.questions_lost);
    refuse_remote(s, send_result::peer_down, why);
  }
  const auto far = [&](std::uint64_t there) {
    address at;
    return intern(p, unpacked(there), at) ? at : address{};
  };
  // By number, since the order of the table follows from addresses: two runs of a simulation would differ by it.
  std::vector<std::pair<std::pair<std::uint64_t, std::uint64_t>, address>> in_order;
  for (const auto& [pair, l] : links) in_order.push_back({{pair.there, packed(l.named)}, pair.here});
  std::sort(in_order.begin(), in_order.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  for (const auto& [numbers, here] : in_order) deliver_bond({bond_news::exit, far(numbers.first), here, 0, why});
  for (const auto& [id, m] : watched) deliver_bond({bond_news::down, far(m.there), m.here, id, why});
  for (const auto& [id, m] : monitors) deliver_bond({bond_news::demonitor, {}, m.here, id, {}});
} catch (...) {  // std::bad_alloc: the rest of the cells are not told
}

void node_core::link_down(const peer_id& peer, link_loss why) noexcept {
  if (peer_state* p = find_peer(peer)) lose_link(*p, reason_of(why));
}

void node_core::room(const peer_id& peer) noexcept {
  if (peer_state* p = find_peer(peer)) flush_unsent(*p);
}

bool node_core::reachable(const stub& to) const noexcept {
  return static_cast<const peer_state*>(to.peer)->up.load(std::memory_order_relaxed);
}

// ---- handles -------------------------------------------------------------------------------------------------------

bool node_core::to_wire(const address& at, bool role, wire_handle& h) {
  if (at.slot == nullptr || at.number == 0) {
    h = {};
    return true;
  }
  if (stub there; find_stub(at, there)) {
    if (there.gate != &gate_) return false;  // another node's of this process: that one's peers are not ours
    const auto& p = *static_cast<const peer_state*>(there.peer);
    h = {p.id.node, p.id.incarnation, unpacked(there.far)};
    return true;
  }
  h.node = self_.node;
  h.incarnation = self_.incarnation;
  const exported_cell e{at, role};
  if (role ? role_alive(at) : incarnation_alive(at)) return exports_.number_of(e, h.number);
  h = {};  // it has ended: an empty handle says `dead` as well
  return true;
}

namespace {

/// A handle to one of our own cells, from elsewhere. A child needs a role, a ref an incarnation; who asks for any cell as a role takes
/// what there is, and has its class checked later.
bool come_home(const exported_cell& e, address& at, bool& role, const class_info* expected) {
  if (expected != nullptr) {
    // First the class, then whether it was still that cell's: a role's slot is of one class while the role exists. Acquire pairs with
    // begin_incarnation's release: who reads a later tenant's class sees then that the one meant is gone.
    const class_info* const found = e.at.slot->info.load(std::memory_order_acquire);
    if (!(e.role ? role_alive(e.at) : incarnation_alive(e.at))) return true;
    if (found != expected) return false;
  }
  if (role && !e.role && expected != nullptr) return false;
  at = role || !e.role ? e.at : incarnation_of_role(e.at);
  if (at.number == 0) at = {};
  role = e.role;
  return true;
}

}  // namespace

address checked_cell(const address& at, bool role, const class_info& expected) noexcept {
  if (stub there; find_stub(at, there)) return at;
  if (!role || !role_alive(at)) return {};
  // Acquire pairs with begin_incarnation's release, as in come_home.
  const class_info* const found = at.slot->info.load(std::memory_order_acquire);
  return role_alive(at) && found == &expected ? at : address{};
}

bool node_core::from_wire(const wire_handle& h, address& at, bool& role, const class_info* expected) {
  at = {};
  if (h.node == 0) return true;
  if (h.node == self_.node) {
    exported_cell e;
    if (h.incarnation != self_.incarnation || !exports_.find(h.number, e)) return true;  // of an earlier life, or ended
    return come_home(e, at, role, expected);
  }
  peer_state* p = know_peer({h.node, h.incarnation}, false);
  return p != nullptr && intern(*p, h.number, at);
}

// ---- what a node tells of itself -------------------------------------------------------------------------------------

std::vector<peer_info> node_core::peers() const {
  std::vector<peer_info> all;
  const std::shared_lock lock(peers_mutex_);
  for (const auto& [id, p] : peers_) {
    const std::lock_guard inner(p->mutex);
    if (p->retired || p->name.empty()) continue;
    const shared_types* types = p->types.load(std::memory_order_relaxed);
    all.push_back({p->name, p->id.incarnation, p->up.load(std::memory_order_relaxed),
                   types != nullptr ? types->differences : std::vector<std::string>()});
  }
  return all;
}

bool node_core::connected(std::string_view peer) const {
  const peer_state* p = newest_peer(wire_hash(peer));
  return p != nullptr && p->up.load(std::memory_order_relaxed);
}

node_stats node_core::stats() const {
  node_stats s;
  const auto sent = [&](send_result r) {
    const std::uint64_t n = counters_.by_result[static_cast<std::size_t>(r)].load(std::memory_order_relaxed);
    s.sent += n;
    return n;
  };
  s.accepted = sent(send_result::accepted);
  s.no_route = sent(send_result::no_route);
  s.peer_down = sent(send_result::peer_down);
  s.no_credit = sent(send_result::no_credit);
  s.expired = sent(send_result::expired);
  s.too_large = sent(send_result::too_large);
  s.closed = sent(send_result::closed);
  s.not_declared = sent(send_result::not_declared);
  const auto read = [](const std::atomic<std::uint64_t>& c) { return c.load(std::memory_order_relaxed); };
  s.delivered = read(counters_.delivered);
  s.dead_here = read(counters_.dead_here);
  s.full_here = read(counters_.full_here);
  s.no_handler_here = read(counters_.no_handler_here);
  s.not_declared_here = read(counters_.not_declared_here);
  s.unreadable_here = read(counters_.unreadable_here);
  s.received = read(counters_.received);
  s.answers_sent = read(counters_.answers_sent);
  s.answers_lost = read(counters_.answers_lost);
  s.answers_late = read(counters_.answers_late);
  s.answers_bad = read(counters_.answers_bad);
  s.questions_lost = read(counters_.questions_lost);
  s.notices_sent = read(counters_.notices_sent);
  s.notices_lost = read(counters_.notices_lost);
  s.bad_frames = read(counters_.bad_frames);
  if (services_ != nullptr) {
    const node_services::counts& c = services_->stats();
    s.service_sent = read(c.sent);
    s.service_refused = read(c.refused);
    s.service_received = read(c.received);
    s.service_dropped = read(c.dropped);
    s.service_failures = read(c.failed);
    s.scope_sent = read(c.signals_sent);
    s.scope_refused = read(c.signals_refused);
    s.scope_received = read(c.signals_received);
    s.scope_lost = read(c.signals_lost);
    s.scope_delivered = read(c.delivered);
    s.scope_undelivered = read(c.undelivered);
  }
  return s;
}

void node_core::close() noexcept {
  if (std::exchange(closed_, true)) return;
  if (services_ != nullptr) services_->detach();
  gate_.close();  // from here on no sender is inside
  const std::shared_lock lock(peers_mutex_);
  for (const auto& [id, p] : peers_) retire(*p, link_loss::closed);
}

/// The desk refers to this. One that is in a handler is waited for: handlers of its kind are short, but for constructors that it runs.
void node_core::end_desk() noexcept {
  const address desk = handle_access::of(desk_);
  while (incarnation_alive(desk) && !send_exit(desk, {}, exit_reason::killed())) {
  }
  static_cast<void>(poll_until([&] { return !incarnation_alive(desk); }, never_ns));
}

}  // namespace karyon::detail
