// SPDX-License-Identifier: Apache-2.0
#include "nerve/carrier.hpp"

namespace karyon::detail {

std::unique_ptr<endocrine_carrier> connect_nats(const endocrine_options&, carrier_sink&) {
  throw runtime_error(error(errc::unsupported, "this Karyon was built without nats.c (KARYON_NATS=OFF)"));
}

}  // namespace karyon::detail
