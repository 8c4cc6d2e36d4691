#include <karyon/cell/exit_reason.hpp>

#include <atomic>

namespace karyon {

struct alignas(16) exit_reason::details {
  std::atomic<std::uint32_t> references{1};
  kind why;
  std::string type;
  std::string text;
};

exit_reason::exit_reason(kind k, std::string type, std::string text)
    : bits_(reinterpret_cast<std::uintptr_t>(new details{{1}, k, std::move(type), std::move(text)})) {}

exit_reason::details* exit_reason::get() const noexcept {
  return !has_details() ? nullptr : reinterpret_cast<details*>(bits_);
}

void exit_reason::acquire() const noexcept {
  if (details* d = get()) d->references.fetch_add(1, std::memory_order_relaxed);
}

void exit_reason::release() noexcept {
  details* d = get();
  // Acquire-release pairs with that of the others: the last owner sees all that they did with the block before it frees it.
  if (d != nullptr && d->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete d;
}

exit_reason::kind exit_reason::why() const noexcept {
  const details* d = get();
  return d != nullptr ? d->why : static_cast<kind>(bits_);
}

std::string_view exit_reason::type() const noexcept {
  const details* d = get();
  return d != nullptr ? std::string_view(d->type) : std::string_view();
}

std::string_view exit_reason::text() const noexcept {
  const details* d = get();
  return d != nullptr ? std::string_view(d->text) : std::string_view();
}

bool operator==(const exit_reason& a, const exit_reason& b) noexcept {
  return a.bits_ == b.bits_ || (a.why() == b.why() && a.type() == b.type() && a.text() == b.text());
}

const char* to_string(exit_reason::kind k) noexcept {
  switch (k) {
    case exit_reason::kind::normal: return "normal";
    case exit_reason::kind::shutdown: return "shutdown";
    case exit_reason::kind::killed: return "killed";
    case exit_reason::kind::error: return "error";
    case exit_reason::kind::memory_limit: return "memory_limit";
    case exit_reason::kind::no_cell: return "no_cell";
    case exit_reason::kind::start_failed: return "start_failed";
    case exit_reason::kind::node_down: return "node_down";
  }
  return "unknown";
}

std::string to_string(const exit_reason& r) {
  std::string out = to_string(r.why());
  for (const std::string_view part : {r.type(), r.text()}) {
    if (!part.empty()) out.append(": ").append(part);
  }
  return out;
}

}  // namespace karyon
