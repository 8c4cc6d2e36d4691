// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "supervise/ordered_logic.hpp"
#include "supervise/restart_budget.hpp"

#include "support/catch.hpp"
#include "unit/supervise/otp_model.hpp"

using namespace karyon;
using namespace karyon::tests;
using karyon::detail::ordered_logic;
using karyon::detail::restart_budget;
using namespace std::chrono_literals;

namespace {

using generator = std::mt19937_64;
std::uint64_t below(generator& rng, std::uint64_t n) { return rng() % n; }

/// Gaps between restarts as they come in life: bursts, steps of about a period's share, and the period itself, to a hair.
std::uint64_t gap(generator& rng, std::uint32_t restarts, std::uint64_t period) {
  switch (below(rng, 5)) {
    case 0: return 0;
    case 1: return below(rng, 3);
    case 2: return below(rng, 2 * period / (restarts + 1) + 2);
    case 3: return period - std::min<std::uint64_t>(period, 1) + below(rng, 3);
    default: return below(rng, 2 * period + 1);
  }
}

}  // namespace

TEST_CASE("a restart budget allows and refuses as OTP's list of times does, over thousands of seeds") {
  std::uint64_t allowed = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t seed = 1; seed <= 5'000; ++seed) {
    generator rng(seed);
    const auto restarts = static_cast<std::uint32_t>(below(rng, 8));
    const std::uint64_t period = 1 + below(rng, 1'000);
    restart_budget budget(restarts, period);
    otp_intensity otp(restarts, period);
    std::uint64_t now = below(rng, 1'000);
    for (int i = 0; i < 100; ++i) {
      const bool expected = otp.add(now);
      const bool got = budget.add(now);
      if (got != expected) {
        INFO("seed " << seed << ", restart " << i << " at " << now << ", " << restarts << " in " << period);
        REQUIRE(got == expected);
      }
      (expected ? allowed : refused) += 1;
      now += gap(rng, restarts, period);
    }
  }
  CHECK(allowed > 50'000);  // it was no empty comparison
  CHECK(refused > 50'000);
}

// ---- an ordered supervisor against a plain model of OTP's ---------------------------------------------------------------------

namespace {

/// The logic in a world where starts and ends are answered at once, as the fates say.
class our_side {
public:
  our_side(const supervisor_rules& r, const fates& f) : fates_(f), logic_(settings_of(r)) {}

  void boot(const std::vector<child_rules>& children) {
    std::vector<std::pair<ordered_logic::key, ordered_logic::rules>> all;
    for (const auto& c : children) {
      const ordered_logic::key k = ++last_key_;
      ids_[k] = c.id;
      states_[k] = child_state::stopped;
      all.emplace_back(k, ordered_logic::rules{c.id, c.restart, child_shutdown::infinity(), c.significant});
    }
    logic_.begin(std::move(all));
    run(0, 1'000'000);
  }
  void exits(const std::string& id, const exit_reason& why, std::uint64_t now) {
    const ordered_logic::key k = key_of(id);
    alive_.erase(k);
    logic_.child_ended(k, why, now);
  }
  void asks(int what, const std::string& id) {
    if (what == 2) logic_.terminate_child(++tickets_, id);
    if (what == 3) logic_.restart_child(++tickets_, id);
    if (what == 4) logic_.delete_child(++tickets_, id);
  }
  /// Steps, until it waits, or so many messages are done.
  void run(std::uint64_t now, int steps) {
    carry_out(now);
    while (steps-- > 0 && logic_.step(now)) carry_out(now);
  }
  void stop(std::uint64_t now) {
    logic_.request_exit(exit_reason::shutdown());
    run(now, 1'000'000);
  }

  [[nodiscard]] const trace& done() const { return trace_; }
  [[nodiscard]] const std::string& ended() const { return ended_; }
  [[nodiscard]] int answers() const { return answers_; }
  [[nodiscard]] int questions() const { return static_cast<int>(tickets_); }
  [[nodiscard]] std::string table() const {
    std::string t;
    for (const auto& [k, state] : states_) {
      t += ids_.at(k) + (state == child_state::running ? "r " : state == child_state::restarting ? "t " : "s ");
    }
    return t;
  }

private:
  static ordered_logic::settings settings_of(const supervisor_rules& r) {
    ordered_logic::settings s;
    s.strategy = r.strategy;
    s.intensity = {r.restarts, std::chrono::nanoseconds(r.period)};
    s.automatic = r.automatic;
    return s;
  }
  ordered_logic::key key_of(const std::string& id) const {
    for (const auto& [k, name] : ids_) {
      if (name == id && states_.count(k) != 0) return k;
    }
    return ordered_logic::no_child;
  }
  void carry_out(std::uint64_t now) {
    using effect = ordered_logic::effect;
    for (auto effects = logic_.take_effects(); !effects.empty(); effects = logic_.take_effects()) {
      for (const effect& e : effects) {
        switch (e.what) {
          case effect::start: start(e.child, now); break;
          case effect::ask:
          case effect::kill: end(e.child, now); break;
          case effect::become: states_[e.child] = e.state; break;
          case effect::forget: states_.erase(e.child); break;
          case effect::answer: ++answers_; break;
          case effect::start_has_failed: ended_ = "start_failed"; break;
          case effect::has_ended: ended_ = to_string(e.why); break;
          default: break;
        }
      }
    }
  }
  void start(ordered_logic::key k, std::uint64_t now) {
    const std::string& id = ids_.at(k);
    trace_.push_back("start " + id);
    const int n = ++attempts_[id];
    switch (fates_.of(id, n)) {
      case fates::birth::fails:
        return logic_.child_start_failed(k, exit_reason(exit_reason::kind::start_failed, "", "fate"));
      case fates::birth::ignored: return logic_.child_ignored(k);
      case fates::birth::lives: break;
    }
    alive_[k] = n;
    logic_.child_started(k, now);
  }
  void end(ordered_logic::key k, std::uint64_t now) {
    const auto found = alive_.find(k);
    if (found == alive_.end()) return;
    const int n = found->second;
    alive_.erase(found);
    trace_.push_back("end " + ids_.at(k));
    logic_.child_ended(k, fates_.when_asked(ids_.at(k), n), now);
  }

  fates fates_;
  ordered_logic logic_;
  ordered_logic::key last_key_ = 0;
  std::map<ordered_logic::key, std::string> ids_;
  std::map<ordered_logic::key, child_state> states_;
  std::map<ordered_logic::key, int> alive_;
  std::map<std::string, int> attempts_;
  ordered_logic::ticket tickets_ = 0;
  int answers_ = 0;
  trace trace_;
  std::string ended_;
};

exit_reason random_reason(generator& rng) {
  switch (below(rng, 5)) {
    case 0: return exit_reason::normal();
    case 1: return exit_reason::shutdown();
    case 2: return exit_reason::shutdown("words");
    case 3: return exit_reason::killed();
    default: return exit_reason::error("", "crash");
  }
}

struct outcome {
  bool ended_by_itself = false;
  bool restarted = false;
};

/// One random life of a supervisor on both sides.
outcome compare(std::uint64_t seed) {
  generator rng(seed);
  const supervisor_rules rules{static_cast<restart_strategy>(below(rng, 3)), static_cast<std::uint32_t>(below(rng, 6)),
                               1 + below(rng, 200), static_cast<auto_shutdown>(below(rng, 3))};
  std::vector<child_rules> children;
  for (std::uint64_t i = 0, n = 1 + below(rng, 6); i < n; ++i) {
    const auto type = static_cast<restart_type>(below(rng, 3));
    const bool significant =
        rules.automatic != auto_shutdown::never && type != restart_type::permanent && below(rng, 2) == 0;
    children.push_back({std::string(1, static_cast<char>('a' + i)), type, significant});
  }
  const fates f{seed * 7919, static_cast<int>(below(rng, 4) * 10)};
  otp_model otp(rules, f);
  our_side ours(rules, f);
  outcome o;
  const auto same = [&](const char* when) {
    if (otp.done() == ours.done() && otp.ended() == ours.ended() &&
        (!otp.ended().empty() || otp.table() == ours.table()))
      return;
    std::string a, b;
    for (const auto& line : otp.done()) a += line + ", ";
    for (const auto& line : ours.done()) b += line + ", ";
    INFO("seed " << seed << ", after " << when << "\nOTP:  " << a << " [" << otp.table() << "] " << otp.ended()
                 << "\nours: " << b << " [" << ours.table() << "] " << ours.ended());
    REQUIRE(false);
  };
  otp.boot(children);
  ours.boot(children);
  same("the start");
  const std::size_t starts = otp.done().size();
  std::uint64_t now = 1'000;
  for (int event = 0; event < 30 && otp.ended().empty(); ++event) {
    // Several things at the same time, then all of it is handled.
    for (std::uint64_t i = 0, n = 1 + below(rng, 3); i < n; ++i) {
      const auto alive = otp.alive();
      if (below(rng, 4) != 0 && !alive.empty()) {
        const std::string id = alive[below(rng, alive.size())];
        const exit_reason why = random_reason(rng);
        otp.exits(id, why);
        ours.exits(id, why, now);
      } else {
        const int what = 2 + static_cast<int>(below(rng, 3));
        const std::string id = children[below(rng, children.size())].id;
        otp.asks(what, id);
        ours.asks(what, id);
      }
    }
    otp.run(now, 1'000'000);
    ours.run(now, 1'000'000);
    same("an event");
    now += gap(rng, rules.restarts, rules.period);
  }
  o.ended_by_itself = !otp.ended().empty();
  o.restarted = otp.done().size() > starts;
  otp.stop();
  ours.stop(now);
  same("the end");
  if (ours.questions() != ours.answers()) {
    INFO("seed " << seed);
    REQUIRE(ours.questions() == ours.answers());
  }
  return o;
}

}  // namespace

TEST_CASE(
    "an ordered supervisor starts, ends, restarts and gives up as a model of OTP's does, over thousands of seeds") {
  int ended = 0;
  int restarted = 0;
  for (std::uint64_t seed = 1; seed <= 10'000; ++seed) {
    const outcome o = compare(seed);
    ended += o.ended_by_itself ? 1 : 0;
    restarted += o.restarted ? 1 : 0;
  }
  CHECK(ended > 1'000);  // it was no empty comparison
  CHECK(ended < 9'900);
  CHECK(restarted > 2'000);
}
