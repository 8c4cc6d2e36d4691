#include "cell/report_desk.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "core/report_text.hpp"

namespace karyon::detail {

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr std::size_t lines_max = 16;

struct sum {
  std::uint64_t key;
  std::uint64_t count;
  report_group group;
};

// "1.0 s", rounded to tenths.
std::string seconds(std::uint64_t ns) {
  const std::uint64_t tenths = (ns + second_ns / 20) / (second_ns / 10);
  return with_thousands(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

std::string line_of(const sum& s, std::uint64_t within_ns, report_format format) {
  std::string line;
  if (format == report_format::json) {
    json_object o(line);
    o.text("report", "suppressed").number("count", s.count).text("what", s.group.what).text("source", s.group.source);
    o.key("reason");
    append_json(line, s.group.why);
    o.number("within_ns", within_ns).close();
    return line;
  }
  line.append(with_thousands(s.count)).append(" more: ").append(s.group.what).append(", from ");
  append_escaped(line, s.group.source);
  line.append(", reason ");
  append_escaped(line, to_string(s.group.why));
  line.append(", within ").append(seconds(within_ns));
  return line;
}

std::string line_of_others(std::uint64_t count, std::uint64_t within_ns, report_format format) {
  std::string line;
  if (format == report_format::json) {
    json_object o(line);
    o.text("report", "suppressed")
        .number("count", count)
        .text("what", "other reasons")
        .number("within_ns", within_ns)
        .close();
    return line;
  }
  return line.append(with_thousands(count)).append(" more: other reasons, within ").append(seconds(within_ns));
}

/// The same group of several workers becomes one; the most frequent first.
void merge(std::vector<sum>& sums) {
  std::sort(sums.begin(), sums.end(), [](const sum& a, const sum& b) { return a.key < b.key; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (kept != 0 && sums[kept - 1].key == sums[i].key) {
      sums[kept - 1].count += sums[i].count;
    } else {
      if (kept != i) sums[kept] = std::move(sums[i]);
      ++kept;
    }
  }
  sums.resize(kept);
  std::sort(sums.begin(), sums.end(), [](const sum& a, const sum& b) {
    return a.count != b.count ? a.count > b.count : std::tie(a.group.source, a.key) < std::tie(b.group.source, b.key);
  });
}

}  // namespace

report_desk::report_desk(const runtime_options& options, scheduler& workers)
    : workers_(workers),
      format_(options.crash_report_format),
      budgets_{report_budget(options.crash_reports_per_second, options.crash_reports_per_second),
               report_budget(options.crash_reports_per_second, options.crash_reports_per_second),
               report_budget(options.crash_reports_per_second, options.crash_reports_per_second)},
      tallies_(std::make_unique<own_tally[]>(workers.size() + 1)) {
  timer_.desk = this;
  timer_.release = [](timer*, worker&) {};
  timer_.fire = [](timer* t, worker&) {
    report_desk& desk = *static_cast<sum_timer*>(t)->desk;
    // Release pairs with the acquire in note_pending: whoever starts it again sees that it has left the wheel. From here on it is
    // not ours.
    desk.timer_started_.store(false, std::memory_order_release);
    desk.sum_up(monotonic_ns());
  };
}

void report_desk::note_pending(std::uint64_t now_ns) noexcept {
  std::uint64_t none = 0;
  if (!pending_since_ns_.compare_exchange_strong(none, std::max<std::uint64_t>(1, now_ns))) return;
  const covered here;
  worker* w = worker::current();
  if (w == nullptr || &w->owner() != &workers_) return;  // without a wheel at hand: with the next report, or at the end
  // Acquire pairs with the release of the timer's fire: it has left the wheel.
  if (timer_started_.exchange(true, std::memory_order_acquire)) return;  // it fires within the second
  timer_.state_word.store(timer::armed, std::memory_order_relaxed);
  w->start_timer(timer_, now_ns + second_ns);
}

void report_desk::sum_up_if_due(std::uint64_t now_ns) noexcept {
  const std::uint64_t since = pending_since_ns_.load(std::memory_order_relaxed);
  if (since != 0 && now_ns >= since + second_ns) sum_up(now_ns);
}

void report_desk::sum_up(std::uint64_t now_ns) noexcept {
  const std::uint64_t since = pending_since_ns_.exchange(0);
  if (since == 0) return;
  const std::uint64_t within_ns = now_ns > since ? now_ns - since : 0;
  std::uint64_t others = 0;
  try {
    std::vector<sum> sums;
    sums.reserve(tally::groups_max * (workers_.size() + 1));
    for (unsigned i = 0; i <= workers_.size(); ++i) {
      others += tallies_[i].counts.take([&](std::uint64_t key, std::uint64_t count, const report_group& group) {
        sums.push_back({key, count, group});
      });
    }
    merge(sums);
    for (std::size_t i = lines_max; i < sums.size(); ++i) others += sums[i].count;
    if (sums.size() > lines_max) sums.resize(lines_max);
    for (const sum& s : sums) log(log_level::err, line_of(s, within_ns, format_));
    if (others != 0) log(log_level::err, line_of_others(others, within_ns, format_));
  } catch (...) {  // no memory for the lines; suppressed() still has the sum
  }
}

std::uint64_t report_desk::suppressed() const noexcept {
  std::uint64_t n = lost_.load(std::memory_order_relaxed);
  for (unsigned i = 0; i <= workers_.size(); ++i) n += tallies_[i].counts.total();
  return n;
}

}  // namespace karyon::detail
