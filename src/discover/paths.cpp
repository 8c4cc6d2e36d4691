#include <karyon/discover/paths.hpp>

#include <charconv>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include <karyon/discover/member.hpp>

#include "discover/names.hpp"
#include "supervise/node.hpp"

namespace karyon {

struct paths::table {
  struct row {
    const detail::class_info* info;
    std::vector<detail::address> roles;
  };
  std::mutex mutex;
  // mutex:
  std::map<std::string, ordered_supervisor, std::less<>> roots;
  std::map<std::string, std::shared_ptr<const row>, std::less<>> rows;  // by the whole path
};

namespace {

result<void> check_step(std::string_view step) {
  if (step.find('/') != std::string_view::npos) {
    return fail(errc::invalid_argument, "a step of a path has no slash: " + std::string(step));
  }
  return detail::check_name(step, "step of a path");
}

result<void> check_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return fail(errc::invalid_argument, "a path begins with a slash");
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    if (auto fine = check_step(path.substr(0, end)); !fine) return fine;
    path.remove_prefix(end);
  }
  return {};
}

tl::unexpected<error> nothing_at(std::string_view path) {
  return fail(errc::not_found, "nothing stands at " + std::string(path));
}

}  // namespace

paths::paths() : table_(std::make_shared<table>()) {}

result<void> paths::mount(std::string_view name, const ordered_supervisor& tree) {
  if (auto fine = check_step(name); !fine) return fine;
  if (!tree) return fail(errc::invalid_argument, "an empty handle names no tree");
  const std::lock_guard lock(table_->mutex);
  if (!table_->roots.emplace(std::string(name), tree).second) {
    return fail(errc::already_present, "another tree is mounted at /" + std::string(name));
  }
  return {};
}

result<void> paths::mount_roles(std::string_view path, const detail::class_info& info,
                                std::vector<detail::address> roles) {
  if (auto fine = check_path(path); !fine) return fine;
  auto row = std::make_shared<const table::row>(table::row{&info, std::move(roles)});
  const std::lock_guard lock(table_->mutex);
  if (!table_->rows.emplace(std::string(path), std::move(row)).second) {
    return fail(errc::already_present, "another row is mounted at " + std::string(path));
  }
  return {};
}

result<void> paths::unmount(std::string_view path) {
  if (auto fine = check_path(path); !fine) return fine;
  const std::lock_guard lock(table_->mutex);
  if (const auto row = table_->rows.find(path); row != table_->rows.end()) {
    table_->rows.erase(row);
    return {};
  }
  if (const auto root = table_->roots.find(path.substr(1)); root != table_->roots.end()) {
    table_->roots.erase(root);
    return {};
  }
  return nothing_at(path);
}

result<any_child> paths::find(std::string_view path) const {
  if (auto fine = check_path(path); !fine) return tl::unexpected<error>(std::move(fine).error());
  ordered_supervisor at;
  std::size_t begin = 1;
  std::size_t end = std::min(path.find('/', 1), path.size());
  {
    const std::lock_guard lock(table_->mutex);
    // The last step may be a place in a row.
    const std::size_t last = path.rfind('/');
    if (const auto row = table_->rows.find(path.substr(0, last)); row != table_->rows.end()) {
      std::size_t index = 0;
      const auto [rest, failed] = std::from_chars(path.data() + last + 1, path.data() + path.size(), index);
      const bool whole = failed == std::errc() && rest == path.data() + path.size();
      if (!whole || index >= row->second->roles.size()) return nothing_at(path);
      return detail::any_child_access::of_cell(*row->second->info, row->second->roles[index]);
    }
    const auto root = table_->roots.find(path.substr(begin, end - begin));
    if (root == table_->roots.end()) return nothing_at(path.substr(0, end));
    at = root->second;
  }
  if (end == path.size()) return detail::any_child_access::of_tree(at);
  while (true) {
    begin = end + 1;
    end = std::min(path.find('/', begin), path.size());
    any_child next = at.find_any(path.substr(begin, end - begin));
    if (!next) return nothing_at(path.substr(0, end));
    if (end == path.size()) return next;
    at = next.as_tree();
    if (!at) return nothing_at(path.substr(0, std::min(path.find('/', end + 1), path.size())));
  }
}

}  // namespace karyon
