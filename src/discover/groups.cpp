#include <karyon/discover/groups.hpp>

#include "discover/group_store.hpp"

namespace karyon {

namespace {

detail::group_store& opened(detail::group_store* s) {
  if (s == nullptr) throw runtime_error(error(errc::invalid_argument, "this handle names no scope: open() makes one"));
  return *s;
}

}  // namespace

result<process_groups> process_groups::open(runtime& rt, std::string_view scope, scope_reach reach) {
  try {
    return detail::directory::of(rt.core()).open_groups(scope, reach).map([](detail::group_store* s) {
      return process_groups(s);
    });
  } catch (const runtime_error& e) {
    return tl::unexpected<error>(e.why());
  }
}

result<void> process_groups::join(std::string_view group, const member& who) {
  return opened(store_).join(group, {&who, 1});
}
result<void> process_groups::join(std::string_view group, std::span<const member> who) {
  return opened(store_).join(group, who);
}
result<void> process_groups::leave(std::string_view group, const member& who) {
  return opened(store_).leave(group, {&who, 1});
}
result<void> process_groups::leave(std::string_view group, std::span<const member> who) {
  return opened(store_).leave(group, who);
}
std::vector<member> process_groups::members(std::string_view group) const {
  return opened(store_).members(group, false);
}
std::vector<member> process_groups::local_members(std::string_view group) const {
  return opened(store_).members(group, true);
}
std::size_t process_groups::size(std::string_view group) const { return opened(store_).size(group, false); }
std::size_t process_groups::local_size(std::string_view group) const { return opened(store_).size(group, true); }
std::vector<std::string> process_groups::groups() const { return opened(store_).groups(false); }
std::vector<std::string> process_groups::local_groups() const { return opened(store_).groups(true); }
result<group_snapshot> process_groups::watch_group(std::string_view group, const member& who,
                                                   const detail::signal_ops* ops) {
  return opened(store_).watch(group, who, ops);
}
result<group_snapshot> process_groups::watch_scope(const member& who, const detail::signal_ops* ops) {
  return opened(store_).watch_all(who, ops);
}
result<void> process_groups::unwatch(const cell_ref& who, watch_id which) { return opened(store_).unwatch(who, which); }
result<member> process_groups::pick(std::string_view group, pick_by how) const {
  return opened(store_).pick(group, how, false);
}
result<member> process_groups::pick_local(std::string_view group, pick_by how) const {
  return opened(store_).pick(group, how, true);
}
std::vector<member> process_groups::receivers(std::string_view group, bool& elsewhere) const {
  return opened(store_).receivers(group, elsewhere);
}
void process_groups::send_elsewhere(std::string_view group, const detail::signal& s, group_sent& sent) const {
  opened(store_).send_elsewhere(group, s, sent);
}
void process_groups::stop() { opened(store_).stop(); }

}  // namespace karyon
