#include <karyon/matrix/gradient.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <karyon/cell/runtime.hpp>

#include "matrix/gradient_math.hpp"
#include "sched/parker.hpp"

namespace karyon {

namespace detail {

namespace {

constexpr std::size_t sources_most = 8;
constexpr std::uint32_t reach_most = 4096;

double fading(const gradient_options& how, std::uint64_t age_ns) noexcept {
  if (how.half_life.count() <= 0) return 1;
  return std::exp2(-static_cast<double>(age_ns) / static_cast<double>(how.half_life.count()));
}

std::uint64_t age(const gradient_source& s, std::uint64_t now_ns) noexcept {
  return now_ns > s.since_ns ? now_ns - s.since_ns : 0;
}

std::int64_t shifted(std::int64_t key, std::int64_t by) noexcept {
  constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
  constexpr auto highest = std::numeric_limits<std::int64_t>::max();
  if (by < 0) return key < lowest - by ? lowest : key + by;
  return key > highest - by ? highest : key + by;
}

std::uint64_t distance(std::int64_t a, std::int64_t b) noexcept {
  const auto x = static_cast<std::uint64_t>(a);
  const auto y = static_cast<std::uint64_t>(b);
  return a > b ? x - y : y - x;
}

bool all_faded(const gradient_options& how, const gradient_sources& sources) noexcept {
  const std::uint64_t now = monotonic_ns();
  return std::all_of(sources.begin(), sources.end(),
                     [&](const auto& s) { return s.amount * fading(how, age(s, now)) < how.least; });
}

using found_sources = std::vector<table_entry<std::int64_t, gradient_sources>>;

result<found_sources> sources_around(const gradient_table& t, std::int64_t key, std::uint32_t reach) {
  const std::int64_t to = shifted(key, reach);
  auto found = t.range(shifted(key, -static_cast<std::int64_t>(reach)), to);
  if (!found) return found;
  // A range ends before its last key.
  const auto last = t.lookup(to);
  if (last && *last) found->push_back({to, **last});
  return found;
}

double sum_at(const gradient_options& how, const found_sources& around, std::int64_t key, std::uint64_t now_ns) {
  double sum = 0;
  for (const auto& at : around) {
    const std::uint64_t n = distance(at.key, key);
    if (n > how.reach) continue;
    for (const gradient_source& s : at.value) sum += felt(how, s, n, now_ns);
  }
  return sum < how.least ? 0 : sum;
}

struct watch_request {
  cell_ref whom;
  std::int64_t key = 0;
  double threshold = 0;
};
struct left_at {
  std::int64_t key = 0;
};
struct crossing_due {
  std::uint64_t watch = 0;
};

/// Tells those who watch, each at the time that it has computed.
class gradient_warden : public cell {
public:
  using accepts = signals<watch_request, left_at, crossing_due>;
  gradient_warden(cell_ref owner, const gradient_options& how, gradient_table sources, watched_keys watched)
      : owner_(owner), how_(how), sources_(sources), watched_(watched) {}

  void on_start() { owner_monitor_ = monitor(owner_); }
  void on(const watch_request& r) {
    // Known to those who leave something before it is looked at what has been left.
    if (!watched_.update_counter(r.key, 1)) return exit();
    watches_.push_back({++last_, r.whom, monitor(r.whom), r.key, r.threshold, false, {}});
    look(watches_.back());
  }
  void on(const left_at& l) {
    for (watch& w : watches_) {
      if (distance(w.key, l.key) <= how_.reach) look(w);
    }
  }
  void on(const crossing_due& c) {
    for (watch& w : watches_) {
      if (w.number == c.watch) return look(w);
    }
  }
  void on(const down& d) {
    if (d.id == owner_monitor_) return exit();
    const auto gone = std::find_if(watches_.begin(), watches_.end(), [&](const watch& w) { return w.monitor == d.id; });
    if (gone == watches_.end()) return;
    cancel(gone->timer);
    const auto left = watched_.update_counter(gone->key, ~std::uint32_t{0});  // one less
    if (left && *left == 0) static_cast<void>(watched_.erase_if(gone->key, [](std::uint32_t n) { return n == 0; }));
    watches_.erase(gone);
  }

private:
  struct watch {
    std::uint64_t number;
    cell_ref whom;
    monitor_id monitor;
    std::int64_t key;
    double threshold;
    bool above;
    timer_id timer;
  };

  void look(watch& w) {
    const auto around = sources_around(sources_, w.key, how_.reach);
    if (!around) return exit();
    const std::uint64_t now = monotonic_ns();
    const auto sum = [&](std::uint64_t time_ns) { return sum_at(how_, *around, w.key, time_ns); };
    const bool above = sum(now) >= w.threshold;
    if (above != w.above) {
      w.above = above;
      static_cast<void>(w.whom.send(gradient_crossed{w.key, w.threshold, above}));  // dead: its `down` comes
    }
    cancel(w.timer);
    w.timer = {};
    if (const auto next = next_crossing(sum, w.threshold, now)) {
      w.timer = send_after(self(this), crossing_due{w.number}, std::chrono::nanoseconds(*next - now));
    }
  }

  cell_ref owner_;
  monitor_id owner_monitor_;
  gradient_options how_;
  gradient_table sources_;
  watched_keys watched_;
  std::vector<watch> watches_;
  std::uint64_t last_ = 0;
};

}  // namespace

namespace {

/// Debye's expansion of e^-s * I_n(s), good to some 1e-7 for s > 60, whatever n.
double spread_far(double n, double s) noexcept {
  constexpr double two_pi = 6.283185307179586;
  if (s > 1e15) return 1 / std::sqrt(two_pi * s);  // level within every reach; s * s may be beyond a double's end
  const double r2 = n * n + s * s;
  const double r = std::sqrt(r2);
  const double exponent = n * n / (r + s) + n * std::log(s / (n + r));
  const double q = n * n / r2;
  const double first = (3 - 5 * q) / (24 * r);
  const double second = (81 - 462 * q + 385 * q * q) / (1152 * r2);
  return std::exp(exponent) / std::sqrt(two_pi * r) * (1 + first + second);
}

}  // namespace

double spread_to(std::uint64_t n, double s) noexcept {
  if (s < 1e-12) return n == 0 ? 1 : 0;
  if (s > 60) return spread_far(static_cast<double>(n), s);
  // Backwards (J. C. P. Miller's algorithm): the values of all n add up to 1, n and -n alike.
  const double beyond = 12 + 8 * std::sqrt(s);
  if (static_cast<double>(n) > beyond + 20) return 0;
  const std::uint64_t top = std::max<std::uint64_t>(n, static_cast<std::uint64_t>(beyond)) + 16;
  double above = 0;
  double here = 1e-280;
  double sum = 0;
  double wanted = 0;
  for (std::uint64_t k = top; k > 0; --k) {
    if (k == n) wanted = here;
    sum += 2 * here;
    const double below = above + 2 * static_cast<double>(k) / s * here;
    above = here;
    here = below;
    if (here > 1e200) {
      constexpr double smaller = 1e-200;
      here *= smaller;
      above *= smaller;
      sum *= smaller;
      wanted *= smaller;
    }
  }
  if (n == 0) wanted = here;
  return wanted / (sum + here);
}

double felt(const gradient_options& how, const gradient_source& s, std::uint64_t n, std::uint64_t now_ns) noexcept {
  const std::uint64_t age_ns = age(s, now_ns);
  const double left = s.amount * fading(how, age_ns);
  if (how.spread_per_second <= 0) return n == 0 ? left : 0;
  return left * spread_to(n, 2 * (how.spread_per_second * (static_cast<double>(age_ns) * 1e-9)));
}

gradient_sources with_one_more(const gradient_options& how, const gradient_sources& sources, double amount,
                               std::uint64_t now_ns) {
  gradient_sources kept;
  kept.reserve(sources.size() + 1);
  for (const gradient_source& s : sources) {
    if (s.amount * fading(how, age(s, now_ns)) >= how.least) kept.push_back(s);
  }
  if (kept.size() >= sources_most) {
    const auto age_of = [&](const gradient_source& s) { return static_cast<double>(age(s, now_ns)); };
    std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.since_ns < b.since_ns; });
    const double a = kept[0].amount * fading(how, age(kept[0], now_ns));
    const double b = kept[1].amount * fading(how, age(kept[1], now_ns));
    // The shares first: amounts near a double's end times their ages are beyond it.
    const double share = 1 / (1 + b / a);
    const double mean = age_of(kept[1]) + (age_of(kept[0]) - age_of(kept[1])) * share;
    const auto mean_age = std::min(static_cast<std::uint64_t>(mean), age(kept[0], now_ns));
    const double both = (a + b) / fading(how, mean_age);
    kept[1] = {std::min(both, std::numeric_limits<double>::max()), now_ns - mean_age};
    kept.erase(kept.begin());
  }
  kept.push_back({amount, now_ns});
  return kept;
}

}  // namespace detail

result<void> gradient::leave(std::int64_t key, double amount) const {
  if (!std::isfinite(amount) || amount <= 0) {
    return fail(errc::invalid_argument, "what is left in a gradient is a finite number above 0");
  }
  for (;;) {
    const std::uint64_t now = detail::monotonic_ns();
    const auto there = sources_.update(
        key, [&](const detail::gradient_sources& s) { return detail::with_one_more(how_, s, amount, now); });
    if (!there) return tl::unexpected<error>(there.error());
    if (*there) break;
    const auto made = sources_.insert_new(key, {{amount, now}});
    if (!made) return tl::unexpected<error>(made.error());
    if (*made) break;
  }
  // Who leaves something tidies up a little, so that what has faded everywhere is not kept for ever.
  if (const auto neighbour = sources_.next(key); neighbour && *neighbour) {
    const auto has_faded = [&](const detail::gradient_sources& s) { return detail::all_faded(how_, s); };
    if (has_faded((*neighbour)->value)) static_cast<void>(sources_.erase_if((*neighbour)->key, has_faded));
  }
  const std::int64_t from = detail::shifted(key, -static_cast<std::int64_t>(how_.reach));
  const std::int64_t to = detail::shifted(key, how_.reach);  // a range up to it would leave it out
  const auto is_watched = watched_.use([&](const detail::watched_keys::table_type& t) {
    const auto next = t.range_from(from, 1);
    return !next.empty() && next.front().key <= to;
  });
  // Where it can not be told for want of memory, the warden looks.
  if (is_watched ? *is_watched : is_watched.error().code() != errc::dead)
    static_cast<void>(warden_.send(detail::left_at{key}));
  return {};
}

result<double> gradient::sense(std::int64_t key) const {
  const auto around = detail::sources_around(sources_, key, how_.reach);
  if (!around) return tl::unexpected<error>(around.error());
  return detail::sum_at(how_, *around, key, detail::monotonic_ns());
}

result<std::optional<gradient_reading>> gradient::strongest(std::int64_t near, std::uint32_t distance) const {
  const std::uint32_t far = std::min(distance, how_.reach);
  const auto around = detail::sources_around(sources_, near, far + how_.reach);
  if (!around) return tl::unexpected<error>(around.error());
  const std::uint64_t now = detail::monotonic_ns();
  std::optional<gradient_reading> most;
  for (std::int64_t n = 0; n <= far; ++n) {
    for (const std::int64_t key : {detail::shifted(near, n), detail::shifted(near, -n)}) {
      const double amount = detail::sum_at(how_, *around, key, now);
      if (amount > 0 && (!most || amount > most->amount)) most = gradient_reading{key, amount};
    }
  }
  return most;
}

result<void> gradient::watch(const cell_ref& whom, std::int64_t key, double threshold) const {
  if (!std::isfinite(threshold) || threshold <= 0) {
    return fail(errc::invalid_argument, "the threshold of a watch is a finite number above 0");
  }
  if (!whom.alive()) return fail(errc::dead, "the cell that was to watch has ended");
  if (warden_.send(detail::watch_request{whom, key, threshold}) != send_result::accepted) {
    return fail(errc::dead, "the gradient has ended with its owner");
  }
  return {};
}

result<gradient> make_gradient(runtime& rt, const cell_ref& owner, const gradient_options& how) {
  if (how.half_life.count() < 0 || !std::isfinite(how.spread_per_second) || how.spread_per_second < 0 ||
      how.reach == 0 || how.reach > detail::reach_most || !(how.least > 0)) {
    return fail(
        errc::invalid_argument,
        "a gradient has a half-life and a spread of 0 or more, a reach of 1 to 4,096, and a least amount above 0");
  }
  gradient g;
  g.how_ = how;
  const auto sources = make_table<std::int64_t, detail::gradient_sources>(rt, owner);
  if (!sources) return tl::unexpected<error>(sources.error());
  const auto watched = make_table<std::int64_t, std::uint32_t>(rt, owner);
  if (!watched) return tl::unexpected<error>(watched.error());
  g.sources_ = *sources;
  g.watched_ = *watched;
  try {
    g.warden_ = rt.spawn<detail::gradient_warden>(owner, how, g.sources_, g.watched_);
  } catch (const runtime_error& e) {
    return tl::unexpected<error>(e.why());
  }
  return g;
}

}  // namespace karyon
