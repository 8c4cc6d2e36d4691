#include <karyon/cell/runtime.hpp>

#include "cell/lifecycle.hpp"
#include "cell/runtime_core.hpp"

namespace karyon {

namespace detail {

cell_stats stats_of(cell_slot& s);  // cell.cpp

namespace {

/// A question that any cell answers, whatever its class accepts.
struct inspect_signal : signal {
  reply_address reply;
  static const signal_ops ops;
  explicit inspect_signal(const reply_address& to) noexcept : signal(&ops), reply(to) {}
  static void run(void*, signal& s) {
    auto& self = static_cast<inspect_signal&>(s);
    answer<cell_stats>(self.reply, stats_of(*running->slot));
  }
  static void discard(signal* s, errc code, const exit_reason& why) noexcept {
    auto* self = static_cast<inspect_signal*>(s);
    if (self->reply.to != reply_address::kind::none) {
      answer<cell_stats>(self->reply, tl::unexpected<error>(unanswered(code, why)));
    }
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

void runtime::exit(const cell_ref& whom, exit_reason why) noexcept {
  detail::send_exit(detail::handle_access::of(whom), {}, why);
}

result<cell_stats> runtime::inspect(const cell_ref& whom, std::chrono::nanoseconds timeout) const {
  if (on_worker()) return fail(errc::would_block, "a cell must not block its worker to inspect another");
  auto* slot = new detail::typed_answer_slot<cell_stats>();
  future<cell_stats> answer(slot);
  const detail::address& a = detail::handle_access::of(whom);
  detail::deliver(a.slot, a.number,
                  detail::make_signal<detail::inspect_signal>(detail::reply_address{
                      static_cast<detail::answer_slot*>(slot), 0, 0, detail::reply_address::kind::waiter}));
  return answer.get(timeout);
}

unsigned runtime::workers() const noexcept { return core_->workers().size(); }
unsigned runtime::nodes() const noexcept { return core_->workers().nodes(); }
const binding_plan& runtime::plan() const noexcept { return core_->workers().plan(); }
runtime_metrics runtime::metrics() const { return core_->metrics(); }
shutdown_report runtime::shutdown(std::chrono::milliseconds deadline) { return core_->shutdown(deadline); }
bool runtime::on_worker() noexcept { return detail::worker::current() != nullptr; }

}  // namespace karyon
