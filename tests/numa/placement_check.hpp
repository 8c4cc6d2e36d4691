// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <karyon/cell/runtime.hpp>

#include "kernel.hpp"
#include "sched/wait.hpp"

namespace karyon::tests::numa {

/// Far longer than anything takes, on an emulated machine too: reaching it is a failure, not a measurement.
inline constexpr std::chrono::seconds long_time{90};

/// Waits until `condition` holds; false if it did not within a long time.
template <class Condition>
[[nodiscard]] bool eventually(const Condition& condition) {
  constexpr auto ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(long_time).count());
  return detail::poll_until(condition, detail::deadline_in(ns));
}

template <class... Parts>
[[nodiscard]] std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

[[nodiscard]] inline std::string list(const numbers& all) {
  std::string out;
  for (const std::uint32_t n : all) out += (out.empty() ? "" : " ") + std::to_string(n);
  return out;
}

/// What was found, a line each, as it is found.
class report {
public:
  /// With `all_demanded`, what can not be checked is a failure too.
  explicit report(bool all_demanded) noexcept : all_demanded_(all_demanded) {}
  void expect(bool holds, const std::string& sentence) {
    std::printf("  %s  %s\n", holds ? "ok  " : "FAIL", sentence.c_str());
    if (!holds) ++failures_;
  }
  void not_checked(const std::string& why) {
    std::printf("  %s  not checked: %s\n", all_demanded_ ? "FAIL" : "--  ", why.c_str());
    if (all_demanded_) ++failures_;
  }
  [[nodiscard]] unsigned failures() const noexcept { return failures_; }

private:
  bool all_demanded_;
  unsigned failures_ = 0;
};

/// The machine that is checked, and how much of it is demanded.
struct ground {
  topology shape;
  std::map<std::uint32_t, numbers> kernel_nodes;  ///< with processors, by the system's number
  std::uint32_t nodes_demanded = 0;               ///< 0: whatever there is
  std::uint32_t cores_demanded = 0;               ///< of each node
  std::uint32_t cells = 200;                      ///< how many at a place
};

/// Options of a runtime for this machine, without log lines for the failures that the checks provoke.
///
/// The shape is given, since a thread that is confined for a check would find a smaller machine.
[[nodiscard]] inline runtime_options options_for(const ground& g, const binding_options& binding = {}) {
  runtime_options options;
  options.machine = &g.shape;
  options.scheduler.binding = binding;
  return options;
}

void check_machine(const ground& g, report& r);
void check_instrument(const ground& g, report& r);
void check_binding(const ground& g, report& r);
void check_take_over(const ground& g, report& r);
void check_slots(const ground& g, report& r);
void check_signals(const ground& g, report& r);
void check_memory(const ground& g, report& r);
void check_migration(const ground& g, report& r);
void check_stealing(const ground& g, report& r);
void check_supervision(const ground& g, report& r);

}  // namespace karyon::tests::numa
