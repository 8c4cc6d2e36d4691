// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <utility>

#include <karyon/organelle/organelle.hpp>

namespace karyon::tests {

/// The engine of this build, loaded once a program.
inline const organelle& engine() {
  static const organelle loaded = [] {
    auto e = organelle::load(RHIZOME_ENGINE);
    if (!e) throw std::runtime_error(e.error().message());
    return *std::move(e);
  }();
  return loaded;
}

}  // namespace karyon::tests
