#include <memory>

#include "supervise/ordered_core.hpp"
#include "supervise/supervisor_core.hpp"

namespace karyon {

any_child detail::any_child_access::of_tree(const ordered_supervisor& tree) { return of_node(tree.core_); }

cell_ref any_child::get() const noexcept {
  if (class_ == nullptr) return {};
  const detail::address now = detail::incarnation_of_role(role_);
  return now.number != 0 ? detail::handle_access::make<cell_ref>(now) : cell_ref();
}

ordered_supervisor any_child::as_tree() const noexcept {
  return ordered_supervisor(std::dynamic_pointer_cast<detail::ordered_core>(node_));
}

supervisor any_child::as_dynamic() const noexcept {
  return supervisor(std::dynamic_pointer_cast<detail::supervisor_core>(node_));
}

}  // namespace karyon
