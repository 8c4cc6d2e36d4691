// A user's test of a cell of their own, in simulation.
#include <chrono>

#include <karyon/karyon.hpp>
#include <karyon/sim/testing.hpp>

using namespace std::chrono_literals;

struct tick {};
struct ticks {};

class clock_of_days : public karyon::cell {
public:
  using accepts = karyon::signals<tick, ticks>;
  void on_start() { send_every(self(this), tick{}, 24h); }
  void on(tick) { ++days_; }
  int on(ticks) { return days_; }

private:
  int days_ = 0;
};

int main() {
  int days = 0;
  karyon::testing::for_each_seed({.first = 1, .count = 10}, [&](karyon::testing::world& w) {
    auto c = w.runtime().spawn<clock_of_days>();
    w.advance(24h * 7 + 1h);
    days += w.runtime().ask(c, ticks{}, 1s).value();
  });
  return days == 70 ? 0 : 1;
}
