// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <hwloc.h>

#include <karyon/sched/binding.hpp>

#include "sched/dirty_pool.hpp"
#include "sched/placement.hpp"
#include "sched/topology_system.hpp"

namespace karyon {

namespace {

struct bitmap_freer {
  void operator()(hwloc_bitmap_t set) const noexcept { hwloc_bitmap_free(set); }
};
using bitmap = std::unique_ptr<hwloc_bitmap_s, bitmap_freer>;

}  // namespace

namespace {

std::string names_of(const std::vector<std::uint32_t>& units) {
  std::string names;
  for (const std::uint32_t unit : units) names.append(names.empty() ? "" : ", ").append(std::to_string(unit));
  return names;
}

}  // namespace

result<void> bind_current_thread(const worker_binding& worker) {
  if (!worker.unit_os_index) return {};
  return detail::bind_current_thread_to({*worker.unit_os_index});
}

result<void> detail::bind_current_thread_to(const std::vector<std::uint32_t>& units) {
  const auto machine = detail::system_topology();
  if (machine == nullptr || hwloc_topology_get_support(machine)->cpubind->set_thisthread_cpubind == 0)
    return fail(errc::unsupported,
                detail::system_is_pretended()
                    ? "threads are not bound, since the environment (HWLOC_*) pretends another machine"
                    : "threads can not be bound on this system");
  const auto sentence = [&units](const std::string& why) {
    return "the thread can not be bound to processing unit " + names_of(units) + ": " + why;
  };
  const bitmap set(hwloc_bitmap_alloc());
  if (set == nullptr) return fail(errc::out_of_memory, sentence("no memory for a processor set"));
  for (const std::uint32_t unit : units) {
    if (!detail::system_has_unit(unit)) return fail(errc::refused, sentence("this machine has no such unit"));
    if (hwloc_bitmap_set(set.get(), unit) != 0)
      return fail(errc::out_of_memory, sentence("no memory for a processor set"));
  }
  errno = 0;
  if (hwloc_set_cpubind(machine, set.get(), HWLOC_CPUBIND_THREAD) != 0)
    return fail(errno == ENOSYS ? errc::unsupported : errc::refused, sentence(std::generic_category().message(errno)));
  return {};
}

namespace detail {

result<std::vector<std::uint32_t>> units_of_current_thread() {
  const auto machine = system_topology();
  const bitmap set(hwloc_bitmap_alloc());
  if (machine == nullptr || set == nullptr)
    return fail(errc::unsupported, "this system does not tell where threads run");
  errno = 0;
  if (system_is_pretended() || hwloc_get_cpubind(machine, set.get(), HWLOC_CPUBIND_THREAD) != 0)
    return fail(errc::system_error,
                "the system does not tell where this thread may run: " + std::generic_category().message(errno));
  std::vector<std::uint32_t> units;
  for (int u = hwloc_bitmap_first(set.get()); u >= 0; u = hwloc_bitmap_next(set.get(), u))
    units.push_back(static_cast<std::uint32_t>(u));
  return units;
}

}  // namespace detail
}  // namespace karyon
