#include <karyon/sim/testing.hpp>
#include <karyon/supervise/supervisor.hpp>

#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using namespace karyon;
using testing::world;

namespace {

struct add {
  std::int64_t amount;
};
struct total {};

class counter : public cell {
public:
  using accepts = signals<add, total>;
  void on(add m) { sum_ += m.amount; }
  std::int64_t on(total) { return sum_; }

private:
  std::int64_t sum_ = 0;
};

}  // namespace

TEST_CASE("a cell answers in a simulated world") {
  world w(7);
  auto c = w.runtime().spawn<counter>();
  c.send(add{41});
  c.send(add{1});
  CHECK(w.runtime().ask(c, total{}, 1s).value() == 42);
  CHECK(w.now() == 0s);
}
