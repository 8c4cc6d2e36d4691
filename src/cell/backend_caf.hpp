#pragma once

#include <caf/abstract_actor.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/attachable.hpp>

#include "cell/slot.hpp"

namespace karyon::detail {

/// The CAF actor in every slot (CAF 0.17): a caf::abstract_actor without members, so that it fits between the inbox word
/// and the hot line. Not a local_actor: its 104 bytes more (timeouts, request ids, a condition variable) serve what a cell
/// does itself. It stays constructed through all tenants of the slot; what CAF attaches to it (monitors, links) is kept
/// in a side table until the incarnation ends.
class caf_cell final : public caf::abstract_actor {
public:
  explicit caf_cell(caf::actor_config& cfg) : caf::abstract_actor(cfg) {}
  ~caf_cell() override;

  static caf_cell& of(cell_slot& s) noexcept;
  [[nodiscard]] cell_slot& slot() noexcept;
  [[nodiscard]] caf::actor_control_block* block() noexcept { return ctrl(); }

  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override;
  void attach(caf::attachable_ptr what) override;
  std::size_t detach(const caf::attachable::token& what) override;
  void add_link(caf::abstract_actor* other) override;
  void remove_link(caf::abstract_actor* other) override;
  bool add_backlink(caf::abstract_actor* other) override;
  bool remove_backlink(caf::abstract_actor* other) override;
  const char* name() const;

  /// The incarnation has ended: runs and drops what is attached.
  void incarnation_ended(const caf::error& why) noexcept;
};

}  // namespace karyon::detail
