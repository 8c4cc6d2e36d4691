#include <karyon/supervise/child_spec.hpp>

#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "supervise/node.hpp"

namespace karyon {

child_spec child_spec::tree(std::string id, supervisor_spec spec) {
  return {std::move(id), std::make_shared<const supervisor_spec>(std::move(spec))};
}

child_spec child_spec::dynamic(std::string id, const supervisor_options& options) {
  return {std::move(id), std::make_shared<const supervisor_options>(options)};
}

child_shutdown child_spec::shutdown() const noexcept {
  if (options_.shutdown) return *options_.shutdown;
  return kind() == child_kind::worker ? child_shutdown::within(std::chrono::seconds(5)) : child_shutdown::infinity();
}

namespace {

/// "<whose><field>: <what is wrong with it>", as an error.
tl::unexpected<error> faulty(std::string_view whose, std::string_view field, std::string_view text) {
  return fail(errc::invalid_argument, std::string(whose).append(field).append(": ").append(text));
}

result<void> check_intensity(const restart_intensity& intensity, std::string_view whose) {
  if (intensity.period.count() <= 0) return faulty(whose, "intensity.period", "must be longer than zero");
  return {};
}

result<void> check_backoff(const restart_backoff& b, std::string_view whose) {
  if (b.minimum.count() < 0) return faulty(whose, "backoff.minimum", "must not be below zero");
  if (b.maximum < b.minimum) return faulty(whose, "backoff.maximum", "must not be below the minimum");
  if (b.reset_after.count() < 0) return faulty(whose, "backoff.reset_after", "must not be below zero");
  if (!(b.jitter >= 0 && b.jitter <= 1)) return faulty(whose, "backoff.jitter", "must be between 0 and 1");
  return {};
}

result<void> check_enums(restart_strategy strategy, auto_shutdown automatic, std::string_view whose) {
  if (strategy > rest_for_one) return faulty(whose, "strategy", "is none of the strategies");
  if (automatic > auto_shutdown::all_significant) return faulty(whose, "auto_shutdown", "is none of its values");
  return {};
}

result<void> check_options(const supervisor_options& o, std::string_view whose) {
  if (o.strategy != one_for_one) {
    return faulty(whose, "strategy", "must be one_for_one: the others need an order among children (supervisor_spec)");
  }
  if (auto good = check_enums(o.strategy, o.auto_shutdown, whose); !good) return good;
  if (auto good = check_intensity(o.intensity, whose); !good) return good;
  if (!(o.intensity_share >= 0 && o.intensity_share <= 1)) {
    return faulty(whose, "intensity_share", "must be between 0 and 1");
  }
  if (o.one_cause_window.count() < 0) return faulty(whose, "one_cause_window", "must not be below zero");
  if (o.shutdown_deadline.count() < 0) return faulty(whose, "shutdown_deadline", "must not be below zero");
  return check_backoff(o.backoff, whose);
}

result<void> check_spec(const supervisor_spec& s, const std::string& whose);

result<void> check_one(const child_spec& c, auto_shutdown automatic, const std::string& whose) {
  if (c.id().empty()) return faulty(whose, "id", "must not be empty");
  const std::string mine = whose + "child \"" + c.id() + "\": ";
  if (auto good = detail::check_child(c.options(), c.kind(), automatic, mine); !good) return good;
  if (const auto* cell = std::get_if<child_spec::cell_making>(&c.made_of())) {
    if (*cell == nullptr || (*cell)->empty()) return faulty(mine, "start", "there is nothing to make it with");
  } else if (const auto* tree = std::get_if<child_spec::tree_making>(&c.made_of())) {
    if (*tree == nullptr) return faulty(mine, "start", "there is nothing to make it with");
    return check_spec(**tree, mine);
  } else if (const auto* dynamic = std::get_if<child_spec::dynamic_making>(&c.made_of())) {
    if (*dynamic == nullptr) return faulty(mine, "start", "there is nothing to make it with");
    return check_options(**dynamic, mine);
  }
  return {};
}

result<void> check_spec(const supervisor_spec& s, const std::string& whose) {
  if (auto good = check_enums(s.strategy, s.auto_shutdown, whose); !good) return good;
  if (auto good = check_intensity(s.intensity, whose); !good) return good;
  if (auto good = check_backoff(s.backoff, whose); !good) return good;
  std::set<std::string_view> ids;
  for (const child_spec& c : s.children) {
    if (auto good = check_one(c, s.auto_shutdown, whose); !good) return good;
    if (!ids.insert(c.id()).second) {
      return faulty(whose + "child \"" + c.id() + "\": ", "id", "another child of this supervisor has it");
    }
  }
  return {};
}

}  // namespace

namespace detail {

result<void> check_child(const child_options& o, child_kind kind, auto_shutdown automatic, std::string_view who) {
  if (o.restart > restart_type::temporary) return faulty(who, "restart", "is none of its values");
  if (o.shutdown && !o.shutdown->is_brutal_kill() && o.shutdown->deadline().count() < 0) {
    return faulty(who, "shutdown", "a deadline must not be below zero");
  }
  if (o.significant && automatic == auto_shutdown::never) {
    return faulty(who, "significant", "no child can be while the supervisor's auto_shutdown is never");
  }
  if (o.significant && o.restart == restart_type::permanent) {
    return faulty(who, "significant", "a permanent child can not be");
  }
  if (o.mailbox > mailbox_policy::kept_without_last) return faulty(who, "mailbox", "is none of its values");
  if (kind == child_kind::supervisor && o.mailbox != mailbox_policy::dropped) {
    return faulty(who, "mailbox", "a supervisor has none");
  }
  return {};
}

result<void> check_start(const child_spec& spec, auto_shutdown automatic) { return check_one(spec, automatic, ""); }

}  // namespace detail

result<void> check(const supervisor_spec& spec) { return check_spec(spec, "supervisor_spec: "); }
result<void> check(const supervisor_options& options) { return check_options(options, "supervisor_options: "); }

}  // namespace karyon
