#include <karyon/cell/runtime.hpp>

#include <string>
#include <utility>

#include "cell/lifecycle.hpp"
#include "cell/migration.hpp"
#include "cell/runtime_core.hpp"

namespace karyon {

namespace detail {

namespace {

/// A question that any cell answers, whatever its class accepts.
struct inspect_signal : signal {
  reply_address reply;
  static const signal_ops ops;
  inspect_signal() noexcept : signal(&ops) {}
  static void run(void*, signal& s) {
    auto& self = static_cast<inspect_signal&>(s);
    answer<cell_stats>(self.reply, stats_of(*running->slot));
  }
  static void discard(signal* s, errc code, const exit_reason& why) noexcept {
    auto* self = static_cast<inspect_signal*>(s);
    answer_unanswered<cell_stats>(self->reply, code, why);
    destroy_signal(self);
  }
};
const signal_ops inspect_signal::ops{&run, &discard, "karyon::inspect", true, false, true};

}  // namespace
}  // namespace detail

runtime::runtime(const runtime_options& options) : core_(std::make_unique<detail::runtime_core>(*this, options)) {}

runtime::~runtime() {
  const shutdown_report report = shutdown(core_->options().shutdown_deadline);
  // A handler that never returns still uses the runtime: freeing it would turn a hang into a crash.
  if (!report.complete) static_cast<void>(core_.release());
}

void runtime::exit(const cell_ref& whom, exit_reason why) {
  detail::request_exit(detail::handle_access::of(whom), {}, why);
}

result<cell_stats> runtime::inspect(const cell_ref& whom, std::chrono::nanoseconds timeout) const {
  if (on_worker()) return fail(errc::would_block, "a cell must not block its worker to inspect another");
  detail::signal_ptr<detail::inspect_signal> question(detail::make_signal<detail::inspect_signal>());
  future<cell_stats> answer(question->reply);
  const detail::address& a = detail::handle_access::of(whom);
  detail::deliver(a.slot, a.number, question.release());
  return answer.get(timeout);
}

result<void> runtime::set_workers(unsigned n) {
  detail::scheduler& workers = core_->workers();
  if (n == 0 || n > workers.size()) {
    return fail(errc::invalid_argument, std::to_string(n) + " workers are asked for: this runtime can run on 1 to " +
                                            std::to_string(workers.size()));
  }
  workers.set_active(n);
  return {};
}

unsigned runtime::active_workers() const noexcept { return core_->workers().active(); }

future<migration_report> runtime::migrate(const cell_ref& whom, std::uint32_t node) {
  detail::signal_ptr<detail::migration_request> request(detail::make_signal<detail::migration_request>(node));
  future<migration_report> report(request->reply);
  if (result<void> known = detail::check_node(*core_, node); !known) {
    detail::answer<migration_report>(request->reply, tl::unexpected<error>(std::move(known).error()));
    return report;
  }
  const detail::address& a = detail::handle_access::of(whom);
  detail::deliver(a.slot, a.number, request.release());
  return report;
}

unsigned runtime::workers() const noexcept { return core_->workers().size(); }
unsigned runtime::nodes() const noexcept { return core_->workers().nodes(); }
const binding_plan& runtime::plan() const noexcept { return core_->workers().plan(); }
runtime_metrics runtime::metrics() const { return core_->metrics(); }
shutdown_report runtime::shutdown(std::chrono::milliseconds deadline) { return core_->shutdown(deadline); }
std::vector<handler_report> runtime::handlers() const {
  return core_->overruns().reports([this](const detail::handler_site& site) { return core_->place_of(site); });
}
std::vector<running_handler> runtime::overrunning() const { return core_->overruns().running(detail::monotonic_ns()); }
bool runtime::on_worker() noexcept { return detail::in_runtime(); }

std::vector<moved_handler> runtime::moved_handlers() const {
  std::vector<moved_handler> all;
  core_->moved().for_each([&](const detail::handler_site& site) {
    all.push_back({std::string(site.cell_class), std::string(site.signal)});
  });
  return all;
}

bool runtime::move_back(const moved_handler& which) {
  bool done = false;
  core_->moved().for_each([&](detail::handler_site& site) {
    if (site.cell_class == which.cell_class && site.signal == which.signal) {
      core_->overruns().keep_on_workers(site);  // first, or the watch could move it again in between
      done = core_->moved().remove(site) || done;
    }
  });
  return done;
}

}  // namespace karyon
