// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <karyon/cell/runtime.hpp>
#include <karyon/core/log.hpp>

#include "support/catch.hpp"

namespace karyon::tests {

/// Far longer than anything here takes: reaching it is a failure, not a measurement.
inline constexpr std::chrono::seconds long_time{60};

/// Waits until `condition` holds, and lets others run meanwhile; false if it did not within a long time.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + long_time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

/// A runtime's options for a test: so many workers, no reports of the failures that the test provokes.
[[nodiscard]] inline runtime_options quiet(std::uint32_t workers = 2) {
  set_log_level(log_level::off);
  runtime_options options;
  options.scheduler.binding.workers = workers;
  return options;
}

/// A one-way door that cells and tests wait at: closed until open() is called.
class door {
public:
  void open() noexcept {
    open_.store(true, std::memory_order_release);
    open_.notify_all();
  }
  void pass() const noexcept { open_.wait(false, std::memory_order_acquire); }
  [[nodiscard]] bool is_open() const noexcept { return open_.load(std::memory_order_acquire); }

private:
  std::atomic<bool> open_{false};
};

/// What cells have to tell a test, in the order in which they told it.
class diary {
public:
  void write(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return lines_.size();
  }
  /// Waits for the n-th line.
  [[nodiscard]] bool has(std::size_t n) const {
    return eventually([&] { return size() >= n; });
  }

private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

using lines = std::vector<std::string>;

/// Counts the living objects of a kind.
class counted {
public:
  explicit counted(std::atomic<int>& living) noexcept : living_(&living) { living_->fetch_add(1); }
  counted(const counted& other) noexcept : counted(*other.living_) {}
  counted& operator=(const counted&) noexcept { return *this; }
  ~counted() { living_->fetch_sub(1); }

private:
  std::atomic<int>* living_;
};

// Signals that most tests use.

struct ping {};
struct number {
  int value = 0;
};
struct word {
  std::string text;
};
struct get {};
struct quit {};
struct caught_up {};

/// Writes the `down` of each cell that it is told to watch.
struct watch {
  cell_ref whom;
};
class watcher : public cell {
public:
  using accepts = signals<watch, caught_up>;
  explicit watcher(diary& d) : diary_(&d) {}
  void on(const watch& w) { monitor(w.whom); }
  void on(const down& d) { diary_->write("down: " + to_string(d.why)); }
  bool on(caught_up) { return true; }

private:
  diary* diary_;
};

/// Watches one cell from outside: its end, as text, or "" if it has not ended within a long time.
class witness {
public:
  witness(runtime& rt, const cell_ref& whom) : watcher_(rt.spawn<watcher>(diary_)) {
    watcher_.send(watch{whom});
    // Answered after the watch was handled; the request to monitor is on its way before anything that is sent later.
    static_cast<void>(rt.ask(watcher_, caught_up{}, long_time));
    host_ = &rt;
  }
  witness(const witness&) = delete;
  witness& operator=(const witness&) = delete;
  ~witness() {
    host_->exit(watcher_, exit_reason::killed());
    static_cast<void>(eventually([&] { return !watcher_.alive(); }));
  }
  [[nodiscard]] std::string end() const { return diary_.has(1) ? diary_.lines().front() : ""; }

private:
  diary diary_;
  ref<watcher> watcher_;
  runtime* host_ = nullptr;
};

}  // namespace karyon::tests
