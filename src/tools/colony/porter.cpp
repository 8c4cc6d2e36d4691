// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/porter.hpp"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

namespace karyon::tools {

namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t symbols_a_signal = 2048;
constexpr auto try_again_after = 2ms;

}  // namespace

porter::porter(std::string name, symbol_ground* ground, supervisor keeper, child<conductor> lead)
    : name_(std::move(name)), ground_(ground), keeper_(std::move(keeper)), lead_(std::move(lead)) {}

void porter::on_start() {
  monitor(lead_.get());
  static_cast<void>(lead_.send(member_ready{name_, self(this)}));  // refused: then the monitor says that it is gone
}

void porter::on(const provide& wanted) {
  if (symbols_.empty()) {  // nobody reads it before the first symbol is there
    ground_->lead = lead_;
    ground_->member = wanted.member;
  }
  const auto first = static_cast<std::uint32_t>(symbols_.size());
  const symbol_ground* const ground = ground_;
  const auto more = keeper_.start_each<symbol>(
      wanted.count, [ground, first](std::size_t i) { return std::tuple(ground, static_cast<symbol_id>(first + i)); });
  symbols_.insert(symbols_.end(), more.begin(), more.end());
  for (std::uint32_t at = 0; at < wanted.count; at += symbols_a_signal) {
    const std::uint32_t n = std::min(symbols_a_signal, wanted.count - at);
    unsent_.push_back({wanted.member, first + at, {more.begin() + at, more.begin() + at + n}});
  }
  on(send_the_rest{});
}

void porter::on(send_the_rest) {
  while (!unsent_.empty()) {
    if (lead_.send(unsent_.front()) == send_result::no_credit) {
      send_after(self(this), send_the_rest{}, try_again_after);
      return;
    }
    unsent_.pop_front();
  }
}

void porter::on(const kill_symbols& which) {
  for (const std::uint32_t number : which.numbers) {
    if (number < symbols_.size()) {
      exit(symbols_[number].get(), exit_reason::killed());
    }
  }
}

void porter::on(const karyon::down&) { exit(exit_reason::normal()); }

}  // namespace karyon::tools
