// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <karyon/nerve/endocrine.hpp>
#include <karyon/nerve/gateway.hpp>

#include "nerve/endocrine_core.hpp"
#include "nerve/overlay.hpp"
#include "nerve/overlay_bus.hpp"
#include "sched/parker.hpp"

namespace karyon {

namespace detail {

/// The inside of a gateway. Its buses' threads come in, each with what its own bus has brought.
class gateway_core final : public overlay_passage {
public:
  gateway_core(std::shared_ptr<endocrine_core> one, std::shared_ptr<endocrine_core> other,
               std::vector<gateway_rule> rules, const gateway_limits& limits)
      : one_(std::move(one)),
        other_(std::move(other)),
        one_bus_(bus_of(*one_)),
        other_bus_(bus_of(*other_)),
        rules_(checked(std::move(rules)), checked(limits), limits.compartments_max) {
    one_bus_.attach(*this);
    try {
      other_bus_.attach(*this);
    } catch (...) {
      one_bus_.detach(*this);
      throw;
    }
  }
  ~gateway_core() {
    one_bus_.detach(*this);
    other_bus_.detach(*this);
  }
  gateway_core(const gateway_core&) = delete;
  gateway_core& operator=(const gateway_core&) = delete;

  void passing(overlay_bus& in, const overlay_parcel& what) noexcept override try {
    if (!is_subject(what.subject)) return;  // whatever a peer has sent
    std::size_t ways = 0;
    {
      const std::lock_guard lock(mutex_);
      ways = rules_.pass(in.compartment(), what.subject, what.id, what.compartments, monotonic_ns()).size();
    }
    if (ways == 0) return;  // else 1: there is one other
    overlay_bus& to = &in == &one_bus_ ? other_bus_ : one_bus_;
    switch (to.hand_on(what)) {
      case overlay_bus::handed_on::now: return add(passed_);
      case overlay_bus::handed_on::before: return add(known_);
      case overlay_bus::handed_on::not_possible: return add(lost_);
    }
  } catch (const std::bad_alloc&) {
    add(lost_);
  }

  [[nodiscard]] gateway_metrics metrics() const {
    const auto read = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
    gateway_metrics m;
    m.passed = read(passed_);
    m.lost = read(lost_);
    const std::lock_guard lock(mutex_);
    m.duplicate = rules_.stats().duplicate + read(known_);
    m.too_far = rules_.stats().too_far;
    m.storm = rules_.stats().storm;
    return m;
  }

private:
  static void add(std::atomic<std::uint64_t>& to) noexcept { to.fetch_add(1, std::memory_order_relaxed); }
  [[noreturn]] static void refuse(const std::string& why) {
    throw runtime_error(error(errc::invalid_argument, "a gateway " + why));
  }
  static overlay_bus& bus_of(endocrine_core& core) {
    overlay_bus* const bus = core.by_overlay();
    if (bus == nullptr) refuse("is between two buses by overlay (endocrine_options::server, \"overlay://name\")");
    return *bus;
  }
  [[nodiscard]] std::vector<gateway_rule> checked(std::vector<gateway_rule> rules) const {
    const std::string& a = one_bus_.compartment();
    const std::string& b = other_bus_.compartment();
    if (a == b) refuse("is between two compartments; both of these are \"" + a + '"');
    if (rules.empty()) refuse("without rules lets nothing through");
    for (const gateway_rule& r : rules) {
      if (!(r.from == a && r.to == b) && !(r.from == b && r.to == a)) {
        refuse("between \"" + a + "\" and \"" + b + "\" has no rule from \"" + r.from + "\" to \"" + r.to + '"');
      }
      if (!is_subject_pattern(r.pattern))
        refuse("has a rule for \"" + r.pattern + "\", which is no pattern of subjects");
    }
    return rules;
  }
  [[nodiscard]] static const storm_limit& checked(const gateway_limits& l) {
    if (l.compartments_max == 0) refuse("with compartments_max 0 lets nothing through");
    if (l.rate.per_second != 0 && l.rate.burst == 0) refuse("with a burst of 0 lets nothing through");
    return l.rate;
  }

  const std::shared_ptr<endocrine_core> one_;
  const std::shared_ptr<endocrine_core> other_;
  overlay_bus& one_bus_;
  overlay_bus& other_bus_;
  mutable std::mutex mutex_;
  overlay_gateway rules_;  // mutex_
  std::atomic<std::uint64_t> passed_{0}, known_{0}, lost_{0};
};

}  // namespace detail

gateway::gateway(endocrine& one, endocrine& other, std::vector<gateway_rule> rules, gateway_limits limits)
    : core_(std::make_unique<detail::gateway_core>(one.core_, other.core_, std::move(rules), limits)) {}
gateway::~gateway() = default;

gateway_metrics gateway::metrics() const { return core_->metrics(); }

}  // namespace karyon
