// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/symbol.hpp"

#include <chrono>

#include "tools/colony/conductor.hpp"

namespace karyon::tools {

void symbol::on_start() {
  if (stats().restarts > 0) {
    on(say_again{});
  }
}

void symbol::on(say_again) {
  using namespace std::chrono_literals;
  if (ground_->lead.send(symbol_reborn{id_, ground_->member}) == send_result::no_credit) {
    send_after(self(this), say_again{}, 5ms);
  }  // without a conductor the colony is ending
}

std::vector<use> symbol::on(who_uses_you) {
  const auto uses = uses_.sorted();
  return {uses.begin(), uses.end()};
}

self_description symbol::on(describe_yourself question) {
  self_description d;
  for (const use u : uses_.sorted()) {
    d.known.add(question.name, u);
  }
  const karyon::cell_stats s = stats();
  d.knowledge_bytes = uses_.heap_bytes();
  d.node = s.node;
  d.worker = s.worker;
  d.member = ground_->member;
  return d;
}

}  // namespace karyon::tools
