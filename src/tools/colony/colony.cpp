// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/colony.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>

#include <karyon/cell/runtime.hpp>
#include <karyon/supervise/supervisor.hpp>

#include "tools/colony/conductor.hpp"
#include "tools/colony/eye.hpp"
#include "tools/colony/ground.hpp"
#include "tools/colony/guests.hpp"
#include "tools/colony/join.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/symbol.hpp"

namespace karyon::tools {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto redraw_every = 100ms;
constexpr auto answer_within = 60s;  // for one cell that has nothing else to do
constexpr std::size_t questions_at_a_time = 4096;
constexpr int audits_max = 5;
constexpr auto joined_within = 60s;
constexpr auto tell_loss_within = 200ms;
constexpr std::uint32_t eyes_a_worker = 4;  // that read at the same time: one at work, others ready to follow

runtime_options options_for(const colony::settings& s) {
  runtime_options options;
  options.scheduler.binding.workers = s.workers;
  return options;
}

// A killing of any size is this colony's daily bread: no number of restarts is a reason to give up.
supervisor_options keeper_options() {
  return {.intensity = {.restarts = std::numeric_limits<std::uint32_t>::max(), .period = 1s}};
}

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

/// One cell in a draw of lots.
struct lot {
  std::uint64_t key;
  std::uint32_t id;
  bool is_eye;
};

}  // namespace

struct colony::parts {
  parts(std::vector<std::string> files, const settings& s) : host(options_for(s)) {
    ground.files = std::move(files);
    ground.file_bytes_max = s.file_bytes_max;
    members = s.members;
    ground.groups = process_groups::open(host, colony_scope, scope_reach::this_node).value();
    ground.symbol_keeper = host.supervise(keeper_options());
    eye_keeper = host.supervise(keeper_options());
    ground.lead = host.supervise().start_with<conductor>({.restart = restart_type::temporary, .where = {}}, &ground,
                                                         eyes_a_worker * host.workers());
    if (!s.listen.empty()) {
      spread.emplace(host, spread_options(spread_node, s.listen));
      spread->publish(spread_conductor, ground.lead);
    }
    resident_before = resident_bytes();
  }
  // The cells stand on the ground until the last of them has ended.
  ~parts() {
    ground.ending.store(true, std::memory_order_relaxed);
    spread.reset();
    static_cast<void>(host.shutdown(5s));
    ground.symbol_keeper = {};
  }

  parts(const parts&) = delete;
  parts& operator=(const parts&) = delete;

  [[nodiscard]] std::uint64_t restarts() const { return ground.symbol_keeper.restarts() + eye_keeper.restarts(); }

  /// Asks `count` cells to describe themselves, many at a time; `take` gets what they say.
  template <class HandleOf, class NameOf, class Take>
  result<void> describe_all(std::uint32_t count, HandleOf handle_of, NameOf name_of, Take take) {
    std::vector<future<self_description>> asked(questions_at_a_time);
    for (std::size_t i = 0; i < count + questions_at_a_time; ++i) {
      future<self_description>& f = asked[i % questions_at_a_time];
      if (i >= questions_at_a_time) {
        const std::size_t from = i - questions_at_a_time;
        if (from < count) {
          const result<self_description> said = f.get(answer_within);
          if (!said) {
            return tl::unexpected<error>(said.error());
          }
          take(*said);
        }
      }
      if (i < count) {
        f = host.ask_async(handle_of(static_cast<std::uint32_t>(i)),
                           describe_yourself{name_of(static_cast<std::uint32_t>(i))});
      }
    }
    return {};
  }

  colony_ground ground;
  runtime host;
  std::optional<node> spread;
  std::uint32_t members = 0;
  std::uint32_t losses_seen = 0;
  supervisor eye_keeper;
  settlement settled;
  census now;
  std::uint64_t resident_before = 0;
};

colony::colony(std::vector<std::string> files, const settings& s)
    : parts_(std::make_unique<parts>(std::move(files), s)) {}
colony::~colony() = default;

result<void> colony::gather(progress& shown) {
  parts& p = *parts_;
  shown.begin("waiting for members");
  const auto joined = p.host.ask(p.ground.lead, when_joined{p.members}, joined_within);
  shown.end();
  return joined.map([](std::uint32_t) {});
}

result<void> colony::learn(progress& shown) {
  shown.begin("reading");
  const auto start = clock::now();
  colony_ground* const ground = &parts_->ground;
  ground->eyes = parts_->eye_keeper.start_each<eye>(
      ground->files.size(), [ground](std::size_t i) { return std::tuple(ground, static_cast<file_id>(i)); });
  const std::vector<member> eyes(ground->eyes.begin(), ground->eyes.end());
  if (auto joined = ground->groups.join(eyes_group, eyes); !joined) {
    return joined;
  }
  static_cast<void>(ground->lead.send(begin{}));
  if (auto settled = settle(shown); !settled) {
    return settled;
  }
  census& c = parts_->now;
  c.learn_seconds = seconds_since(start);
  c.uses_a_second = static_cast<double>(ground->uses_told.load(std::memory_order_relaxed)) / c.learn_seconds;
  c.signals_a_second = static_cast<double>(parts_->host.metrics().handled) / c.learn_seconds;
  const std::uint64_t cells_here = c.eyes + c.symbols_here;
  c.bytes_a_cell = cells_here == 0
                       ? 0
                       : (static_cast<double>(resident_bytes()) - static_cast<double>(parts_->resident_before)) /
                             static_cast<double>(cells_here);
  return {};
}

// Waits until the conductor has nothing left to do. By then each use was sent, and each symbol gets it before a question
// that is sent now; the audit does not rest on that, though, but compares what was seen with what is known.
result<void> colony::settle(progress& shown) {
  parts& p = *parts_;
  fingerprint last;
  for (int round = 0; round < audits_max; ++round) {
    p.losses_seen = p.ground.guests.losses();
    auto settled = p.host.ask_async(p.ground.lead, when_settled{});
    for (;;) {
      result<settlement> s = settled.get(redraw_every);
      shown.update(p.ground.files_done.load(std::memory_order_relaxed), p.ground.files.size(),
                   p.ground.uses_told.load(std::memory_order_relaxed));
      if (s) {
        p.settled = std::move(*s);
        break;
      }
      if (s.error().code() != errc::timeout) {
        shown.end();
        return tl::unexpected<error>(s.error());
      }
    }
    auto audited = audit();
    if (!audited && round + 1 == audits_max) {  // else a cell was between two incarnations: ask again
      shown.end();
      return audited;
    }
    if (!audited && p.spread) {
      // A question finds a member lost at the same time as the conductor, which may be told a moment later.
      std::this_thread::sleep_for(tell_loss_within);
      continue;
    }
    if (p.losses_seen != p.ground.guests.losses()) {
      continue;
    }
    if (audited && (p.now.is_exact() || (round > 0 && p.now.symbols_know == last))) {
      break;
    }
    last = p.now.symbols_know;
  }
  shown.end();
  return {};
}

result<void> colony::audit() {
  parts& p = *parts_;
  census& c = p.now;
  c.by_node.assign(p.host.nodes(), 0);
  c.by_worker.assign(p.host.workers(), 0);
  const std::vector<member> eyes = p.ground.groups.local_members(eyes_group);
  c.eyes = eyes.size();
  c.symbols = 0;
  c.symbols_here = p.ground.groups.local_size(symbols_group);
  c.knowledge_bytes = 0;
  c.eyes_know = {};
  c.symbols_know = {};
  const auto count_in = [&c](const self_description& d) {
    c.knowledge_bytes += d.knowledge_bytes;
    if (d.member == 0) {
      ++c.by_node[d.node];
      ++c.by_worker[d.worker];
    }
  };
  std::vector<symbol_id> ids;
  ids.reserve(p.ground.symbols.size());
  p.ground.symbols.for_each([&ids](const auto& known) {
    if (known.handle) {
      ids.push_back(known.id);
    }
  });
  c.symbols = ids.size();
  auto heard = p.describe_all(
      static_cast<std::uint32_t>(ids.size()), [&](std::uint32_t i) { return p.ground.symbols.handle(ids[i]); },
      [&](std::uint32_t i) { return p.ground.symbols.hash(ids[i]); },
      [&](const self_description& d) {
        count_in(d);
        c.symbols_know += d.known;
      });
  if (heard) {
    heard = p.describe_all(
        static_cast<std::uint32_t>(eyes.size()), [&](std::uint32_t i) { return eyes[i].as_child<eye>(); },
        [](std::uint32_t) { return std::uint64_t{0}; },
        [&](const self_description& d) {
          count_in(d);
          c.eyes_know += d.known;
        });
  }
  return heard;
}

census colony::take_census() const {
  const parts& p = *parts_;
  census c = p.now;
  c.outcomes = p.settled.outcomes;
  c.problems = p.settled.problems;
  c.members = p.ground.guests.members();
  c.resident_bytes = resident_bytes();
  c.restarts = p.restarts();
  c.uses_told = p.ground.uses_told.load(std::memory_order_relaxed);
  c.signals_handled = p.host.metrics().handled;
  return c;
}

result<healing> colony::kill(double fraction, std::uint64_t seed, progress& shown) {
  parts& p = *parts_;
  std::vector<lot> lots;
  for (file_id file = 0; file < p.ground.eyes.size(); ++file) {
    lots.push_back({mix(name_hash(p.ground.files[file]) ^ mix(seed)), file, true});
  }
  p.ground.symbols.for_each([&](const auto& known) {
    lots.push_back({mix(p.ground.symbols.hash(known.id) ^ mix(seed + 1)), known.id, false});
  });
  const auto victims = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(lots.size())));
  std::nth_element(lots.begin(), lots.begin() + static_cast<std::ptrdiff_t>(victims), lots.end(),
                   [](const lot& a, const lot& b) { return a.key < b.key; });
  lots.resize(victims);

  expect_rebirths expected;
  for (const lot& l : lots) {
    (l.is_eye ? expected.eyes : expected.symbols).push_back(l.id);
  }
  healing h;
  h.fraction = fraction;
  h.seed = seed;
  h.eyes_killed = expected.eyes.size();
  h.symbols_killed = expected.symbols.size();
  h.before = p.now.symbols_know;
  const std::uint64_t restarts_before = p.restarts();
  shown.begin("healing");
  if (const auto told = p.host.ask(p.ground.lead, std::move(expected), answer_within); !told) {
    return tl::unexpected<error>(told.error());
  }
  const auto start = clock::now();
  std::map<std::uint32_t, kill_symbols> elsewhere;
  for (const lot& l : lots) {
    const symbol_home home = l.is_eye ? symbol_home{} : p.ground.guests.home_of(l.id);
    if (home.member != 0) {
      elsewhere[home.member].numbers.push_back(home.number);
      continue;
    }
    const cell_ref victim =
        l.is_eye ? cell_ref(p.ground.eyes[l.id].get()) : cell_ref(p.ground.symbols.handle(l.id).get());
    p.host.exit(victim, exit_reason::killed());
  }
  for (const auto& [member, victims_there] : elsewhere) {
    // A member that has just died grants no more credit, until its link is found to be lost.
    const auto patience = clock::now() + answer_within;
    send_result told = p.ground.guests.porter_of(member).send(victims_there);
    for (; told == send_result::no_credit && clock::now() < patience;
         told = p.ground.guests.porter_of(member).send(victims_there)) {
      std::this_thread::sleep_for(1ms);
    }
    if (told == send_result::no_credit || told == send_result::too_large) {
      return fail(errc::no_credit, "a member has no room for being told whom to kill");
    }  // any other refusal: the member is lost, and its symbols with it
  }
  if (const auto settled = settle(shown); !settled) {
    return tl::unexpected<error>(settled.error());
  }
  h.seconds = seconds_since(start);
  h.after = p.now.symbols_know;
  h.restarts = p.restarts() - restarts_before;
  return h;
}

result<std::vector<location>> colony::who_uses(std::string_view name) {
  parts& p = *parts_;
  const auto known = p.ground.symbols.find(name, name_hash(name));
  if (!known) {
    return fail(errc::not_found, "no file uses this name");
  }
  result<std::vector<use>> uses;
  for (int attempt = 0; attempt < audits_max; ++attempt) {
    if (p.losses_seen != p.ground.guests.losses()) {
      progress silent(progress::style::silent);
      if (const auto settled = settle(silent); !settled) {
        return tl::unexpected<error>(settled.error());
      }
    }
    uses = p.host.ask(p.ground.symbols.handle(known->id), who_uses_you{}, answer_within);
    if (uses || !p.spread) {
      break;
    }
    std::this_thread::sleep_for(tell_loss_within);  // its member is just being lost
  }
  if (!uses) {
    return tl::unexpected<error>(uses.error());
  }
  std::vector<location> found;
  found.reserve(uses->size());
  for (const use u : *uses) {
    found.push_back({p.ground.files[u.file], u.line});
  }
  return found;
}

}  // namespace karyon::tools
