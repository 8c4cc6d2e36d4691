#include "nerve/wire_types.hpp"

#include <limits>
#include <mutex>
#include <unordered_map>

#include "core/programmer_error.hpp"

namespace karyon::detail {

namespace {

struct wire_types {
  std::mutex mutex;
  std::vector<const wire_type*> all;                               // mutex; by number - 1
  std::unordered_map<std::string_view, const wire_type*> by_name;  // mutex

  static wire_types& instance() {
    static wire_types& list = *new wire_types;  // never destroyed: nodes may outlive other static objects
    return list;
  }
};

}  // namespace

std::uint64_t wire_hash(std::string_view text, std::uint64_t from) noexcept {
  for (const char c : text) from = (from ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return from;
}

void list_wire_type(wire_type& t) {
  wire_types& list = wire_types::instance();
  const std::lock_guard lock(list.mutex);
  if (const auto found = list.by_name.find(t.name); found != list.by_name.end()) {
    // The same type again: of another shared library with a record of its own.
    if (found->second->type != t.type || found->second->schema != t.schema) {
      programmer_error("two signals of one name are declared with KARYON_SIGNAL in this program: rename one of them");
    }
    t.number = found->second->number;
    return;
  }
  if (list.all.size() >= std::numeric_limits<std::uint16_t>::max()) {
    programmer_error("more than 65,535 signals are declared with KARYON_SIGNAL");
  }
  list.all.push_back(&t);
  t.number = static_cast<std::uint16_t>(list.all.size());
  list.by_name.emplace(t.name, &t);
}

std::vector<const wire_type*> listed_wire_types() {
  wire_types& list = wire_types::instance();
  const std::lock_guard lock(list.mutex);
  return list.all;
}

shared_types compare_types(const std::vector<const wire_type*>& here, const std::vector<greeted_type>& there) {
  std::unordered_map<std::string_view, const wire_type*> by_name;
  for (const wire_type* t : here) by_name.emplace(t->name, t);
  shared_types both;
  both.here_by_theirs.assign(there.size() + 1, nullptr);
  both.theirs_by_here.assign(here.size() + 1, false);
  for (std::size_t i = 0; i < there.size(); ++i) {
    const auto found = by_name.find(there[i].name);
    if (found == by_name.end()) continue;
    const wire_type& mine = *found->second;
    if (mine.schema != there[i].schema) {
      both.differences.push_back("signal " + there[i].name + ": here " + mine.text + ", there " + there[i].text);
      continue;
    }
    both.here_by_theirs[i + 1] = &mine;
    both.theirs_by_here[mine.number] = true;
  }
  return both;
}

}  // namespace karyon::detail
