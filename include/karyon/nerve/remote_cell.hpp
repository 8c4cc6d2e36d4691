#pragma once

#include <type_traits>

#include <karyon/cell/ref.hpp>
#include <karyon/cell/sendable.hpp>
#include <karyon/core/export.hpp>

namespace karyon {

namespace detail {
struct remote_cell_access;
/// The same cell, if it is another process', whose node looks at the class itself, or a role of that class here; else none.
[[nodiscard]] KARYON_API address checked_cell(const address& at, bool role, const class_info& expected) noexcept;
}  // namespace detail

/// A cell whose class is known to whoever asked for it: what a node answers that was asked for one.
class remote_cell {
public:
  remote_cell() = default;
  /// As a handle; C is the class that was asked for. It follows restarts if the node published a child. Empty if it has led home, to
  /// what is no child of class C.
  template <class C>
  [[nodiscard]] child<C> as() const noexcept {
    return detail::handle_access::make<child<C>>(detail::checked_cell(at_, role_, detail::class_info_of<C>::value));
  }

private:
  friend struct detail::remote_cell_access;
  detail::address at_;
  bool role_ = false;
};

}  // namespace karyon

namespace karyon::detail {

struct remote_cell_access {
  [[nodiscard]] static remote_cell make(const address& at, bool role) noexcept {
    remote_cell c;
    c.at_ = at;
    c.role_ = role;
    return c;
  }
  static address& at(remote_cell& c) noexcept { return c.at_; }
  static bool& role(remote_cell& c) noexcept { return c.role_; }
};

}  // namespace karyon::detail

template <>
inline constexpr bool karyon::enable_sendable<karyon::remote_cell> = true;
