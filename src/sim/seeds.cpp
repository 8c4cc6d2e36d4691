#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <karyon/sim/testing.hpp>

#include "sim/driver.hpp"

namespace karyon::testing {

namespace {

constexpr const char* seed_variable = "KARYON_SIM_SEED";
constexpr const char* count_variable = "KARYON_SIM_SEEDS";

std::optional<std::uint64_t> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return std::nullopt;
  const std::string_view all(text);
  std::uint64_t n = 0;
  const auto [end, problem] = std::from_chars(all.data(), all.data() + all.size(), n);
  if (problem != std::errc() || end != all.data() + all.size()) {
    throw failure("the environment variable " + std::string(variable) + " holds '" + std::string(all) +
                  "', which is no number of a seed");
  }
  return n;
}

/// As a shell reads it back.
std::string quoted(std::string_view argument) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!argument.empty() && argument.find_first_not_of(plain) == std::string_view::npos) return std::string(argument);
  std::string out = "'";
  for (const char c : argument) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

/// How this process was started, with the seed chosen.
std::string replay_command(std::uint64_t seed) {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string raw((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string out = std::string(seed_variable) + "=" + std::to_string(seed);
  for (std::size_t at = 0; at < raw.size();) {
    const std::size_t end = raw.find('\0', at);
    out += " " + quoted(std::string_view(raw).substr(at, end - at));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return out;
}

}  // namespace

std::string detail::with_command(const std::string& report, std::uint64_t seed) {
  return report + "\nreplay it with: " + replay_command(seed);
}

void world::abandon(std::unique_ptr<world> failed) noexcept {
  failed->driver_->let_go();
  // Still reachable, so that no leak is reported on top of the failure.
  static std::mutex mutex;
  static auto& left = *new std::vector<world*>();
  const std::lock_guard lock(mutex);
  left.push_back(failed.release());
}

/// One seed. The report is made while the world still is as it was.
void world::run_one(const world_options& options, const std::function<void(world&)>& body) {
  const std::uint64_t seed = options.seed;
  auto w = std::make_unique<world>(options);
  try {
    body(*w);
    w->verify();
  } catch (const failure& e) {
    const std::string text = detail::with_command(e.what(), seed);
    abandon(std::move(w));
    throw failure(text);
  } catch (const std::exception& e) {
    const std::string text = detail::with_command(w->describe(e.what()), seed);
    abandon(std::move(w));
    throw failure(text);
  } catch (...) {
    const std::string text = detail::with_command(w->describe("the test failed"), seed);
    std::fprintf(stderr, "%s\n", text.c_str());
    abandon(std::move(w));
    throw;
  }
}

void for_each_seed(const seeds& which, const world_options& options, const std::function<void(world&)>& body) {
  world_options one = options;
  if (const auto chosen = number_in(seed_variable)) {
    one.seed = *chosen;
    return world::run_one(one, body);
  }
  if (which.count == 0) throw failure("for_each_seed was given a count of 0: a test that runs no seed shows nothing");
  const std::optional<std::uint64_t> wanted = number_in(count_variable);
  if (wanted == std::uint64_t{0}) {
    throw failure("the environment variable " + std::string(count_variable) +
                  " is 0: a test that runs no seed shows nothing");
  }
  const std::uint64_t count = wanted.value_or(which.count);
  for (std::uint64_t i = 0; i < count; ++i) {
    one.seed = which.first + i;
    world::run_one(one, body);
  }
}

void for_each_seed(const seeds& which, const std::function<void(world&)>& body) {
  for_each_seed(which, world_options{}, body);
}

}  // namespace karyon::testing
