#include <memory>
#include <utility>

#include "nerve/node_core.hpp"

namespace karyon::detail {

namespace {

/// Where the answer to a peer's question goes. Freed by whoever answers, on any thread, perhaps after the node.
class answer_there final : public foreign_reply {
public:
  answer_there(remote_gate& gate, peer_state& p, cell_number asker, const remote_ops& ops) noexcept
      : gate_(&gate), peer_(&p), asker_(asker), ops_(&ops) {}
  void answer(void* value) override {
    const remote_gate::pass through(*gate_);
    if (through.port() == nullptr) return;  // the asker has been told that the link is lost
    static_cast<node_core*>(through.port())->send_answer(*peer_, asker_, *ops_, value);
  }
  void fail(const error& e) override {
    result<void> failed = tl::unexpected<error>(e);
    answer(&failed);
  }

private:
  remote_gate* gate_;
  peer_state* peer_;
  cell_number asker_;
  const remote_ops* ops_;
};

const signal_ops no_remote{nullptr, nullptr, "karyon::none"};

const char* words_of(errc code) noexcept {
  switch (code) {
    case errc::dead: return "the cell asked has ended";
    case errc::restarting: return "the child asked is between two incarnations; ask again";
    case errc::no_handler: return "the cell asked does not accept that question, or its answer can not cross";
    case errc::not_declared: return "the question is not declared there, or not the same way";
    case errc::invalid_argument: return "the question could not be read there";
    default: return "the question was not delivered there";
  }
}

}  // namespace

void node_core::received(const peer_id& peer, const frame_header& h, std::span<const std::byte> payload) noexcept try {
  peer_state* const p = find_peer(peer);
  // Acquire pairs with greet's release: who finds it up sees that there are types.
  if (p == nullptr || !p->up.load(std::memory_order_acquire) || payload.size() > options_.frame_bytes_max) {
    return node_counters::add(counters_.bad_frames);
  }
  const while_speaking said_by(p);
  switch (h.kind) {
    case frame_kind::signal:
    case frame_kind::ask: receive_signal(*p, h, payload); break;
    case frame_kind::answer:
    case frame_kind::refusal: receive_answer(*p, h, payload); break;
    case frame_kind::control: receive_bond(*p, h, payload); break;
    case frame_kind::service:
      if (services_ != nullptr) {
        services_->received(peer, h, payload);
        break;
      }
      if (node_services::decline(*this, peer, h, payload)) break;
      [[fallthrough]];
    default: node_counters::add(counters_.bad_frames); break;
  }
  flush_unsent(*p);
} catch (...) {  // std::bad_alloc, or what a field throws: the frame is lost
  node_counters::add(counters_.bad_frames);
}

node_core::arrival node_core::make_arrival(peer_state& p, const frame_header& h, std::span<const std::byte> payload) {
  const auto lost = [](std::atomic<std::uint64_t>& counter, errc code) {
    arrival a;
    a.lost = &counter;
    a.code = code;
    return a;
  };
  // Acquire pairs with greet's release: what is in the types. That there are some follows from `up`, which received() has seen.
  const wire_type* const type = p.types.load(std::memory_order_acquire)->from_them(h.type);
  if (type == nullptr) return lost(counters_.not_declared_here, errc::not_declared);
  arrival a;
  if (!exports_.find(h.destination, a.to)) return lost(counters_.dead_here, errc::dead);
  const address now = a.to.role ? incarnation_of_role(a.to.at) : a.to.at;
  if (now.number == 0) return lost(counters_.dead_here, role_alive(a.to.at) ? errc::restarting : errc::dead);
  // What the class accepts is all that is ever read for its cells.
  const signal_ops* ops = nullptr;
  const send_result found = find_tell(now, type->type, ops, no_remote);
  if (found == send_result::no_handler) return lost(counters_.no_handler_here, errc::no_handler);
  if (!ok(found)) return lost(counters_.dead_here, errc::dead);
  std::unique_ptr<answer_there> asker;
  if (h.kind == frame_kind::ask) {
    ops = ops->remote != nullptr ? ops->remote->ask : nullptr;
    if (ops == nullptr) return lost(counters_.no_handler_here, errc::no_handler);
    asker = std::make_unique<answer_there>(gate_, p, h.source, *ops->remote);
  }
  payload_reader& r = thread_reader();
  r.begin(payload, *this);
  a.made = type->make(*ops, r, asker.get());
  if (a.made == nullptr) return lost(counters_.unreadable_here, errc::invalid_argument);
  static_cast<void>(asker.release());  // the question's now
  if (r.complete()) return a;
  a.made->ops->discard(a.made, errc::cell_failed, exit_reason::error("karyon::unreadable", to_string(r.why())));
  a.made = nullptr;
  a.lost = &counters_.unreadable_here;
  a.code = errc{};  // answered by the discard
  return a;
}

signal* node_core::read_service_signal(const peer_id& from, std::uint16_t type, std::span<const std::byte> payload,
                                       const wire_type*& what) {
  peer_state* const p = find_peer(from);
  // Both acquires pair with greet's releases: that there are types, and what is in them.
  if (p == nullptr || !p->up.load(std::memory_order_acquire)) return nullptr;
  what = p->types.load(std::memory_order_acquire)->from_them(type);
  if (what == nullptr || what->copy == nullptr) return nullptr;
  const while_speaking said_by(p);
  payload_reader& r = thread_reader();
  r.begin(payload, *this);
  signal* const made = what->make(*what->bare, r, nullptr);
  if (made == nullptr || r.complete()) return made;
  made->ops->discard(made, errc::dead, {});
  return nullptr;
}

void node_core::receive_signal(peer_state& p, const frame_header& h, std::span<const std::byte> payload) {
  // First, so that at no moment more was delivered than received.
  node_counters::add(counters_.received);
  arrival a;
  try {
    a = make_arrival(p, h, payload);
  } catch (...) {  // std::bad_alloc, or what a field throws: the same as one that can not be read
    a.lost = &counters_.unreadable_here;
    a.code = errc::invalid_argument;
  }
  if (a.made == nullptr) {
    node_counters::add(*a.lost);
    if (h.kind == frame_kind::ask && a.code != errc{}) refuse_question(p, h.source, error(a.code, words_of(a.code)));
    return;
  }
  // A question that is refused is discarded, which answers it.
  const send_result r =
      a.to.role ? deliver_to_role(a.to.at.slot, a.to.at.number, a.made) : deliver(a.to.at.slot, a.to.at.number, a.made);
  switch (r) {
    case send_result::accepted: return node_counters::add(counters_.delivered);
    case send_result::full:
    case send_result::dropped: return node_counters::add(counters_.full_here);
    default: return node_counters::add(counters_.dead_here);
  }
}

void node_core::receive_answer(peer_state& p, const frame_header& h, std::span<const std::byte> payload) {
  signal* question = nullptr;
  {
    const std::lock_guard lock(p.mutex);
    question = p.questions.take(h.destination);
  }
  if (question == nullptr) return node_counters::add(counters_.answers_late);
  // Whatever is thrown while it is read, the question ends, and answers its asker if nobody has.
  const auto end = [](signal* s) { s->ops->discard(s, errc::cell_failed, {}); };
  const std::unique_ptr<signal, decltype(end)> ends(question, end);
  const remote_ops& ops = *question->ops->remote;
  reply_address& to = ops.reply(*question);
  payload_reader& r = thread_reader();
  constexpr std::size_t schema_size = 4;
  error why(errc::cell_failed, "the answer could not be read: it is of another type there, or was damaged");
  bool good = false;
  if (h.kind == frame_kind::refusal) {
    r.begin(payload, *this);
    error refused = why;
    good = wire_read(r, refused) && r.complete();
    ops.fail(to, good ? std::move(refused) : std::move(why));
  } else {
    std::uint32_t schema = 0;
    if (payload.size() >= schema_size) {
      for (std::size_t i = 0; i < schema_size; ++i) {
        schema |= std::to_integer<std::uint32_t>(payload[i]) << (8 * i);
      }
      r.begin(payload.subspan(schema_size), *this);
      good = schema == static_cast<std::uint32_t>(ops.answer_schema()) && ops.read_answer(to, r);
    }
    if (!good) ops.fail(to, std::move(why));
  }
  if (!good) node_counters::add(counters_.answers_bad);
}

}  // namespace karyon::detail
