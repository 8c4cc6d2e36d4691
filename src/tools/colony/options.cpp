// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/options.hpp"

#include <charconv>
#include <chrono>
#include <cstdio>

namespace karyon::tools {

bool parse_number(std::string_view text, std::uint64_t& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return !text.empty() && error == std::errc() && stop == end;
}

bool parse_percentage(std::string_view text, double& fraction) {
  if (!text.empty() && text.back() == '%') {
    text.remove_suffix(1);
  }
  double percent = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, percent);
  // Written so that a NaN fails, too.
  if (text.empty() || error != std::errc() || stop != end || !(percent >= 0 && percent <= 100)) {
    return false;
  }
  fraction = percent / 100;
  return true;
}

bool is_endpoint(std::string_view text) {
  constexpr std::string_view ipc = "ipc:///";
  constexpr std::string_view tcp = "tcp://";
  if (text.starts_with(ipc)) {
    return text.size() > ipc.size() && text.back() != '/';
  }
  const std::size_t colon = text.rfind(':');
  if (!text.starts_with(tcp) || colon < tcp.size() || colon + 1 == text.size()) {
    return false;
  }
  const std::string_view host = text.substr(tcp.size(), colon - tcp.size());
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

namespace {

constexpr std::int64_t us_a_second = 1'000'000;

// A number of just so many digits, at the begin of the text, which is then shorter.
bool take_digits(std::string_view& text, std::size_t digits, std::uint64_t& number) {
  if (text.size() < digits || !parse_number(text.substr(0, digits), number)) {
    return false;
  }
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, char wanted) {
  const bool there = text.starts_with(wanted);
  text.remove_prefix(there ? 1 : 0);
  return there;
}

}  // namespace

bool parse_time(std::string_view text, std::int64_t& time_us) {
  constexpr std::uint64_t seconds_max = std::uint64_t{1} << 40U;
  if (take(text, '@')) {
    std::uint64_t seconds = 0;
    if (!parse_number(text, seconds) || seconds > seconds_max) {
      return false;
    }
    time_us = static_cast<std::int64_t>(seconds) * us_a_second;
    return true;
  }
  std::uint64_t year = 0;
  std::uint64_t month = 0;
  std::uint64_t day = 0;
  std::uint64_t hour = 0;
  std::uint64_t minute = 0;
  std::uint64_t second = 0;
  if (!take_digits(text, 4, year) || !take(text, '-') || !take_digits(text, 2, month) || !take(text, '-') ||
      !take_digits(text, 2, day)) {
    return false;
  }
  if (!text.empty()) {
    if (!(take(text, 'T') || take(text, ' ')) || !take_digits(text, 2, hour) || !take(text, ':') ||
        !take_digits(text, 2, minute) || (take(text, ':') && !take_digits(text, 2, second))) {
      return false;
    }
    take(text, 'Z');
  }
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(year)),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!text.empty() || !date.ok() || hour > 23 || minute > 59 || second > 59) {
    return false;
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  time_us = (days * 86'400 + static_cast<std::int64_t>(hour * 3600 + minute * 60 + second)) * us_a_second;
  return true;
}

std::string time_text(std::int64_t time_us) {
  const std::chrono::sys_time<std::chrono::microseconds> at{std::chrono::microseconds(time_us)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const auto second = std::chrono::floor<std::chrono::seconds>(at - day).count();
  char text[48];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d UTC", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(second / 3600),
                static_cast<int>(second / 60 % 60), static_cast<int>(second % 60));
  return text;
}

}  // namespace karyon::tools
