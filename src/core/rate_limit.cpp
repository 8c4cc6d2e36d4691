// SPDX-License-Identifier: Apache-2.0
#include "core/rate_limit.hpp"

#include <algorithm>
#include <cstring>

namespace karyon::detail {

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;

std::string with_thousands(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

// "1.0 s", rounded to tenths.
std::string seconds(std::uint64_t ns) {
  const std::uint64_t tenths = (ns + second_ns / 20) / (second_ns / 10);
  return with_thousands(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

report_budget::report_budget(std::uint32_t per_second, std::uint32_t burst) noexcept
    : period_ns_(per_second == 0 ? 0 : std::max<std::uint64_t>(1, second_ns / per_second)),
      tolerance_ns_(period_ns_ * (std::max<std::uint64_t>(1, burst) - 1)) {
  counters_.back().kind.store("other", std::memory_order_relaxed);
}

bool report_budget::allow(std::uint64_t now_ns, const char* kind) noexcept {
  // All relaxed: the budget orders nothing but itself.
  std::uint64_t full = full_again_ns_.load(std::memory_order_relaxed);
  while (period_ns_ != 0 && full <= now_ns + tolerance_ns_) {
    if (full_again_ns_.compare_exchange_weak(full, std::max(full, now_ns) + period_ns_, std::memory_order_relaxed)) {
      return true;
    }
  }
  // Sequentially consistent, as in take_summary: whoever does not see the flag taken has been counted before the counts
  // are taken; so no refusal is left without a flag.
  counter_of(kind).count.fetch_add(1);
  if (!pending_.load() && !pending_.exchange(true)) pending_since_ns_.store(now_ns, std::memory_order_relaxed);
  return false;
}

report_budget::counter& report_budget::counter_of(const char* kind) noexcept {
  for (counter& c : counters_) {
    const char* known = c.kind.load(std::memory_order_acquire);
    if (known == nullptr && c.kind.compare_exchange_strong(known, kind, std::memory_order_acq_rel)) return c;
    if (known == kind || std::strcmp(known, kind) == 0) return c;
  }
  return counters_.back();
}

std::optional<std::string> report_budget::take_summary(std::uint64_t now_ns) {
  if (!pending_.exchange(false)) return std::nullopt;
  const std::uint64_t since = std::min(now_ns, pending_since_ns_.load(std::memory_order_relaxed));
  struct entry {
    const char* kind;
    std::uint64_t count;
  };
  std::array<entry, kinds> entries{};
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < kinds; ++i) {
    entries[i] = {counters_[i].kind.load(std::memory_order_acquire), counters_[i].count.exchange(0)};
    total += entries[i].count;
  }
  summed_up_.fetch_add(total, std::memory_order_relaxed);
  if (total == 0) return std::nullopt;  // another summary has them
  std::stable_sort(entries.begin(), entries.end(), [](const entry& a, const entry& b) { return a.count > b.count; });
  std::string text = "suppressed " + with_thousands(total) + (total == 1 ? " report" : " reports") + " of the last " +
                     seconds(now_ns - since) + ":";
  const char* separator = " ";
  for (const entry& e : entries) {
    if (e.count == 0) break;
    text.append(separator).append(with_thousands(e.count)).append(" ").append(e.kind);
    separator = ", ";
  }
  return text;
}

std::uint64_t report_budget::suppressed() const noexcept {
  std::uint64_t sum = summed_up_.load(std::memory_order_relaxed);
  for (const counter& c : counters_) sum += c.count.load(std::memory_order_relaxed);
  return sum;
}

void rate_limited_reporter::emit(std::uint64_t now_ns, log_level level, std::string_view text) noexcept {
  level_.store(level, std::memory_order_relaxed);
  flush(now_ns);
  log(level, text);
}

void rate_limited_reporter::flush(std::uint64_t now_ns) noexcept {
  try {
    const std::optional<std::string> summary = budget_.take_summary(now_ns);
    if (summary) log(level_.load(std::memory_order_relaxed), *summary);
  } catch (...) {  // no memory for the line; `suppressed()` still has the sum
  }
}

}  // namespace karyon::detail
