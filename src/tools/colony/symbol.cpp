// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/symbol.hpp"

#include "tools/colony/conductor.hpp"

namespace karyon::tools {

void symbol::on_start() {
  if (stats().restarts > 0) {
    static_cast<void>(ground_->lead.send(symbol_reborn{id_}));  // without a conductor the colony is ending
  }
}

std::vector<use> symbol::on(who_uses_you) {
  const auto uses = uses_.sorted();
  return {uses.begin(), uses.end()};
}

self_description symbol::on(describe_yourself) {
  self_description d;
  const std::uint64_t name = ground_->symbols.hash(id_);
  for (const use u : uses_.sorted()) {
    d.known.add(name, u);
  }
  const karyon::cell_stats s = stats();
  d.knowledge_bytes = uses_.heap_bytes();
  d.node = s.node;
  d.worker = s.worker;
  return d;
}

}  // namespace karyon::tools
