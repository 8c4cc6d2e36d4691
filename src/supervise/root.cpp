#include "supervise/root.hpp"

#include <utility>

namespace karyon::detail {

std::shared_ptr<root_holder> root_holder::start(runtime_core& rt, std::shared_ptr<supervisor_node> node,
                                                const std::string& path) {
  auto holder = std::make_shared<root_holder>(rt, std::move(node));
  rt.add_participant(holder);
  holder->begin(path);
  return holder;
}

void root_holder::begin(const std::string& path) noexcept {
  node_->begin_start(*this, path);
  exit_reason asked;
  room_.change([&] {
    begun_ = true;
    asked = asked_;
  });
  // The runtime may have asked before there was anything to ask.
  if (asked.why() != exit_reason::kind::normal) node_->request_exit(asked);
}

void root_holder::begin_shutdown() noexcept { ask(exit_reason::shutdown()); }
void root_holder::begin_kill() noexcept { ask(exit_reason::killed()); }

void root_holder::ask(const exit_reason& why) noexcept {
  bool begun = false;
  room_.change([&] {
    asked_ = why;
    begun = begun_;
  });
  if (begun) node_->request_exit(why);
}

void root_holder::child_reports(supervisor_node&, report what, const exit_reason& why) noexcept {
  const auto self = shared_from_this();  // the runtime's list may be the last to hold it
  if (what != report::started) {
    node_->retire();
    runtime_.remove_participant(*this);
  }
  // Last, as the end of all that is done here: whoever waits may take the runtime down next.
  room_.change([&] {
    (what == report::started ? started_ : over_) = true;
    why_ = why;
  });
}

bool root_holder::has_ended() const noexcept {
  return room_.read([this] { return over_; });
}

result<void> root_holder::wait_started() const {
  room_.wait([this] { return started_ || over_; });
  return room_.read([this]() -> result<void> {
    if (started_) return {};
    if (why_.why() == exit_reason::kind::start_failed) return fail(errc::start_failed, to_string(why_));
    return fail(errc::closed, "the supervisor was asked to end before it had started: " + to_string(why_));
  });
}

}  // namespace karyon::detail
