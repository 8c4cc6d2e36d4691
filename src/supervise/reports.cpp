#include "supervise/reports.hpp"

#include <string>
#include <utility>

#include "cell/report_desk.hpp"
#include "cell/runtime_core.hpp"
#include "core/report_text.hpp"

namespace karyon {

namespace {

const char* to_string(restart_type t) noexcept {
  switch (t) {
    case restart_type::permanent: return "permanent";
    case restart_type::transient: return "transient";
    case restart_type::temporary: return "temporary";
  }
  return "unknown";
}

const char* to_string(child_kind k) noexcept { return k == child_kind::worker ? "worker" : "supervisor"; }

std::string to_string(const child_shutdown& s) {
  if (s.is_brutal_kill()) return "brutal_kill";
  if (s.is_infinity()) return "infinity";
  return std::to_string(s.deadline().count()) + " ms";
}

}  // namespace

const char* to_string(supervisor_context c) noexcept {
  switch (c) {
    case supervisor_context::start_error: return "start_error";
    case supervisor_context::child_terminated: return "child_terminated";
    case supervisor_context::shutdown_error: return "shutdown_error";
    case supervisor_context::shutdown: return "shutdown";
  }
  return "unknown";
}

std::string to_text(const supervisor_report& r) {
  std::string text = "supervisor ";
  detail::append_escaped(text, r.supervisor);
  text.append(": ").append(to_string(r.context)).append(", reason ");
  detail::append_escaped(text, to_string(r.reason));
  text.append(", child ");
  detail::append_escaped(text, r.offender.id);
  if (!r.offender.class_name.empty()) {
    text.append(", class ");
    detail::append_escaped(text, r.offender.class_name);
  }
  if (r.offender.cell != 0) text.append(", id ").append(std::to_string(r.offender.cell));
  text.append(", restart ").append(to_string(r.offender.restart));
  text.append(", shutdown ").append(to_string(r.offender.shutdown));
  text.append(", kind ").append(to_string(r.offender.kind));
  if (r.offender.significant) text.append(", significant");
  return text;
}

std::string to_json(const supervisor_report& r) {
  std::string json;
  detail::json_object o(json);
  o.text("report", "supervisor").text("supervisor", r.supervisor).text("context", to_string(r.context)).key("reason");
  detail::append_json(json, r.reason);
  o.key("offender");
  detail::json_object child(json);
  child.text("id", r.offender.id).text("class", r.offender.class_name).text("cell", std::to_string(r.offender.cell));
  child.text("restart", to_string(r.offender.restart));
  if (r.offender.shutdown.is_brutal_kill() || r.offender.shutdown.is_infinity()) {
    child.text("shutdown", to_string(r.offender.shutdown));
  } else {
    child.number("shutdown", static_cast<std::uint64_t>(r.offender.shutdown.deadline().count()));
  }
  child.text("kind", to_string(r.offender.kind)).boolean("significant", r.offender.significant).close();
  o.number("monotonic_ns", r.monotonic_ns).close();
  return json;
}

namespace detail {

namespace {

std::string name_of(const report_source& from) {
  std::string name(from.path);
  if (from.shard != report_source::no_shard) name.append(" shard ").append(std::to_string(from.shard));
  return name;
}

supervisor_report report_of(const report_source& from, supervisor_context context, const exit_reason& why,
                            const report_offender& about, std::uint64_t now_ns) {
  supervisor_report r;
  r.supervisor = name_of(from);
  r.context = context;
  r.reason = why;
  r.offender.id = about.id.empty() ? "#" + std::to_string(about.index) : std::string(about.id);
  if (about.info != nullptr) r.offender.class_name = about.info->name;
  r.offender.cell = about.cell.slot != nullptr ? identity(about.cell) : 0;
  r.offender.restart = about.options.restart;
  r.offender.shutdown = about.shutdown;
  r.offender.kind = about.info != nullptr ? child_kind::worker : child_kind::supervisor;
  r.offender.significant = about.options.significant;
  r.monotonic_ns = now_ns;
  return r;
}

}  // namespace

void report(runtime_core& core, const report_source& from, supervisor_context context, const exit_reason& why,
            const report_offender& about) noexcept {
  report_desk& desk = core.reports();
  const bool rare = context == supervisor_context::shutdown || context == supervisor_context::shutdown_error;
  report_key key;
  key.add(static_cast<std::uint64_t>(context) + 1 + (std::uint64_t{from.shard} << 8U));
  key.add(from.path);
  add_to_key(key, why);
  const std::uint64_t now_ns = desk.admit(rare ? report_desk::sort::supervisor : report_desk::sort::child, key, [&] {
    return report_group{to_string(context), name_of(from), why};
  });
  if (now_ns == 0) return;
  try {
    const supervisor_report r = report_of(from, context, why, about, now_ns);
    desk.file(now_ns, r);
    if (const auto& tell = core.options().on_supervisor_report) {
      try {
        tell(r);
      } catch (...) {
        core.callback_failed();
      }
    }
  } catch (...) {
    desk.lost();
  }
}

}  // namespace detail
}  // namespace karyon
