#include <karyon/organelle/rhizome.hpp>

#include <array>
#include <cstring>

#include "organelle/engine_place.hpp"

namespace karyon::rhizome {

const std::string& installed_engine() {
  static const std::string path =
      detail::find_engine(detail::own_file(), KARYON_LIBRARIES_INSIDE, KARYON_PROGRAMS_INSIDE, KARYON_ENGINE_DIRECTORY);
  return path;
}

#define KARYON_RHIZOME_LOOK_UP(name)          \
  auto name##_found = engine.function(#name); \
  if (!name##_found) return tl::unexpected<error>(std::move(name##_found).error());
#define KARYON_RHIZOME_PASS_ON(name) *std::move(name##_found),

result<functions> functions::of(const organelle& engine) {
  KARYON_RHIZOME_FUNCTIONS(KARYON_RHIZOME_LOOK_UP)
  return functions{KARYON_RHIZOME_FUNCTIONS(KARYON_RHIZOME_PASS_ON)};
}

result<code_functions> code_functions::of(const organelle& engine) {
  KARYON_RHIZOME_CODE_FUNCTIONS(KARYON_RHIZOME_LOOK_UP)
  return code_functions{KARYON_RHIZOME_CODE_FUNCTIONS(KARYON_RHIZOME_PASS_ON)};
}

#undef KARYON_RHIZOME_LOOK_UP
#undef KARYON_RHIZOME_PASS_ON

result<syntax_columns> syntax_columns::of(const columns& nodes) {
  std::array<std::span<const std::uint32_t>, 7> found;
  const ArrowSchema* const schema = nodes.schema();
  const ArrowArray* const array = nodes.array();
  if (schema == nullptr || array == nullptr || array->n_children != static_cast<std::int64_t>(found.size()) ||
      schema->n_children != array->n_children) {
    return fail(errc::invalid_argument, "these are no columns of syntax nodes");
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const ArrowArray& column = *array->children[i];
    if (std::strcmp(schema->children[i]->format, "I") != 0) {  // Arrow's for unsigned numbers of 32 bits
      return fail(errc::invalid_argument, "these are no columns of syntax nodes");
    }
    found[i] = {static_cast<const std::uint32_t*>(column.buffers[1]) + column.offset,
                static_cast<std::size_t>(column.length)};
  }
  return syntax_columns{found[0], found[1], found[2], found[3], found[4], found[5], found[6]};
}

std::vector<std::string_view> texts_of(const view& joined) {
  std::vector<std::string_view> texts;
  const std::string_view all = joined.text();
  for (std::size_t from = 0; from < all.size();) {
    const std::size_t to = all.find('\0', from);
    texts.push_back(all.substr(from, to - from));
    from = to == std::string_view::npos ? all.size() : to + 1;
  }
  return texts;
}

}  // namespace karyon::rhizome
