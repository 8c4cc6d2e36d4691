// The README's example, as a user would paste it.
#include <cstdint>

#include <karyon/karyon.hpp>

using namespace std::chrono_literals;

struct add {
  std::int64_t amount;
};
struct total {};

class counter : public karyon::cell {
public:
  using accepts = karyon::signals<add, total>;
  void on(add m) { sum_ += m.amount; }
  std::int64_t on(total) { return sum_; }

private:
  std::int64_t sum_ = 0;
};

int main() {
  karyon::runtime rt;
  auto tissue = rt.supervise({.strategy = karyon::one_for_one, .intensity = {3, 5s}});
  auto c = tissue.start<counter>();
  c.send(add{41});
  c.send(add{1});
  return rt.ask(c, total{}, 10s).value() == 42 ? 0 : 1;
}
