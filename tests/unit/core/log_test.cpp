// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using karyon::log_level;
using karyon::set_log_level;
using karyon::set_log_sink;
using karyon::detail::log;
using karyon::detail::log_enabled;

using lines = std::vector<std::pair<log_level, std::string>>;

// Sends the log to a list, and puts level and sink back at the end.
class captured_log {
public:
  captured_log() {
    set_log_sink([this](log_level level, std::string_view text) { seen_.emplace_back(level, text); });
  }
  captured_log(const captured_log&) = delete;
  captured_log& operator=(const captured_log&) = delete;
  ~captured_log() {
    set_log_sink({});
    set_log_level(log_level::warn);
  }
  [[nodiscard]] const lines& seen() const noexcept { return seen_; }

private:
  lines seen_;
};

}  // namespace

TEST_CASE("a host's sink gets the lines from the threshold up, with their levels") {
  const captured_log capture;
  CHECK(karyon::get_log_level() == log_level::warn);
  log(log_level::info, "not this");
  log(log_level::warn, "a warning");
  log(log_level::critical, "the end");
  set_log_level(log_level::debug);
  log(log_level::trace, "nor this");
  log(log_level::debug, "details");
  CHECK(capture.seen() ==
        lines{{log_level::warn, "a warning"}, {log_level::critical, "the end"}, {log_level::debug, "details"}});
}

TEST_CASE("with the threshold off nothing is logged, and nothing can be logged as off") {
  const captured_log capture;
  set_log_level(log_level::off);
  log(log_level::critical, "silence");
  log(log_level::off, "silence");
  CHECK_FALSE(log_enabled(log_level::critical));
  set_log_level(log_level::trace);
  log(log_level::off, "silence");
  CHECK(log_enabled(log_level::trace));
  CHECK(capture.seen().empty());
}

TEST_CASE("text is passed on as it is, whatever it looks like") {
  const captured_log capture;
  const std::string odd("{} %s \0 {0:x}", 13);
  log(log_level::err, odd);
  REQUIRE(capture.seen().size() == 1);
  CHECK(capture.seen()[0].second == odd);
}

TEST_CASE("a sink that throws or logs harms nobody") {
  const captured_log restores;
  int calls = 0;
  set_log_sink([&](log_level, std::string_view) {
    ++calls;
    log(log_level::err, "from within");
    throw std::runtime_error("no");
  });
  log(log_level::err, "one");
  log(log_level::err, "two");
  CHECK(calls == 2);
}

TEST_CASE("a sink may replace itself") {
  const captured_log restores;
  std::string second;
  auto token = std::make_shared<int>(1);
  const std::weak_ptr<int> alive = token;
  set_log_sink([&second, token = std::move(token)](log_level, std::string_view) {
    set_log_sink([&second](log_level, std::string_view text) { second = text; });
    second = "still here: " + std::to_string(*token);
  });
  log(log_level::err, "one");
  CHECK(second == "still here: 1");
  CHECK(alive.expired());
  log(log_level::err, "two");
  CHECK(second == "two");
}

TEST_CASE("a sink is called by one thread at a time, and not after it was replaced") {
  const captured_log restores;
  constexpr int threads = 4;
  constexpr int each = 500;
  int plain = 0;  // unsynchronised on purpose
  std::atomic<bool> replaced{false};
  std::atomic<bool> late{false};
  std::atomic<int> others{0};
  set_log_sink([&](log_level, std::string_view) {
    ++plain;
    if (replaced) late = true;
  });
  std::vector<std::thread> loggers;
  for (int i = 0; i < threads; ++i) {
    loggers.emplace_back([] {
      for (int n = 0; n < each; ++n) log(log_level::err, "line");
    });
  }
  set_log_sink([&](log_level, std::string_view) { ++others; });
  replaced = true;
  for (std::thread& t : loggers) t.join();
  CHECK_FALSE(late);
  CHECK(plain + others == threads * each);
}

TEST_CASE("levels have names") {
  CHECK(std::string(to_string(log_level::trace)) == "trace");
  CHECK(std::string(to_string(log_level::err)) == "error");
  CHECK(std::string(to_string(log_level::off)) == "off");
}
