// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/outcome.hpp"

namespace karyon::tools {

const char* to_string(outcome o) noexcept {
  switch (o) {
    case outcome::scanned: return "scanned";
    case outcome::binary: return "binary";
    case outcome::enormous: return "enormous";
    case outcome::unreadable: return "unreadable";
    case outcome::vanished: return "vanished";
    case outcome::not_regular: return "not_regular";
    case outcome::duplicate: return "duplicate";
    case outcome::symlink_loop: return "symlink_loop";
    case outcome::not_source: return "not_source";
  }
  return "unknown";
}

}  // namespace karyon::tools
