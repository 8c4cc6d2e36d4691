// SPDX-License-Identifier: Apache-2.0
#include <karyon/organelle/abi.h>

#include <vector>

#include "module/bridge.hpp"
#include "module/functions.hpp"

// The engine's own version: it is built with the host, and may be replaced alone.
#define RHIZOME_VERSION "0.1.0"
KARYON_ORGANELLE_NOTE(RHIZOME_VERSION);

namespace {

/// All functions in one row, as the table wants them.
const std::vector<karyon_function>& functions() {
  static const std::vector<karyon_function> all = [] {
    std::vector<karyon_function> list;
    for (const auto part : {rhizome::module::graph_functions(), rhizome::module::change_functions(),
                            rhizome::module::read_functions(), rhizome::module::algorithm_functions(),
                            rhizome::module::query_functions(), rhizome::module::code_functions()}) {
      list.insert(list.end(), part.begin(), part.end());
    }
    return list;
  }();
  return all;
}

}  // namespace

extern "C" karyon_status karyon_organelle_open(uint32_t host_major, uint32_t, const karyon_host* host,
                                               const karyon_organelle** table, karyon_error* error) {
  if (host_major != KARYON_ABI_MAJOR || host->head.layout_hash != KARYON_ABI_LAYOUT_HASH) {
    return karyon_fail(error, KARYON_WRONG_VERSION,
                       "rhizome " RHIZOME_VERSION " was built for another version of the host");
  }
  try {
    rhizome::module::host = host;
    static const karyon_organelle self{KARYON_TABLE_HEAD(karyon_organelle, 0),
                                       "rhizome",
                                       RHIZOME_VERSION,
                                       0,
                                       functions().data(),
                                       static_cast<uint32_t>(functions().size()),
                                       sizeof(karyon_function),
                                       nullptr};
    *table = &self;
    return KARYON_OK;
  } catch (...) {
    return karyon_fail(error, KARYON_OUT_OF_MEMORY, "there is no memory for the table of functions");
  }
}
