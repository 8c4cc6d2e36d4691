// SPDX-License-Identifier: Apache-2.0
#pragma once

// A model of OTP's supervisor, to compare with.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <vector>

#include <karyon/supervise/supervisor_spec.hpp>

namespace karyon::tests {

/// OTP's rule as its documentation has it: the restarts within the period before now, this one included, are at most so many.
/// Those that lie further back are forgotten; one that lies exactly a period back is not.
class otp_intensity {
public:
  otp_intensity(std::uint32_t restarts, std::uint64_t period) : restarts_(restarts), period_(period) {}
  bool add(std::uint64_t now) {
    times_.remove_if([&](std::uint64_t t) { return t + period_ < now; });
    times_.push_back(now);
    return times_.size() <= restarts_;
  }

private:
  std::uint32_t restarts_;
  std::uint64_t period_;
  std::list<std::uint64_t> times_;
};

/// What a child does at its n-th start, and with which reason its n-th incarnation ends when asked: the same for both sides.
struct fates {
  std::uint64_t seed;
  int failing_percent;

  [[nodiscard]] std::uint64_t at(const std::string& id, int n, std::uint64_t what) const {
    std::uint64_t z =
        seed ^ (static_cast<std::uint64_t>(id.front()) * 31) ^ (static_cast<std::uint64_t>(n) << 20) ^ (what << 50);
    z = (z ^ (z >> 33)) * 0xff51afd7ed558ccdU;
    z = (z ^ (z >> 33)) * 0xc4ceb9fe1a85ec53U;
    return z ^ (z >> 33);
  }
  enum class birth { lives, ignored, fails };
  [[nodiscard]] birth of(const std::string& id, int n) const {
    const auto dice = static_cast<int>(at(id, n, 1) % 100);
    return dice < failing_percent ? birth::fails : dice < failing_percent + 5 ? birth::ignored : birth::lives;
  }
  [[nodiscard]] exit_reason when_asked(const std::string& id, int n) const {
    return at(id, n, 2) % 4 == 0 ? exit_reason::error("", "grumpy") : exit_reason::shutdown();
  }
};

struct child_rules {
  std::string id;
  restart_type restart;
  bool significant;
};
struct supervisor_rules {
  restart_strategy strategy;
  std::uint32_t restarts;
  std::uint64_t period;
  auto_shutdown automatic;
};

using trace = std::vector<std::string>;

/// OTP's supervisor, as its source says and in its form: one message after the other, each done before the next is looked at.
class otp_model {
public:
  otp_model(const supervisor_rules& r, const fates& f) : rules_(r), fates_(f), intensity_(r.restarts, r.period) {}

  void boot(const std::vector<child_rules>& children) {
    for (const auto& c : children) children_.push_back({c, pid::undefined, 0});
    const std::string failed = start_from(children_.begin());
    if (failed.empty()) return;
    terminate_all();
    ended_ = "start_failed";
  }
  /// An incarnation ends by itself: its exit signal is in the mailbox then.
  void exits(const std::string& id, const exit_reason& why) {
    kept& c = *find(id);
    c.gone = true;
    mailbox_.push_back({message::exit, id, c.incarnation, why});
  }
  void asks(int what, const std::string& id) { mailbox_.push_back({static_cast<message::kind>(what), id, 0, {}}); }
  /// Handles messages until there is none; not for ever: a restart loop is left after some rounds.
  void run(std::uint64_t now, int rounds) {
    while (ended_.empty() && !mailbox_.empty() && rounds-- > 0) {
      const message m = mailbox_.front();
      mailbox_.pop_front();
      handle(m, now);
    }
  }
  void stop() {
    if (!ended_.empty()) return;
    terminate_all();
    ended_ = "shutdown";
  }

  [[nodiscard]] const trace& done() const { return trace_; }
  [[nodiscard]] const std::string& ended() const { return ended_; }
  /// Ids in order, with r(unning), t(rying again) or s(topped).
  [[nodiscard]] std::string table() const {
    std::string t;
    for (const kept& c : children_) {
      t += c.rules.id + (c.is == pid::alive ? "r " : c.is == pid::restarting ? "t " : "s ");
    }
    return t;
  }
  [[nodiscard]] std::vector<std::string> alive() const {
    std::vector<std::string> all;
    for (const kept& c : children_) {
      if (c.is == pid::alive && !c.gone) all.push_back(c.rules.id);
    }
    return all;
  }

private:
  enum class pid { undefined, alive, restarting };
  struct kept {
    child_rules rules;
    pid is;
    int incarnation;
    bool gone = false;  // it has ended, and nobody has looked yet
  };
  struct message {
    enum kind { exit, try_again, terminate, restart, remove } what;
    std::string id;
    int incarnation;
    exit_reason why;
  };
  using place = std::list<kept>::iterator;

  place find(const std::string& id) {
    return std::find_if(children_.begin(), children_.end(), [&](const kept& c) { return c.rules.id == id; });
  }

  // start_children: in order from there on; the id of the one that fails.
  std::string start_from(place from) {
    while (from != children_.end()) {
      if (!start_one(*from)) return from->rules.id;
      from = from->is == pid::undefined && from->rules.restart == restart_type::temporary ? children_.erase(from)
                                                                                          : std::next(from);
    }
    return "";
  }
  bool start_one(kept& c) {
    trace_.push_back("start " + c.rules.id);
    c.gone = false;
    c.is = pid::undefined;
    switch (fates_.of(c.rules.id, ++attempts_[c.rules.id])) {
      case fates::birth::fails: return false;
      case fates::birth::ignored: return true;
      case fates::birth::lives: break;
    }
    c.is = pid::alive;
    c.incarnation = attempts_[c.rules.id];
    return true;
  }
  // shutdown of one: nothing to do for what does not run.
  void end_one(kept& c) {
    if (c.is == pid::alive && !c.gone) trace_.push_back("end " + c.rules.id);
    c.is = pid::undefined;
    c.gone = false;
  }
  // terminate_children: in reverse down to there; temporary ones are forgotten.
  void end_down_to(place from) {
    std::vector<place> those;
    for (place c = from; c != children_.end(); ++c) those.push_back(c);
    std::reverse(those.begin(), those.end());
    for (const place c : those) {
      end_one(*c);
      if (c->rules.restart == restart_type::temporary) children_.erase(c);
    }
  }
  void terminate_all() {
    for (auto c = children_.rbegin(); c != children_.rend(); ++c) end_one(*c);
  }

  void handle(const message& m, std::uint64_t now) {
    const place c = find(m.id);
    if (c == children_.end()) return;
    switch (m.what) {
      case message::exit:
        if (c->is == pid::alive && c->gone && c->incarnation == m.incarnation) handle_exit(c, m.why, now);
        return;
      case message::try_again:
        if (c->is == pid::restarting) restart(c, now);
        return;
      case message::terminate:
        end_one(*c);
        if (c->rules.restart == restart_type::temporary) children_.erase(c);
        return;
      case message::restart:
        if (c->is == pid::undefined && start_one(*c) && c->is == pid::undefined &&
            c->rules.restart == restart_type::temporary) {
          children_.erase(c);
        }
        return;
      case message::remove:
        if (c->is == pid::undefined) children_.erase(c);
        return;
    }
  }
  void handle_exit(place c, const exit_reason& why, std::uint64_t now) {
    const restart_type type = c->rules.restart;
    const bool restarts = type == restart_type::permanent || (type == restart_type::transient && !why.is_expected());
    if (restarts) return restart(c, now);
    const bool significant = c->rules.significant;
    c->is = pid::undefined;
    c->gone = false;
    if (type == restart_type::temporary) children_.erase(c);
    if (!significant || rules_.automatic == auto_shutdown::never) return;
    const bool others = std::any_of(children_.begin(), children_.end(),
                                    [](const kept& k) { return k.rules.significant && k.is != pid::undefined; });
    if (rules_.automatic == auto_shutdown::any_significant || !others) stop();
  }
  void restart(place c, std::uint64_t now) {
    c->gone = false;
    if (!intensity_.add(now)) {
      c->is = pid::undefined;
      return stop();
    }
    c->is = pid::undefined;
    std::string failed;
    if (rules_.strategy == restart_strategy::one_for_one) {
      failed = start_one(*c) ? "" : c->rules.id;
    } else {
      // The place of the first to start: the one that ended is not temporary, so it stays.
      const place from = rules_.strategy == restart_strategy::one_for_all ? children_.begin() : c;
      const bool at_begin = from == children_.begin();
      const place before = at_begin ? from : std::prev(from);
      end_down_to(from);
      failed = start_from(at_begin ? children_.begin() : std::next(before));
    }
    if (failed.empty()) return;
    find(failed)->is = pid::restarting;
    mailbox_.push_back({message::try_again, failed, 0, {}});
  }

  supervisor_rules rules_;
  fates fates_;
  otp_intensity intensity_;
  std::list<kept> children_;
  std::deque<message> mailbox_;
  std::map<std::string, int> attempts_;
  trace trace_;
  std::string ended_;
};

}  // namespace karyon::tests
