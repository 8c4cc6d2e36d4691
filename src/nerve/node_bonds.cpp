#include <utility>

#include "nerve/node_core.hpp"

// Links, monitors and exits between cells of two nodes. Each side's node keeps both ends of each, so that the loss of the link can
// be told to all whom it concerns (docs/internals/remote-cells.md).

namespace karyon::detail {

namespace {

/// Notices that wait for room, for one peer; beyond them they are lost, and counted.
constexpr std::size_t unsent_most = 65'536;

/// What a frame of kind control says.
struct bond_on_wire {
  std::uint8_t tells = 0;
  std::uint64_t id = 0;
  exit_reason why;
};

/// Whether it is said once, and nobody hears of it if it could not be sent. Who links or monitors is told instead that it has failed.
bool is_notice(bond_news::kind k) noexcept { return k != bond_news::link && k != bond_news::monitor; }

}  // namespace

// ---- from here -----------------------------------------------------------------------------------------------------

/// Keeps account of what leaves, and says as whom. False: the link is down, or there is no number left for the cell.
bool node_core::note_outgoing(peer_state& p, bond_news& news, std::uint64_t there, cell_number& from) {
  // Outside of the lock: a table of its own.
  bool numbered = true;
  const bool needs_number = news.tells == bond_news::link || news.tells == bond_news::unlink ||
                            news.tells == bond_news::monitor || news.tells == bond_news::demonitor ||
                            news.tells == bond_news::exit_request;
  if (needs_number && news.from.slot != nullptr) numbered = exports_.number_of({news.from, false}, from);
  const std::lock_guard lock(p.mutex);
  if (!numbered || !p.up.load(std::memory_order_relaxed)) return false;
  const linked_pair pair{news.from, there};
  switch (news.tells) {
    case bond_news::exit_request: return true;
    case bond_news::link: {
      const auto [place, fresh] = p.links.try_emplace(pair);
      if (fresh) place->second.named = from;
      place->second.linked = true;
      return true;
    }
    case bond_news::unlink: {
      const auto found = p.links.find(pair);
      if (found == p.links.end()) return true;
      from = found->second.named;
      found->second.linked = false;
      ++found->second.unlinks_out;
      return true;
    }
    case bond_news::unlinked:
    case bond_news::exit: {
      const auto found = p.links.find(pair);
      if (found == p.links.end()) return exports_.number_of({news.from, false}, from);
      from = found->second.named;
      if (news.tells == bond_news::unlinked && found->second.unlinks_in != 0) --found->second.unlinks_in;
      if (news.tells == bond_news::exit || found->second.over()) p.links.erase(found);
      return true;
    }
    case bond_news::monitor: p.watched.insert_or_assign(news.id, far_monitor{news.from, there, 0, {}}); return true;
    case bond_news::demonitor: p.watched.erase(news.id); return true;
    case bond_news::down: {
      const auto found = p.monitors.find(news.id);
      if (found == p.monitors.end()) return false;
      from = found->second.named;
      news.id = found->second.their_id;
      p.monitor_by_their_id.erase(news.id);
      p.monitors.erase(found);
      return true;
    }
  }
  return false;
}

/// It could not be sent, and its maker will be told.
void node_core::forget_outgoing(peer_state& p, const bond_news& news, std::uint64_t there) noexcept {
  const std::lock_guard lock(p.mutex);
  if (news.tells == bond_news::monitor) p.watched.erase(news.id);
  if (news.tells != bond_news::link && news.tells != bond_news::unlink) return;
  const auto found = p.links.find({news.from, there});
  if (found == p.links.end()) return;
  if (news.tells == bond_news::link) found->second.linked = false;
  if (news.tells == bond_news::unlink && found->second.unlinks_out != 0) --found->second.unlinks_out;
  if (found->second.over()) p.links.erase(found);
}

send_result node_core::forward_bond(peer_state& p, const stub& to, signal* s, const bond_news& news) {
  const exit_reason down(exit_reason::kind::node_down, "unreachable", "its node is not connected");
  bond_news outgoing = news;
  cell_number from;
  if (!note_outgoing(p, outgoing, to.far, from)) {
    if (news.tells == bond_news::exit_request) node_counters::add(counters_.notices_lost);  // nobody else will say so
    return refuse_remote(s, send_result::peer_down, down);
  }
  if (!send_notice(p, outgoing, from, unpacked(to.far))) {
    forget_outgoing(p, news, to.far);
    return refuse_remote(s, send_result::no_credit, down);
  }
  forget_bond(s);
  return send_result::accepted;
}

/// True if it was sent, or waits for room. What comes once waits, and all behind it, so that they keep their order.
bool node_core::send_notice(peer_state& p, const bond_news& news, cell_number from, cell_number to) noexcept try {
  payload_writer& w = thread_writer();
  w.begin(*this, options_.frame_bytes_max);
  wire_write(w, bond_on_wire{static_cast<std::uint8_t>(news.tells), news.id, news.why});
  std::span<const std::byte> payload = w.finish();
  if (w.failed()) {  // words that are too long for a frame
    w.begin(*this, options_.frame_bytes_max);
    wire_write(w, bond_on_wire{static_cast<std::uint8_t>(news.tells), news.id, news.why.why()});
    payload = w.finish();
  }
  frame_header h;
  h.kind = frame_kind::control;
  h.source = from;
  h.destination = to;
  {
    const std::lock_guard lock(p.mutex);
    if (!p.unsent.empty()) {
      if (p.unsent.size() >= unsent_most) {
        node_counters::add(counters_.notices_lost);
        return false;
      }
      p.unsent.push_back({h, {payload.begin(), payload.end()}});
      return true;
    }
  }
  const frame_fate fate = send(p, h, payload);
  if (fate == frame_fate::accepted) {
    node_counters::add(counters_.notices_sent);
    return true;
  }
  if (!is_notice(news.tells)) return false;
  const std::lock_guard lock(p.mutex);
  if (fate != frame_fate::no_credit || !p.up.load(std::memory_order_relaxed)) {
    if (news.tells == bond_news::exit_request) node_counters::add(counters_.notices_lost);
    return false;
  }
  p.unsent.push_back({h, {payload.begin(), payload.end()}});
  return true;
} catch (...) {  // std::bad_alloc
  node_counters::add(counters_.notices_lost);
  return false;
}

/// The peer has given credit back, or a frame of it has come. One call at a time for each peer, as all that its transport tells.
void node_core::flush_unsent(peer_state& p) noexcept {
  while (true) {
    unsent_notice first;
    {
      const std::lock_guard lock(p.mutex);
      if (p.unsent.empty()) return;
      first = std::move(p.unsent.front());  // its place stays meanwhile: else what comes now would overtake it
    }
    const frame_fate fate = send(p, first.header, first.payload);
    node_counters::add(fate == frame_fate::accepted ? counters_.notices_sent : counters_.notices_lost,
                       fate == frame_fate::no_credit ? 0 : 1);
    const std::lock_guard lock(p.mutex);
    if (p.unsent.empty()) return;  // the link was lost
    if (fate == frame_fate::no_credit) {
      p.unsent.front() = std::move(first);
      return;
    }
    p.unsent.pop_front();
  }
}

// ---- from there ----------------------------------------------------------------------------------------------------

void node_core::receive_bond(peer_state& p, const frame_header& h, std::span<const std::byte> payload) {
  payload_reader& r = thread_reader();
  r.begin(payload, *this);
  bond_on_wire w;
  if (!wire_read(r, w) || !r.complete() || w.tells > bond_news::exit_request) {
    return node_counters::add(counters_.bad_frames);
  }
  bond_news news{static_cast<bond_news::kind>(w.tells), {}, {}, w.id, std::move(w.why)};
  if (!intern(p, h.source, news.from)) return node_counters::add(counters_.bad_frames);
  if (h.destination.index == 0) {
    // The desk serves all peers, and none of them may end it. To monitor it is fine.
    if (news.tells == bond_news::exit_request) return node_counters::add(counters_.bad_frames);
    if (news.tells == bond_news::link) {
      return refuse_bond(p, h, news, {exit_reason::kind::node_down, "refused", "a node's desk can not be linked with"});
    }
  }
  exported_cell to;
  if (exports_.find(h.destination, to)) news.to = to.role ? incarnation_of_role(to.at) : to.at;
  if (news.to.number == 0) return refuse_bond(p, h, news, exit_reason::kind::no_cell);
  switch (note_incoming(p, h, news)) {
    case noted::to_deliver: return deliver_bond(news);
    case noted::no_concern: return;
    case noted::no_room:
      node_counters::add(counters_.notices_lost);
      return refuse_bond(p, h, news,
                         {exit_reason::kind::node_down, "refused", "too many links or monitors of its node"});
  }
}

/// It is for a cell that has ended, or one too many: the same as if that had been found by the cell's own node.
void node_core::refuse_bond(peer_state& p, const frame_header& h, const bond_news& news,
                            const exit_reason& why) noexcept {
  bond_news back{bond_news::exit, {}, {}, news.id, why};
  switch (news.tells) {
    case bond_news::link: break;
    case bond_news::unlink: back.tells = bond_news::unlinked; break;
    case bond_news::monitor: back.tells = bond_news::down; break;
    default: return;
  }
  static_cast<void>(send_notice(p, back, h.destination, h.source));
}

/// Keeps account of what arrives. What a peer makes others keep has the limit of its cells.
node_core::noted node_core::note_incoming(peer_state& p, const frame_header& h, bond_news& news) {
  const std::uint64_t there = packed(h.source);
  const linked_pair pair{news.to, there};
  const std::lock_guard lock(p.mutex);
  if (!p.up.load(std::memory_order_relaxed)) return noted::no_concern;
  switch (news.tells) {
    case bond_news::link: {
      const auto found = p.links.find(pair);
      if (found == p.links.end()) {
        if (p.links.size() >= options_.cells_max) return noted::no_room;
        p.links.emplace(pair, link_state{h.destination, true});
      } else if (found->second.linked || found->second.unlinks_out == 0) {  // else our cell does not heed it, either
        found->second.named = h.destination;
        found->second.linked = true;
      }
      return noted::to_deliver;
    }
    case bond_news::unlink:
    case bond_news::unlinked: {
      const auto found = p.links.find(pair);
      if (found == p.links.end()) return noted::to_deliver;
      link_state& l = found->second;
      if (news.tells == bond_news::unlink) {
        l.linked = false;
        ++l.unlinks_in;
      } else if (l.unlinks_out != 0) {
        --l.unlinks_out;
      }
      if (l.over()) p.links.erase(found);
      return noted::to_deliver;
    }
    case bond_news::exit: p.links.erase(pair); return noted::to_deliver;
    case bond_news::monitor: {
      if (p.monitors.size() >= options_.cells_max) return noted::no_room;
      // Their ids are theirs: a cell here may be watched from several nodes under one.
      const std::uint64_t mine = next_bond_id();
      if (!p.monitor_by_their_id.emplace(news.id, mine).second) return noted::no_concern;
      p.monitors.emplace(mine, far_monitor{news.to, there, news.id, h.destination});
      news.id = mine;
      return noted::to_deliver;
    }
    case bond_news::demonitor: {
      const auto found = p.monitor_by_their_id.find(news.id);
      if (found == p.monitor_by_their_id.end()) return noted::no_concern;
      news.id = found->second;
      p.monitor_by_their_id.erase(found);
      p.monitors.erase(news.id);
      return noted::to_deliver;
    }
    case bond_news::down: return p.watched.erase(news.id) != 0 ? noted::to_deliver : noted::no_concern;
    case bond_news::exit_request: return noted::to_deliver;
  }
  return noted::no_concern;
}

}  // namespace karyon::detail
