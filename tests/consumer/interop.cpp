// A stock CAF actor asks a cell: the opt-in header, and the component that brings CAF to the link.
#include <chrono>
#include <cstdint>

#include <caf/scoped_actor.hpp>

#include <karyon/interop/caf.hpp>
#include <karyon/karyon.hpp>

class doubler : public karyon::cell {
public:
  using accepts = karyon::signals<std::int32_t>;
  std::int32_t on(std::int32_t n) { return 2 * n; }
};

int main() {
  karyon::runtime rt;
  auto cell = rt.spawn<doubler>();
  std::int32_t answer = 0;
  {
    const auto actor = karyon::to_caf(cell);
    caf::scoped_actor self(karyon::caf_system(rt));
    self->request(actor, std::chrono::seconds(10), std::int32_t{21})
        .receive([&](std::int32_t n) { answer = n; }, [](const caf::error&) {});
  }
  return answer == 42 ? 0 : 1;
}
