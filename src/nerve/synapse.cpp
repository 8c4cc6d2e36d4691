// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse.hpp"

#include <utility>

#include "nerve/synapse_reactor.hpp"

namespace karyon::detail {

synapse::synapse(std::unique_ptr<reactor> r) : reactor_(std::move(r)) {}
synapse::~synapse() { reactor_->close(); }

result<std::unique_ptr<synapse>> synapse::open(const synapse_options& options, const peer_id& self) {
  auto r = std::make_unique<reactor>(options, self);
  if (const auto prepared = r->prepare(); !prepared) return tl::unexpected<error>(prepared.error());
  return std::unique_ptr<synapse>(new synapse(std::move(r)));
}

result<void> synapse::start(transport_sink& sink, std::vector<std::byte> hello) {
  return reactor_->start(sink, std::move(hello));
}

frame_fate synapse::send(const peer_id& peer, const frame_header& header, std::span<const std::byte> payload) noexcept {
  return reactor_->send(peer, header, payload);
}

result<void> synapse::connect(const synapse_peer& peer) { return reactor_->connect(peer, false); }
result<void> synapse::connect_passing(const synapse_peer& peer) { return reactor_->connect(peer, true); }
std::optional<curve_key> synapse::public_key() const noexcept { return reactor_->public_key(); }
bool synapse::allows(const curve_key& key, std::uint64_t node) const { return reactor_->allows(key, node); }
result<void> synapse::reload_allowed() { return reactor_->reload_allowed(); }
void synapse::close() noexcept { reactor_->close(); }
std::vector<std::string> synapse::endpoints() const { return reactor_->endpoints(); }
synapse_stats synapse::stats() const { return reactor_->stats(); }

}  // namespace karyon::detail
