#include "sim/trace.hpp"

#include <algorithm>
#include <cstdio>

namespace karyon::testing::detail {

std::string seconds_text(std::uint64_t ns) {
  char text[40];
  std::snprintf(text, sizeof text, "%llu.%06llu s", static_cast<unsigned long long>(ns / 1'000'000'000u),
                static_cast<unsigned long long>(ns % 1'000'000'000u / 1000));
  return text;
}

std::uint64_t trace::hash_of(std::string_view text) noexcept {
  known_text& known = texts_[(reinterpret_cast<std::uintptr_t>(text.data()) >> 3u) % texts_.size()];
  if (known.at == text.data() && known.size == text.size() && known.at != nullptr) return known.hash;
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * prime;
  known = {text.data(), text.size(), hash};
  return hash;
}

void trace::add(const event& e) {
  stir(e.time_ns);
  stir((std::uint64_t{e.cell} << 32u) | (std::uint64_t{e.worker} << 8u) | static_cast<std::uint64_t>(e.what));
  if (!e.cell_class.empty()) stir(hash_of(e.cell_class));
  if (!e.type.empty()) stir(hash_of(e.type));
  if (e.what == event::kind::ended) {
    stir(static_cast<std::uint64_t>(e.why.why()));
    for (const char c : e.why.type()) stir(static_cast<unsigned char>(c));
  }
  if (keep_all_ || events_.size() < kept) {
    events_.push_back(e);
  } else {
    events_[size_ % kept] = e;
  }
  ++size_;
}

namespace {

std::string line_of(const event& e) {
  const std::string where = e.worker == event::no_worker ? "-" : "w" + std::to_string(e.worker);
  std::string out = seconds_text(e.time_ns) + "  " + where + "  ";
  if (e.cell != 0) out.append(e.cell_class).append(" #").append(std::to_string(e.cell)).append(" ");
  switch (e.what) {
    case event::kind::handled: return out.append("handles ").append(e.type);
    case event::kind::dropped: return out.append("does not get ").append(e.type).append(" (dropped)");
    case event::kind::delayed: return out.append("does not get ").append(e.type).append(" yet (delayed)");
    case event::kind::ended: return out.append("ends: ").append(to_string(e.why));
    case event::kind::ran: return out.append("something of the runtime's own runs");
    case event::kind::timers: return out.append("timers are due");
  }
  return out;
}

}  // namespace

std::vector<std::string> trace::lines(std::size_t most) const {
  std::vector<std::string> out;
  const std::size_t n = std::min(most, events_.size());
  out.reserve(n);
  // Oldest first; of a ring that is full the oldest lies where the next one goes.
  const std::size_t start = keep_all_ || events_.size() < kept ? 0 : static_cast<std::size_t>(size_ % kept);
  for (std::size_t i = events_.size() - n; i < events_.size(); ++i) {
    out.push_back(line_of(events_[(start + i) % events_.size()]));
  }
  return out;
}

}  // namespace karyon::testing::detail
