#include <karyon/discover/registry.hpp>

#include <utility>

#include "discover/name_store.hpp"

namespace karyon {

namespace {

detail::name_store& opened(detail::name_store* s) {
  if (s == nullptr) throw runtime_error(error(errc::invalid_argument, "this handle names no scope: open() makes one"));
  return *s;
}

}  // namespace

result<registry> registry::open(runtime& rt, std::string_view scope, registry_options options) {
  try {
    return detail::directory::of(rt.core()).open_names(scope, std::move(options)).map([](detail::name_store* s) {
      return registry(s);
    });
  } catch (const runtime_error& e) {
    return tl::unexpected<error>(e.why());
  }
}

result<void> registry::add(std::string_view name, const member& who) { return opened(store_).add(name, who); }
result<void> registry::remove(std::string_view name) { return opened(store_).remove(name, nullptr); }
result<void> registry::remove(std::string_view name, const member& who) { return opened(store_).remove(name, &who); }
result<member> registry::find(std::string_view name) const { return opened(store_).find(name); }
std::vector<std::string> registry::names_of(const member& who) const { return opened(store_).names_of(who); }
std::size_t registry::size() const { return opened(store_).size(); }
registry_metrics registry::metrics() const { return opened(store_).metrics(); }
void registry::stop() { opened(store_).stop(); }

}  // namespace karyon
