#include <karyon/cell/crash_report.hpp>

#include "cell/report_desk.hpp"
#include "core/report_text.hpp"

namespace karyon {

namespace detail {

void append_json(std::string& to, const exit_reason& why) {
  json_object o(to);
  o.text("kind", to_string(why.why())).text("type", why.type()).text("text", why.text()).close();
}

}  // namespace detail

std::string to_text(const crash_report& r) {
  std::string text = "cell ended: ";
  detail::append_escaped(text, r.path);
  text.append(", class ");
  detail::append_escaped(text, r.class_name);
  text.append(", id ").append(std::to_string(r.id)).append(", incarnation ").append(std::to_string(r.incarnation));
  text.append(", reason ");
  detail::append_escaped(text, to_string(r.reason));
  if (!r.handling.empty()) {
    text.append(", while handling ");
    detail::append_escaped(text, r.handling);
  }
  text.append(", mailbox ").append(std::to_string(r.mailbox));
  text.append(", handled ").append(std::to_string(r.handled));
  text.append(", restarts ").append(std::to_string(r.restarts));
  text.append(", neighbours ").append(std::to_string(r.neighbours_total));
  const char* separator = " (";
  for (const crash_report::neighbour& n : r.neighbours) {
    text.append(separator).append(std::to_string(n.id)).append(" ");
    detail::append_escaped(text, n.class_name.empty() ? "ended" : n.class_name);
    separator = ", ";
  }
  if (!r.neighbours.empty()) text.append(r.neighbours.size() < r.neighbours_total ? ", ...)" : ")");
  return text.append(", worker ").append(std::to_string(r.worker)).append(", node ").append(std::to_string(r.node));
}

std::string to_json(const crash_report& r) {
  std::string json;
  detail::json_object o(json);
  o.text("report", "crash").text("path", r.path).text("class", r.class_name).text("id", std::to_string(r.id));
  o.number("incarnation", r.incarnation).key("reason");
  detail::append_json(json, r.reason);
  o.text("handling", r.handling).number("mailbox", r.mailbox).number("handled", r.handled);
  o.number("restarts", r.restarts).key("neighbours");
  json.push_back('[');
  for (const crash_report::neighbour& n : r.neighbours) {
    if (&n != r.neighbours.data()) json.push_back(',');
    detail::json_object neighbour(json);
    neighbour.text("id", std::to_string(n.id)).text("class", n.class_name).close();
  }
  json.push_back(']');
  o.number("neighbours_total", r.neighbours_total).number("worker", r.worker).number("node", r.node);
  o.number("monotonic_ns", r.monotonic_ns).close();
  return json;
}

}  // namespace karyon
