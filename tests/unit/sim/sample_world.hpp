#pragma once

#include <karyon/cell/cell.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <chrono>
#include <cstdint>
#include <vector>

namespace karyon::tests {

struct rumour {
  std::uint32_t hops;
};
struct meet {
  ref<class gossip> other;
};
struct crash {};
struct how_many {};

/// Passes on what it hears, links and monitors those it meets, has timers, crashes when told, does part of it away from workers.
class gossip : public cell {
public:
  using accepts = signals<rumour, meet, crash, how_many>;
  using dirty_cpu = signals<crash>;
  using dirty_io = signals<how_many>;

  void on(rumour r) {
    ++heard_;
    if (r.hops == 0 || friends_.empty()) return;
    friends_[r.hops % friends_.size()].send(rumour{r.hops - 1});
    if (r.hops % 4 == 0) send_after(self(this), rumour{r.hops - 1}, std::chrono::milliseconds(r.hops));
  }
  void on(meet m) {
    friends_.push_back(m.other);
    if (friends_.size() % 3 == 0) link(m.other);
    if (friends_.size() % 3 == 1) monitor(m.other);
    if (friends_.size() % 4 == 0)
      offload([n = heard_] { return n / 2; }, [this](result<std::uint32_t> r) { heard_ += *r; });
  }
  void on(crash) { throw std::uint32_t{heard_}; }
  std::uint32_t on(how_many) { return heard_; }
  void on(down) { ++heard_; }

private:
  std::uint32_t heard_ = 0;
  std::vector<ref<gossip>> friends_;
};

/// Some seconds among a dozen cells, half of them supervised, with links, monitors, timers, questions and crashes.
inline void live_a_little(testing::world& w) {
  using namespace std::chrono_literals;
  auto tissue = w.runtime().supervise({.intensity = {1000, 1s}});
  std::vector<child<gossip>> children;
  std::vector<ref<gossip>> all;
  for (int i = 0; i < 6; ++i) {
    children.push_back(tissue.start<gossip>());
    all.push_back(children.back().get());
    all.push_back(w.runtime().spawn<gossip>());
  }
  for (int i = 0; i < 40; ++i) {
    for (int n = 0; n < 3; ++n) w.random().pick(all).send(meet{w.random().pick(all)});
    w.random().pick(all).send(rumour{static_cast<std::uint32_t>(w.random().below(30))});
    if (w.random().one_in(8)) w.random().pick(all).send(crash{});
    if (w.random().one_in(8)) w.kill(w.random().pick(children));
    if (w.random().one_in(3)) w.advance(std::chrono::milliseconds(w.random().below(50)));
    if (w.random().one_in(10)) static_cast<void>(w.runtime().ask(w.random().pick(children), how_many{}, 10ms));
    auto& c = w.random().pick(children);
    if (const auto now = c.get()) w.random().pick(all) = now;
  }
  w.advance(1s);
}

}  // namespace karyon::tests
