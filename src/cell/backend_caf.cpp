#include "cell/backend_caf.hpp"

#include <array>
#include <atomic>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

#include <caf/actor_config.hpp>
#include <caf/actor_system.hpp>
#include <caf/default_attachable.hpp>
#include <caf/exit_reason.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/sec.hpp>
#include <caf/system_messages.hpp>

#include <karyon/interop/detail/caf_bridge.hpp>

#include "cell/backend.hpp"
#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"

namespace karyon::detail {

static_assert(sizeof(caf::actor_control_block) == sizeof(cell_slot::backend_block));
static_assert(sizeof(caf_cell) == sizeof(cell_slot::backend_object));
static_assert(offsetof(cell_slot, backend_object) == CAF_CACHE_LINE_SIZE, "CAF finds the actor behind its block");

namespace {

/// Monitors, links and functors that CAF has attached to cells: a side table, since few cells have any. Locked by shard;
/// CAF's own lock order (lower address first) is not needed, because no two shards are ever held at once.
struct attachments {
  std::mutex mutex;
  std::unordered_map<const cell_slot*, caf::attachable_ptr> of;
};

attachments& attachments_for(const cell_slot* s) {
  static auto& shards = *new std::array<attachments, 64>();  // never destroyed: a runtime may outlive static objects
  return shards[(reinterpret_cast<std::uintptr_t>(s) >> 6) % shards.size()];
}

/// How a class's signals are made of CAF messages; filled by karyon::to_caf.
struct converter_table {
  std::shared_mutex mutex;
  std::unordered_map<const class_info*, caf_converter> of;
};

converter_table& converters() {
  static auto& table = *new converter_table();  // likewise
  return table;
}

std::size_t detach_from(caf::attachable_ptr& head, const caf::attachable::token& what) {
  std::size_t n = 0;
  caf::attachable_ptr* place = &head;
  while (*place != nullptr) {
    if ((*place)->matches(what)) {
      caf::attachable_ptr rest = std::move((*place)->next);
      *place = std::move(rest);
      ++n;
    } else {
      place = &(*place)->next;
    }
  }
  return n;
}

void destroy_data(caf::abstract_actor*) {
  // The object stays until the block goes: a slot's actor is rebuilt as one.
}

/// The last handle of CAF is gone, and the cell before it: the slot can have a new tenant.
void destroy_block(caf::actor_control_block* block) {
  auto& s = *reinterpret_cast<cell_slot*>(block);
  runtime_core& core = core_of(&s);
  backend_destroy(s);
  backend_construct(s, core);
  release_slot(s);
}

}  // namespace

caf::error to_caf_error(const exit_reason& why) {
  switch (why.why()) {
    case exit_reason::kind::normal: return {};
    case exit_reason::kind::shutdown: return caf::make_error(caf::exit_reason::user_shutdown);
    case exit_reason::kind::killed: return caf::make_error(caf::exit_reason::kill);
    case exit_reason::kind::no_cell: return caf::make_error(caf::exit_reason::unknown);
    default: {
      // Of the code and the text, since this version's make_error takes no context for exit reasons.
      caf::error e = caf::make_error(caf::exit_reason::unhandled_exception);
      return {e.code(), e.category(), caf::make_message(to_string(why))};
    }
  }
}

exit_reason to_exit_reason(const caf::error& why) {
  if (!why) return {};
  if (why == caf::exit_reason::user_shutdown) return exit_reason::shutdown();
  if (why == caf::exit_reason::kill) return exit_reason::killed();
  return exit_reason::error("caf::error", to_string(why));
}

void register_caf_converter(const class_info& info, caf_converter convert) {
  converter_table& table = converters();
  const std::unique_lock lock(table.mutex);
  table.of.insert_or_assign(&info, convert);
}

caf::actor_system& caf_system_of(runtime& rt) { return *static_cast<caf::actor_system*>(rt.core().backend().system()); }

caf::strong_actor_ptr expose_to_caf(const address& a) {
  if (!incarnation_alive(a)) return nullptr;
  // Count first, then look whether the cell still lives; exposed() does it the other way round (the mailbox is closed
  // first, then it looks at the counts), so one of the two sees the other. A count that came too late is taken back, and
  // frees the slot if the cell's end has left that to it. A count of zero is never raised: the last handle has gone since the
  // first look, and its thread is about to build the block anew (tests/model/expose_model.cpp).
  caf::actor_control_block* block = caf_cell::of(*a.slot).block();
  if (!caf::intrusive_ptr_upgrade_weak(block)) return nullptr;
  caf::strong_actor_ptr handle(block, false);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!incarnation_alive(a)) return nullptr;
  return handle;
}

// ---- slots ---------------------------------------------------------------------------------------------------------

namespace {

/// An end for which there is no memory to say more. Made with the first slot.
const caf::error& wordless_failure() {
  static const caf::error why = caf::make_error(caf::exit_reason::unhandled_exception);
  return why;
}

/// What the control blocks made on this thread share. CAF counts references to its node id, and hands out actor ids from one
/// counter: two lines that workers which start cells at the same time would fight for. So each thread has an equal node id of
/// its own, and takes actor ids by the thousand, from a range that CAF's own counter does not reach.
struct block_supply {
  std::uint64_t runtime = 0;  // serial
  caf::node_id node;
  caf::actor_id next = 0;
  caf::actor_id end = 0;

  void refill(caf::actor_system& system, std::uint64_t serial) {
    runtime = serial;
    node = system.node();
    static_cast<void>(wordless_failure());
    try {
      const auto* data = node ? dynamic_cast<const caf::node_id::default_data*>(&*node) : nullptr;
      if (data != nullptr) node = caf::make_node_id(data->process_id(), data->host_id());
    } catch (const std::bad_alloc&) {  // the shared one serves as well
    }
  }
  [[nodiscard]] caf::actor_id take_id() {
    constexpr caf::actor_id together = 4096;
    static std::atomic<caf::actor_id> last{caf::actor_id{1} << 40u};
    if (next == end) {
      next = last.fetch_add(together, std::memory_order_relaxed);
      end = next + together;
    }
    return next++;
  }
};

}  // namespace

void backend_construct(cell_slot& s, runtime_core& core) {
  auto& system = *static_cast<caf::actor_system*>(core.backend().system());
  static thread_local block_supply supply;
  if (supply.runtime != core.serial()) supply.refill(system, core.serial());
  caf::node_id node = supply.node;
  ::new (&s.backend_block) caf::actor_control_block(supply.take_id(), node, &system, &destroy_data, &destroy_block);
  caf::actor_config config;
  ::new (static_cast<void*>(&s.backend_object)) caf_cell(config);
}

void backend_destroy(cell_slot& s) noexcept {
  caf_cell& actor = caf_cell::of(s);
  caf::actor_control_block* block = actor.block();
  actor.~caf_cell();
  block->~actor_control_block();
}

namespace {

bool exposed(cell_slot& s) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: expose_to_caf
  // Acquire pairs with the release in which CAF counts a handle down: who finds none sees what their holders did.
  const caf::actor_control_block* block = caf_cell::of(s).block();
  return block->strong_refs.load(std::memory_order_acquire) != 1 ||
         block->weak_refs.load(std::memory_order_acquire) != 1;
}

}  // namespace

void backend_ended(cell_slot& s, const exit_reason& why) noexcept {
  if (!exposed(s)) return;
  const caf::error* told = &wordless_failure();
  caf::error in_full;
  try {
    in_full = to_caf_error(why);
    told = &in_full;
  } catch (const std::bad_alloc&) {  // no memory for its words
  }
  caf_cell::of(s).incarnation_ended(*told);
}

bool backend_release(cell_slot& s) noexcept {
  if (!exposed(s)) return true;
  intrusive_ptr_release(caf_cell::of(s).block());
  return false;
}

// ---- the actor -----------------------------------------------------------------------------------------------------

caf_cell::~caf_cell() = default;

caf_cell& caf_cell::of(cell_slot& s) noexcept { return *std::launder(reinterpret_cast<caf_cell*>(&s.backend_object)); }

cell_slot& caf_cell::slot() noexcept {
  return *reinterpret_cast<cell_slot*>(reinterpret_cast<std::byte*>(this) - offsetof(cell_slot, backend_object));
}

void caf_cell::enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) {
  cell_slot& s = slot();
  auto refuse = [&what](caf::error why) {
    if (what->mid.is_request() && what->sender != nullptr) {
      what->sender->enqueue(nullptr, what->mid.response_id(), caf::make_message(std::move(why)), nullptr);
    }
  };
  const detail::address now = {&s, s.incarnation.load(std::memory_order_relaxed)};
  if (!incarnation_alive(now)) return refuse(caf::make_error(caf::sec::request_receiver_down));
  caf::message content = what->move_content_to_message();
  if (content.match_elements<caf::exit_msg>()) {
    send_exit(now, {}, to_exit_reason(content.get_as<caf::exit_msg>(0).reason));
    return;
  }
  caf_converter convert = nullptr;
  {
    converter_table& table = converters();
    const std::shared_lock lock(table.mutex);
    const auto found = table.of.find(s.info.load(std::memory_order_relaxed));
    if (found != table.of.end()) convert = found->second;
  }
  signal* converted = nullptr;
  try {
    if (convert != nullptr) converted = convert(content, what->sender, what->mid);
  } catch (...) {  // no memory, or what copying the content throws
    return refuse(caf::make_error(caf::sec::runtime_error));
  }
  if (converted == nullptr) return refuse(caf::make_error(caf::sec::unexpected_message));
  deliver(now.slot, now.number, converted);
}

void caf_cell::attach(caf::attachable_ptr what) {
  cell_slot& s = slot();
  const detail::address now = {&s, s.incarnation.load(std::memory_order_relaxed)};
  {
    attachments& shard = attachments_for(&s);
    const std::lock_guard lock(shard.mutex);
    // Looked at under the lock that incarnation_ended takes after the mailbox was closed: either it finds this one, or
    // we find the cell gone.
    if (incarnation_alive(now)) {
      caf::attachable_ptr& head = shard.of[&s];
      what->next = std::move(head);
      head = std::move(what);
      return;
    }
  }
  what->actor_exited(caf::make_error(caf::exit_reason::unknown), nullptr);
}

std::size_t caf_cell::detach(const caf::attachable::token& what) {
  attachments& shard = attachments_for(&slot());
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.of.find(&slot());
  return found != shard.of.end() ? detach_from(found->second, what) : 0;
}

void caf_cell::incarnation_ended(const caf::error& why) noexcept {
  caf::attachable_ptr head;
  {
    attachments& shard = attachments_for(&slot());
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.of.find(&slot());
    if (found == shard.of.end()) return;
    head = std::move(found->second);
    shard.of.erase(found);
  }
  auto* unit = static_cast<caf::execution_unit*>(actor_backend::current_unit());
  while (head != nullptr) {
    try {
      head->actor_exited(why, unit);
    } catch (...) {  // no memory to tell this one, or a functor of the host's: the others are told all the same
    }
    head = std::move(head->next);
  }
}

void caf_cell::add_link(caf::abstract_actor* other) {
  // The other side first, as CAF does: it refuses a second link, and answers at once if it has ended.
  bool added = false;
  if (auto* cell = dynamic_cast<caf_cell*>(other)) {
    added = cell->add_backlink(this);
  } else {
    added = other->exclusive_critical_section([&] { return other->add_backlink(this); });
  }
  if (added) attach(caf::default_attachable::make_link(address(), other->address()));
}

void caf_cell::remove_link(caf::abstract_actor* other) {
  if (auto* cell = dynamic_cast<caf_cell*>(other)) {
    cell->remove_backlink(this);
  } else {
    other->exclusive_critical_section([&] { return other->remove_backlink(this); });
  }
  detach(
      caf::attachable::token(caf::default_attachable::observe_token{other->address(), caf::default_attachable::link}));
}

bool caf_cell::add_backlink(caf::abstract_actor* other) {
  const caf::default_attachable::observe_token token{other->address(), caf::default_attachable::link};
  detach(caf::attachable::token(token));
  attach(caf::default_attachable::make_link(address(), other->address()));
  return true;
}

bool caf_cell::remove_backlink(caf::abstract_actor* other) {
  return detach(caf::attachable::token(
             caf::default_attachable::observe_token{other->address(), caf::default_attachable::link})) > 0;
}

}  // namespace karyon::detail
