// SPDX-License-Identifier: Apache-2.0
#include <karyon/nerve/endocrine.hpp>

#include <chrono>

#include <karyon/nerve/compartment.hpp>

#include "nerve/endocrine_core.hpp"
#include "sched/wait.hpp"

namespace karyon {

const char* to_string(publish_result r) noexcept {
  switch (r) {
    case publish_result::accepted: return "accepted";
    case publish_result::bad_subject: return "bad_subject";
    case publish_result::not_permitted: return "not_permitted";
    case publish_result::storm_sender: return "storm_sender";
    case publish_result::storm_subject: return "storm_subject";
    case publish_result::too_many_hops: return "too_many_hops";
    case publish_result::full: return "full";
    case publish_result::disconnected: return "disconnected";
    case publish_result::too_large: return "too_large";
    case publish_result::closed: return "closed";
  }
  return "unknown";
}

endocrine::endocrine(runtime& host, endocrine_options options) {
  if (options.in_flight_max == 0)
    throw runtime_error(
        error(errc::invalid_argument, "endocrine_options::in_flight_max is 0: nothing could be published"));
  for (const storm_limit& l : {options.storm.sender, options.storm.subject, options.storm.deliveries}) {
    if (l.per_second != 0 && l.burst == 0)
      throw runtime_error(error(errc::invalid_argument, "a storm_limit has a burst of 0: nothing could be published"));
  }
  if (options.nats.time_to_live.count() <= 0)
    throw runtime_error(
        error(errc::invalid_argument, "nats_options::time_to_live is not positive: all would be too old to be sent"));
  if (!options.discovery_server.empty() && !options.server.starts_with("overlay://"))
    throw runtime_error(error(errc::invalid_argument,
                              "endocrine_options::discovery_server is for a bus by overlay: the nodes of any other "
                              "have their server to meet at"));
  if (host.core().closing())
    throw runtime_error(error(errc::closed, "the runtime is shutting down: no bus is started any more"));
  core_ = std::make_shared<detail::endocrine_core>(host.core(), std::move(options));
  core_->start();
  host.core().add_participant(core_);
}

endocrine::~endocrine() {
  core_->begin_shutdown();
  if (detail::in_runtime()) return;  // the runtime keeps the core until it ends
  constexpr std::uint64_t long_time_ns = 10'000'000'000;
  const auto ended = [this] { return core_->has_ended(); };
  // A lane that does not come to rest is behind a handler that does not return: it stays with the runtime as well.
  if (!detail::poll_until(ended, detail::deadline_in(long_time_ns))) return;
  core_->host().remove_participant(*core_);
  core_->leave_overlay();  // a gateway may keep the core for longer
}

publish_result endocrine::publish_value(std::string_view subject, const detail::hormone_type* type,
                                        std::shared_ptr<const void> value, std::string_view sender) {
  return core_->publish(subject, type, std::move(value), sender);
}

publish_result endocrine::refuse(publish_result why) noexcept { return core_->refuse(why); }

result<subscription> endocrine::add(const detail::hormone_receiver* how, const detail::address& who, bool role,
                                    std::string_view pattern) {
  return core_->subscribe(how, who, role, pattern);
}

void endocrine::unsubscribe(const subscription& which) {
  if (which.group_ != nullptr) core_->unsubscribe(*which.group_, which.index_, which.who_, which.serial_);
}

void endocrine::sweep() { core_->sweep(); }

result<void> endocrine::await_subscriptions(std::chrono::nanoseconds timeout) {
  if (detail::in_runtime()) return fail(errc::would_block, "a cell must not block its worker for a server's answer");
  const auto ns = timeout.count() > 0 ? static_cast<std::uint64_t>(timeout.count()) : 0;
  if (core_->settle(ns)) return {};
  return fail(errc::timeout, "the server has not confirmed the subscriptions within the time given");
}

bool endocrine::connected() const noexcept { return core_->connected(); }

endocrine_metrics endocrine::metrics() const { return core_->metrics(); }

// ---- compartments --------------------------------------------------------------------------------------------------

compartment::compartment(endocrine& bus, std::string_view name, compartment_permissions may)
    : bus_(&bus), name_(name), may_(std::move(may)) {
  const auto refuse = [](const std::string& text) {
    throw runtime_error(
        error(errc::invalid_argument, "\"" + text + "\" names no compartment, or is no pattern of subjects"));
  };
  if (!is_subject(name)) refuse(name_);
  for (const auto* patterns : {&may_.publish, &may_.subscribe}) {
    for (const std::string& p : *patterns) {
      if (!is_subject_pattern(p)) refuse(p);
    }
  }
}

bool compartment::may_publish(std::string_view subject) const noexcept {
  if (!is_subject(subject)) return false;
  for (const std::string& p : may_.publish) {
    if (subject_matches(p, subject)) return true;
  }
  return false;
}

bool compartment::may_subscribe(std::string_view pattern) const noexcept {
  if (!is_subject_pattern(pattern)) return false;
  for (const std::string& p : may_.subscribe) {
    if (subject_covers(p, pattern)) return true;
  }
  return false;
}

}  // namespace karyon
