#include <karyon/sim/testing.hpp>

#include "unit/nerve/nerve_testing.hpp"
#include "unit/nerve/node_cells.hpp"

using namespace nerve_tests;
using namespace std::chrono_literals;
using karyon::errc;
using karyon::detail::link_loss;
using karyon::testing::world;

namespace {

/// What became of questions, by kind.
struct answers {
  std::uint64_t asked = 0;
  std::uint64_t right = 0;
  std::uint64_t lost = 0;
  std::uint64_t late = 0;
  std::uint64_t other = 0;
};

struct ask_now {};
struct found_it {
  karyon::child<counter> whom;
};

class asker : public karyon::cell {
public:
  using accepts = karyon::signals<found_it, ask_now>;
  explicit asker(answers& a) : answers_(&a) {}
  void on(const found_it& f) { whom_ = f.whom; }
  void on(ask_now) {
    ++answers_->asked;
    ask(whom_, total{}, 1s, [this](const karyon::result<std::int64_t>& r) {
      if (r.has_value()) return void(++answers_->right);
      switch (r.error().code()) {
        case errc::peer_down: return void(++answers_->lost);
        case errc::timeout: return void(++answers_->late);
        default: return void(++answers_->other);
      }
    });
  }

private:
  answers* answers_;
  karyon::child<counter> whom_;
};

class seeker : public karyon::cell {
public:
  using accepts = karyon::signals<ask_now>;
  seeker(karyon::node& n, karyon::child<counter>& found) : node_(&n), found_(&found) {}
  void on(ask_now) {
    ask(node_->desk("b"), karyon::look_up{"counter", std::string(karyon::type_name<counter>())}, 1s,
        [this](const karyon::result<karyon::remote_cell>& r) {
          if (r.has_value()) *found_ = r->as<counter>();
        });
  }

private:
  karyon::node* node_;
  karyon::child<counter>* found_;
};

void settle(world& w, karyon::tests::wires& net) {
  w.run();
  while (net.pump()) w.run();
}

}  // namespace

TEST_CASE("in a simulation every question to another node has one outcome, however often the link breaks") {
  karyon::testing::for_each_seed({.count = 25}, [](world& w) {
    karyon::tests::wires net;
    answers all;
    karyon::child<counter> c;
    karyon::node a(w.runtime(), {.name = "a"});
    karyon::node b(w.runtime(), {.name = "b"});
    net.add(a);
    net.add(b);
    net.connect(a, b);
    auto tissue = w.runtime().supervise();
    b.publish("counter", tissue.start<counter>());
    const auto s = w.runtime().spawn<seeker>(a, c);
    s.send(ask_now{});
    settle(w, net);
    REQUIRE(c);
    const auto me = w.runtime().spawn<asker>(all);
    me.send(found_it{c});

    bool connected = true;
    for (int i = 0; i < 40; ++i) {
      me.send(ask_now{});
      if (w.random().below(3) == 0) w.run();
      if (w.random().below(4) == 0) settle(w, net);
      if (w.random().below(6) == 0) {
        if (connected) {
          net.cut(a, b, link_loss::unreachable);
        } else {
          net.connect(a, b);
        }
        connected = !connected;
      }
    }
    if (!connected) net.connect(a, b);
    settle(w, net);
    w.advance(2s);
    CHECK(all.asked == 40);
    CHECK(all.right + all.lost == 40);  // nothing is left to the timeout, nothing is answered otherwise
    CHECK(all.late + all.other == 0);
    CHECK(karyon::tests::adds_up(a.stats()));
    CHECK(karyon::tests::adds_up(b.stats()));
    net.remove(a);
    net.remove(b);
    w.runtime().exit(me, karyon::exit_reason::killed());
    w.runtime().exit(s, karyon::exit_reason::killed());
    w.run();
  });
}
