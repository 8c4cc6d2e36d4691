#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <karyon/nerve/send_within.hpp>

#include "nerve/node_core.hpp"

namespace karyon::detail {

namespace {

send_result result_of(frame_fate fate) noexcept {
  switch (fate) {
    case frame_fate::accepted: return send_result::accepted;
    case frame_fate::no_route: return send_result::no_route;
    case frame_fate::peer_down: return send_result::peer_down;
    case frame_fate::no_credit: return send_result::no_credit;
    case frame_fate::expired: return send_result::expired;
    case frame_fate::too_large: return send_result::too_large;
    case frame_fate::closed: return send_result::closed;
  }
  return send_result::closed;
}

thread_local constinit std::uint64_t asked_ttl_us = 0;

}  // namespace

std::uint64_t exchange_time_to_live(std::uint64_t us) noexcept { return std::exchange(asked_ttl_us, us); }

std::uint32_t node_core::ttl_us() const noexcept {
  if (asked_ttl_us != 0) return static_cast<std::uint32_t>(asked_ttl_us);
  constexpr std::int64_t most = 0xffffffff;
  const std::int64_t us = options_.time_to_live.count();
  return static_cast<std::uint32_t>(us < most ? us : most);
}

frame_fate node_core::send(peer_state& p, frame_header& h, std::span<const std::byte> payload) noexcept {
  // Acquire pairs with attach's release: who finds the carrier sees it whole.
  transport* const carrier = carrier_.load(std::memory_order_acquire);
  if (carrier == nullptr) return frame_fate::no_route;
  h.length = static_cast<std::uint32_t>(payload.size());
  return carrier->send(p.id, h, payload);
}

send_result node_core::forward(const stub& to, signal* s) noexcept {
  peer_state& p = *static_cast<peer_state*>(to.peer);
  try {
    if (s->ops->internal) {
      bond_news news;
      if (read_bond(*s, news)) return forward_bond(p, to, s, news);
      return refuse_remote(s, send_result::no_handler, {});  // only its own runtime can do that with a cell
    }
    return count(forward_signal(p, to, s));
  } catch (...) {  // std::bad_alloc, before anything was sent
    refuse_remote(s, send_result::no_credit, exit_reason(exit_reason::kind::node_down));
    return count(send_result::no_credit);
  }
}

/// Throws std::bad_alloc while the signal is still the caller's; consumes it otherwise.
send_result node_core::forward_signal(peer_state& p, const stub& to, signal* s) {
  const exit_reason down(exit_reason::kind::node_down);
  const remote_ops* const ops = s->ops->remote;
  if (ops == nullptr) return refuse_remote(s, send_result::not_declared, down);
  // Acquire pairs with the releases of greet and lose_link: who finds it up, or down again, sees that there are types.
  if (!p.up.load(std::memory_order_acquire)) {
    const bool ever = p.types.load(std::memory_order_relaxed) != nullptr;
    return refuse_remote(s, ever ? send_result::peer_down : send_result::no_route, down);
  }
  const wire_type& type = ops->type();
  if (!p.types.load(std::memory_order_acquire)->they_have(type)) {  // pairs with greet's release: what is in them
    return refuse_remote(s, send_result::not_declared, down);
  }
  payload_writer& w = thread_writer();
  w.begin(*this, options_.frame_bytes_max);
  ops->write(*s, w);
  const std::span<const std::byte> payload = w.finish();
  if (w.failed()) return refuse_remote(s, send_result::too_large, down);
  if (asked_ttl_us == time_to_live_over) return refuse_remote(s, send_result::expired, down);
  frame_header h;
  h.type = type.number;
  h.ttl_us = ttl_us();
  h.destination = unpacked(to.far);
  if (ops->reply != nullptr && ops->reply(*s).to != reply_address::kind::none) {
    return forward_question(p, h, payload, s);
  }
  const send_result r = result_of(send(p, h, payload));
  if (!ok(r)) return refuse_remote(s, r, down);
  s->ops->discard(s, errc::dead, {});
  return r;
}

send_result node_core::forward_question(peer_state& p, frame_header& h, std::span<const std::byte> payload, signal* s) {
  const exit_reason down(exit_reason::kind::node_down);
  h.kind = frame_kind::ask;
  {
    const std::lock_guard lock(p.mutex);
    // Under the lock: who takes the link down finds this question in the table, or this finds it down.
    if (!p.up.load(std::memory_order_relaxed)) return refuse_remote(s, send_result::peer_down, down);
    if (!p.questions.add(s, options_.questions_max, h.source)) return refuse_remote(s, send_result::no_credit, down);
  }
  // From here on the question is whoever's takes it out: the answer may come before send() has returned.
  const send_result r = result_of(send(p, h, payload));
  if (ok(r)) return r;
  signal* mine = nullptr;
  {
    const std::lock_guard lock(p.mutex);
    mine = p.questions.take(h.source);
  }
  return mine != nullptr ? refuse_remote(mine, r, down) : r;
}

void node_core::send_service_signal(std::span<const peer> to, std::uint8_t flags, std::span<const std::byte> before,
                                    const signal& s, std::span<peer_fate> became) {
  const auto all = [&](peer_fate f) { std::fill(became.begin(), became.end(), f); };
  const remote_ops* const ops = s.ops->remote;
  if (ops == nullptr) return all(peer_fate::undeclared);
  if (asked_ttl_us == time_to_live_over) return all(fate_of_service(frame_fate::expired));
  if (before.size() >= options_.frame_bytes_max) return all(peer_fate::too_large);
  payload_writer& w = thread_writer();
  w.begin(*this, options_.frame_bytes_max - before.size());
  ops->write(s, w);
  const std::span<const std::byte> payload = w.finish();
  if (w.failed()) return all(peer_fate::too_large);
  // One frame at a time; nothing that sends calls this again.
  static thread_local std::vector<std::byte> frame;
  frame.assign(before.begin(), before.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  const wire_type& type = ops->type();
  for (std::size_t i = 0; i < to.size(); ++i) {
    peer_state* const p = find_peer({to[i].node, to[i].incarnation});
    // Both acquires pair with greet's releases: that there are types, and what is in them.
    if (p == nullptr || !p->up.load(std::memory_order_acquire)) {
      became[i] = peer_fate::down;
    } else if (!p->types.load(std::memory_order_acquire)->they_have(type)) {
      became[i] = peer_fate::undeclared;
    } else {
      frame_header h;
      h.kind = frame_kind::service;
      h.flags = flags;
      h.type = type.number;
      h.ttl_us = ttl_us();
      became[i] = fate_of_service(send(*p, h, frame));
    }
  }
}

// ---- answers -------------------------------------------------------------------------------------------------------

namespace {

std::array<std::byte, 4> schema_bytes(std::uint64_t schema) noexcept {
  std::array<std::byte, 4> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(schema >> (8 * i));
  return bytes;
}

}  // namespace

void node_core::send_answer(peer_state& p, cell_number asker, const remote_ops& ops, const void* answered) noexcept
    try {
  if (const error* e = ops.answer_error(answered)) return refuse_question(p, asker, *e);
  payload_writer& w = thread_writer();
  w.begin(*this, options_.frame_bytes_max);
  ops.write_answer(answered, w);
  const std::span<const std::byte> payload = w.finish(schema_bytes(ops.answer_schema()));
  if (w.failed()) {
    return refuse_question(p, asker, error(errc::too_large, "the answer is larger than a frame may be"));
  }
  frame_header h;
  h.kind = frame_kind::answer;
  h.destination = asker;
  const bool sent = p.up.load(std::memory_order_relaxed) && send(p, h, payload) == frame_fate::accepted;
  node_counters::add(sent ? counters_.answers_sent : counters_.answers_lost);
} catch (...) {  // std::bad_alloc: the asker is left to its timeout
  node_counters::add(counters_.answers_lost);
}

void node_core::refuse_question(peer_state& p, cell_number asker, const error& why) noexcept try {
  payload_writer& w = thread_writer();
  w.begin(*this, options_.frame_bytes_max);
  wire_write(w, why);
  const std::span<const std::byte> payload = w.finish();
  frame_header h;
  h.kind = frame_kind::refusal;
  h.destination = asker;
  const bool sent = !w.failed() && p.up.load(std::memory_order_relaxed) && send(p, h, payload) == frame_fate::accepted;
  node_counters::add(sent ? counters_.answers_sent : counters_.answers_lost);
} catch (...) {
  node_counters::add(counters_.answers_lost);
}

}  // namespace karyon::detail
