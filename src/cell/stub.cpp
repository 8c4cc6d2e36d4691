#include "cell/stub.hpp"

#include <mutex>
#include <new>

#include "cell/slab.hpp"
#include "core/programmer_error.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

struct stub_fields {
  std::atomic<remote_gate*> gate;
  std::atomic<void*> peer;
  std::atomic<std::uint64_t> far;
};
static_assert(slot_header_bytes + sizeof(stub_fields) <= slot_bytes_min);

/// The "class" of every stub; only its address is used.
constexpr class_info stub_class{"karyon::stub", 0, 8, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, {}};

stub_fields& stub_fields_of(const cell_slot& s) noexcept {
  return *reinterpret_cast<stub_fields*>(const_cast<std::byte*>(reinterpret_cast<const std::byte*>(&s)) +
                                         slot_header_bytes);
}

void prepare(void* memory, void*) {
  // The inbox word and the incarnation stay what they are (initialise_slot): the slot may have been a cell's.
  auto& s = *static_cast<cell_slot*>(memory);
  s.role.store(0, std::memory_order_relaxed);
  s.extras = nullptr;
  s.pending_tail = nullptr;
  s.flags = 0;
  ::new (&stub_fields_of(s)) stub_fields{};
  // Release pairs with the acquire in find_stub: who finds a stub's class finds its fields made.
  s.info.store(&stub_class, std::memory_order_release);
}

/// Slots for stubs, of the whole process: type-stable as stubs. Never destroyed, as handles never are.
class stub_slots {
public:
  static stub_slots& instance() {
    static stub_slots& all = *new stub_slots;
    return all;
  }
  cell_slot& take() { return *static_cast<cell_slot*>(store_.allocate(slot_bytes_min, 0, nullptr)); }
  void give(cell_slot& s) noexcept {
    // As release_slot: one whose numbers are used up stays out.
    if (s.number() < inbox_word::tag_max) store_.release(&s, nullptr);
  }

private:
  slab_store store_{{slab_store::node{}}, &prepare, nullptr};
};

// ---- gates ---------------------------------------------------------------------------------------------------------

std::mutex gates_mutex;
remote_gate* all_gates = nullptr;  // gates_mutex; so that none is lost to those who look for leaks

}  // namespace

remote_gate& remote_gate::make(remote_port& port) {
  auto* gate = new remote_gate(port);
  const std::lock_guard lock(gates_mutex);
  gate->next_ = all_gates;
  all_gates = gate;
  return *gate;
}

std::atomic<std::uint32_t>& remote_gate::mine() noexcept {
  static std::atomic<std::uint32_t> threads{0};
  static thread_local const std::uint32_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return stripes_[number % stripes_.size()].inside;
}

void remote_gate::close() noexcept {
  port_.store(nullptr, std::memory_order_seq_cst);
  const auto empty = [this] {
    for (const stripe& s : stripes_) {
      if (s.inside.load(std::memory_order_seq_cst) != 0) return false;
    }
    return true;
  };
  static_cast<void>(poll_until(empty, never_ns));
}

remote_gate::pass::pass(remote_gate& g) noexcept : count_(g.mine()) {
  count_.fetch_add(1, std::memory_order_seq_cst);
  port_ = g.port_.load(std::memory_order_seq_cst);
}
remote_gate::pass::~pass() {
  count_.fetch_sub(1, std::memory_order_release);  // pairs with close's load: what was done inside is over
}

// ---- stubs ---------------------------------------------------------------------------------------------------------

bool find_stub(const address& a, stub& to) noexcept {
  if (a.slot == nullptr || a.number == 0) return false;
  const std::uint64_t seen = a.slot->inbox.look();
  if (inbox_word::tag_of(seen) != inbox_word::tag_of_incarnation(a.number) || inbox_word::accepts(seen)) return false;
  // Acquire pairs with prepare's release: the fields are made.
  if (a.slot->info.load(std::memory_order_acquire) != &stub_class) return false;
  const stub_fields& f = stub_fields_of(*a.slot);
  // Acquire pairs with the releases in make_stub: who reads a field of a later stub sees that one's word in the look below.
  to.gate = f.gate.load(std::memory_order_acquire);
  to.peer = f.peer.load(std::memory_order_acquire);
  to.far = f.far.load(std::memory_order_acquire);
  to.at = a;
  return to.gate != nullptr && a.slot->inbox.look() == seen;
}

address make_stub(remote_gate& gate, void* peer, std::uint64_t far) {
  cell_slot& s = stub_slots::instance().take();
  // A free slot has its link to the next one where run_link is; nothing else of it was written to.
  const std::uint32_t n = s.number() + 1;
  s.incarnation.store(n, std::memory_order_relaxed);
  s.inbox.vacate(n);
  stub_fields& f = stub_fields_of(s);
  // Releases pair with the acquires in find_stub, the role's with that in role_alive: who reads one of these sees this stub's word.
  f.peer.store(peer, std::memory_order_release);
  f.far.store(far, std::memory_order_release);
  f.gate.store(&gate, std::memory_order_release);
  s.role.store(n, std::memory_order_release);
  return {&s, n};
}

void free_stub(const address& a) noexcept {
  // Releases pair with the acquires in role_alive and find_stub: who finds it gone sees what its maker has done before.
  a.slot->role.store(0, std::memory_order_release);
  stub_fields_of(*a.slot).gate.store(nullptr, std::memory_order_release);
  stub_slots::instance().give(*a.slot);
}

}  // namespace karyon::detail
