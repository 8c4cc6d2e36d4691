#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include <karyon/core/result.hpp>
#include <karyon/supervise/ordered_supervisor.hpp>

namespace karyon {

/// Children by where they stand: "/colony/eyes/42" is resolved from parent to child, with no table of all cells beside the tree.
///
/// A root is a tree of ordered supervisors under a name, each of whose steps is the id of a child. Where many alike children hang below
/// a supervisor, which knows no ids, their handles are hung in as a row, whose steps are numbers from 0. What is found is a handle
/// that survives restarts: look it up once and hold it; from then on it costs O(1).
///
/// A value that names one set of roots; copies name the same one. Threads: any, cells too. Resolving takes one supervisor's table
/// lock after the other, never two, and costs O(depth) look-ups by id.
class KARYON_API paths {
public:
  paths();

  /// From now on "/<name>" is this tree. invalid_argument: not a single step (empty, with a slash, more than name_bytes_max bytes
  /// or no UTF-8), or an empty handle; already_present.
  [[nodiscard]] result<void> mount(std::string_view name, const ordered_supervisor& tree);
  /// From now on "<path>/<i>" is children[i]. The path need not lead to anything itself, and hides a child of that id.
  /// invalid_argument, already_present.
  template <class C>
  [[nodiscard]] result<void> mount_row(std::string_view path, const std::vector<child<C>>& children) {
    std::vector<detail::address> roles;
    roles.reserve(children.size());
    for (const child<C>& c : children) roles.push_back(detail::handle_access::of(c));
    return mount_roles(path, detail::class_info_of<C>::value, std::move(roles));
  }
  /// Of a root or a row. not_found.
  [[nodiscard]] result<void> unmount(std::string_view path);

  /// What stands there: a cell's role, or a supervisor. invalid_argument: the path does not begin with a slash, or has an empty
  /// step; not_found, with the first step that leads nowhere.
  [[nodiscard]] result<any_child> find(std::string_view path) const;
  /// The typed handle; empty if there is no cell of that class.
  template <class C>
  [[nodiscard]] child<C> find_child(std::string_view path) const {
    const result<any_child> found = find(path);
    return found ? found->template as<C>() : child<C>();
  }

private:
  struct table;
  [[nodiscard]] result<void> mount_roles(std::string_view path, const detail::class_info& info,
                                         std::vector<detail::address> roles);
  std::shared_ptr<table> table_;
};

}  // namespace karyon
