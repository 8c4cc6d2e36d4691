#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <utility>

#include <karyon/cell/ref.hpp>
#include <karyon/cell/signals.hpp>

namespace karyon {

/// The longest name of a scope, a group or a registered cell, in bytes.
inline constexpr std::size_t name_bytes_max = 255;

/// Names a process of the colony; 0 is the one that asks.
struct node_id {
  std::uint64_t value = 0;
  friend bool operator==(const node_id&, const node_id&) = default;
  friend auto operator<=>(const node_id&, const node_id&) = default;
};

namespace detail {

struct member_access;

/// The way to cells of other nodes that a scope's groups or names have told of.
class far_port {
public:
  far_port() = default;
  far_port(const far_port&) = delete;
  far_port& operator=(const far_port&) = delete;
  /// Any thread. The signal stays the caller's.
  [[nodiscard]] virtual send_result send_far(std::uint64_t node, std::uint64_t number, const signal& s) noexcept = 0;

protected:
  ~far_port() = default;
};

/// The class of an incarnation or role that is alive; null if it is not.
[[nodiscard]] KARYON_API const class_info* class_of(const address& a, bool role) noexcept;

}  // namespace detail

/// A cell as groups and the registry keep it: an incarnation (made from a ref), a supervised role (made from a child handle), which
/// stays through restarts, or a cell of another node, which can be sent to.
///
/// A plain value, as ref is: any thread, free to copy and to send within its process (one of another node: for as long as the runtime
/// lives in whose scope it was found). Equal are two that name the same incarnation, the same role or the same cell elsewhere; a role
/// and its present incarnation are two members.
class member {
public:
  member() noexcept = default;
  template <class C>
  member(const ref<C>& r) noexcept  // NOLINT: a ref is what a member names
      : at_(detail::handle_access::of(r)), class_(&detail::class_info_of<C>::value) {}
  template <class C>
  member(const child<C>& c) noexcept  // NOLINT: likewise
      : at_(detail::handle_access::of(c)), class_(&detail::class_info_of<C>::value), role_(true) {}
  /// Of a cell that lives; a member of one that does not can not join anything.
  member(const cell_ref& r) noexcept  // NOLINT: likewise
      : at_(detail::handle_access::of(r)), class_(detail::class_of(at_, false)) {}

  /// Whether it names a cell of this process.
  [[nodiscard]] bool local() const noexcept { return node_.value == 0; }
  /// The process of the cell; 0 for this one.
  [[nodiscard]] node_id node() const noexcept { return node_; }
  /// Whether it names a role, which survives restarts.
  [[nodiscard]] bool role() const noexcept { return role_; }
  /// Of a cell elsewhere: its number there. 0 for local ones.
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  /// Whether the incarnation, or the role, exists right now. Of a cell elsewhere: true, for all that is known here.
  [[nodiscard]] bool alive() const noexcept {
    if (!local()) return true;
    return role_ ? detail::role_alive(at_) : detail::incarnation_alive(at_);
  }
  /// The incarnation; of a role, the one that fills it now. Empty for cells elsewhere and between two incarnations.
  [[nodiscard]] cell_ref get() const noexcept {
    if (!role_) return detail::handle_access::make<cell_ref>(at_);
    const detail::address now = detail::incarnation_of_role(at_);
    return now.number != 0 ? detail::handle_access::make<cell_ref>(now) : cell_ref();
  }
  /// Typed handles; empty if it is of another class, or of the other kind.
  template <class C>
  [[nodiscard]] ref<C> as_ref() const noexcept {
    return is<C>() && !role_ ? detail::handle_access::make<ref<C>>(at_) : ref<C>();
  }
  template <class C>
  [[nodiscard]] child<C> as_child() const noexcept {
    return is<C>() && role_ ? detail::handle_access::make<child<C>>(at_) : child<C>();
  }
  /// Whether it names a local cell of this class.
  template <class C>
  [[nodiscard]] bool is() const noexcept {
    return local() && class_ == &detail::class_info_of<C>::value;
  }

  /// As cell_ref::send: `no_handler` if the class does not accept the type. To a cell elsewhere it goes by its scope's link (the type is
  /// declared with KARYON_SIGNAL): `accepted` says that its node has room, `peer_down` also that the scope has no link to it.
  template <class T>
  send_result send(T&& value) const {
    using signal_type = std::remove_cvref_t<T>;
    static_assert(detail::check_sendable<signal_type>());
    if (!local()) {
      if (far_ == nullptr) return send_result::dead;
      const detail::payload_signal<signal_type> made(&detail::remote_only_ops<signal_type>, std::forward<T>(value));
      return far_->send_far(node_.value, number_, made);
    }
    if (class_ == nullptr) return send_result::dead;
    const detail::signal_ops* ops = class_->find_tell(std::type_index(typeid(signal_type)));
    if (ops == nullptr) return alive() ? send_result::no_handler : send_result::dead;
    auto* s = detail::make_signal<detail::payload_signal<signal_type>>(ops, std::forward<T>(value));
    return role_ ? detail::deliver_to_role(at_.slot, at_.number, s) : detail::deliver(at_.slot, at_.number, s);
  }

  explicit operator bool() const noexcept { return at_.slot != nullptr || node_.value != 0; }
  friend bool operator==(const member& a, const member& b) noexcept {
    return a.at_ == b.at_ && a.role_ == b.role_ && a.node_ == b.node_ && a.number_ == b.number_;
  }

private:
  friend struct detail::member_access;
  detail::address at_;
  union {
    const detail::class_info* class_ = nullptr;  // of a local one
    detail::far_port* far_;                      // of one elsewhere
  };
  node_id node_;
  std::uint64_t number_ = 0;
  bool role_ = false;
};

template <>
inline constexpr bool enable_sendable<member> = true;

namespace detail {

/// The library's way into members.
struct member_access {
  static const address& at(const member& m) noexcept { return m.at_; }
  static const class_info* class_of(const member& m) noexcept { return m.local() ? m.class_ : nullptr; }
  static member make(const address& a, bool role, const class_info* c) noexcept {
    member m;
    m.at_ = a;
    m.role_ = role;
    m.class_ = c;
    return m;
  }
  static member elsewhere(std::uint64_t node, std::uint64_t number, far_port& by) noexcept {
    member m;
    m.node_.value = node;
    m.number_ = number;
    m.far_ = &by;
    return m;
  }
};

}  // namespace detail
}  // namespace karyon
