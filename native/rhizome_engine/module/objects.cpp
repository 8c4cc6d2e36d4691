// SPDX-License-Identifier: Apache-2.0
#include "module/objects.hpp"

#include <chrono>

namespace rhizome::module {

const karyon_host* host = nullptr;

result<void> give_columns(karyon_call* call, const arrow_table& table) {
  auto* const owner = make_resource<columns_object>();
  if (auto exported = table.export_to(owner->schema, owner->array); !exported) {
    host->release(owner);
    return exported;
  }
  karyon_value& v = call->results[call->result_count++];
  v.kind = KARYON_COLUMNS;
  v.as.columns = {&owner->schema, &owner->array, owner};
  return {};
}

void give_value(karyon_call* call, value v) {
  if (const auto* n = std::get_if<std::int64_t>(&v)) return give(call, *n);
  if (const auto* n = std::get_if<double>(&v)) return give(call, *n);
  if (auto* t = std::get_if<std::string>(&v)) {
    auto* const owner = make_resource<text_object>(std::move(*t));
    return give_view(call, std::span<const char>(owner->text), owner);
  }
  give_none(call);
}

progress drive(running& work, const karyon_call* call) {
  using std::chrono::nanoseconds;
  using std::chrono::steady_clock;
  // Between looks at whether anybody still waits: short enough for a cell's death to end the work soon.
  constexpr nanoseconds slice = std::chrono::milliseconds(1);
  const auto begin = steady_clock::now();
  // Beyond a day, a budget is none; and the sum below can not overflow.
  constexpr std::uint64_t day_ns = 86'400'000'000'000;
  const bool bounded = call->budget_ns != 0 && call->budget_ns < day_ns;
  const auto end =
      bounded ? begin + nanoseconds(static_cast<std::int64_t>(call->budget_ns)) : steady_clock::time_point::max();
  while (true) {
    if (karyon_cancelled(call) != 0) return progress::cancelled;
    const auto now = steady_clock::now();
    budget allowed({.deadline = end - now < slice ? end : now + slice});
    const progress came = work.step(allowed);
    if (came != progress::more || steady_clock::now() >= end) return came;
  }
}

result<point> point_at(const karyon_call* call, std::uint32_t i, const snapshot& s, std::uint32_t until) {
  point p{s.commit(), std::nullopt, std::nullopt};
  if (has(call, i)) {
    RHIZOME_TRY(p.commit, number<commit_number>(call, i, "the commit"));
  }
  if (has(call, i + 1)) p.moment = call->arguments[i + 1].as.i64;
  if (has(call, until)) {
    if (!p.moment) return fail(errc::invalid_argument, "a window has a begin: give its moment, too");
    p.until = call->arguments[until].as.i64;
  }
  return p;
}

result<valid_view> valid_view_of(const snapshot& s, label arcs, const point& at, direction way) {
  if (at.until) return s.as_of_valid_during(at.commit, {*at.moment, *at.until}, arcs, way);
  return s.as_of_valid_at(at.commit, *at.moment, arcs, way);
}

result<label> label_at(const karyon_call* call, std::uint32_t i) {
  RHIZOME_TRY(const label l, number<label>(call, i, "the label"));
  if (l >= labels_max) {
    return fail(errc::invalid_argument, "label " + std::to_string(l) + " is out of range: a graph has " +
                                            std::to_string(labels_max) + " of them");
  }
  return l;
}

result<direction> direction_at(const karyon_call* call, std::uint32_t i) {
  const std::uint64_t way = has(call, i) ? call->arguments[i].as.u64 : 0;
  if (way > 1) return fail(errc::invalid_argument, "a direction is 0 (out) or 1 (in)");
  return static_cast<direction>(way);
}

}  // namespace rhizome::module
