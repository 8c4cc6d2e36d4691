#include "nerve/node_hello.hpp"

#include <karyon/nerve/detail/codec.hpp>

#include "nerve/payload.hpp"

namespace karyon::detail {

namespace {

struct hello_on_wire {
  std::string magic;
  std::uint32_t version = 0;
  std::string node;
  std::vector<greeted_type> types;
};

constexpr std::string_view magic = "karyon node";

/// A greeting has no handles in it.
struct no_handles final : handle_map {
  [[nodiscard]] bool to_wire(const address&, bool, wire_handle&) override { return false; }
  [[nodiscard]] bool from_wire(const wire_handle&, address&, bool&, const class_info*) override { return false; }
};

}  // namespace

result<std::vector<std::byte>> write_node_hello(const std::string& node) {
  hello_on_wire g{std::string(magic), wire_version, node, {}};
  for (const wire_type* t : listed_wire_types()) g.types.push_back({std::string(t->name), t->text, t->schema});
  no_handles handles;
  payload_writer w;
  w.begin(handles, node_hello_bytes_max);
  wire_write(w, g);
  const std::span<const std::byte> bytes = w.finish();
  if (w.failed()) return fail(errc::too_large, "so many signals are declared that a greeting can not hold their names");
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

result<node_hello> read_node_hello(std::span<const std::byte> hello) {
  if (hello.size() > node_hello_bytes_max) return fail(errc::invalid_argument, "the greeting is too large");
  no_handles handles;
  payload_reader r;
  r.begin(hello, handles);
  hello_on_wire g;
  if (!wire_read(r, g) || !r.complete()) {
    return fail(errc::invalid_argument, std::string("the greeting can not be read: ") + to_string(r.why()));
  }
  if (g.magic != magic) return fail(errc::invalid_argument, "it is no greeting of a node");
  if (g.version != wire_version) {
    return fail(errc::invalid_argument,
                "wire version " + std::to_string(g.version) + " there, " + std::to_string(wire_version) + " here");
  }
  return node_hello{std::move(g.node), std::move(g.types)};
}

}  // namespace karyon::detail
