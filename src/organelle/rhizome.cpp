#include <karyon/organelle/rhizome.hpp>

namespace karyon::rhizome {

const std::string& installed_engine() {
  static const std::string path = KARYON_ENGINE_DIRECTORY "/rhizome_engine.so";
  return path;
}

result<functions> functions::of(const organelle& engine) {
#define KARYON_RHIZOME_LOOK_UP(name)          \
  auto name##_found = engine.function(#name); \
  if (!name##_found) return tl::unexpected<error>(std::move(name##_found).error());
  KARYON_RHIZOME_FUNCTIONS(KARYON_RHIZOME_LOOK_UP)
#undef KARYON_RHIZOME_LOOK_UP
#define KARYON_RHIZOME_PASS_ON(name) *std::move(name##_found),
  return functions{KARYON_RHIZOME_FUNCTIONS(KARYON_RHIZOME_PASS_ON)};
#undef KARYON_RHIZOME_PASS_ON
}

}  // namespace karyon::rhizome
