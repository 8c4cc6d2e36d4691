#include "core/programmer_error.hpp"

#include <cstdio>
#include <cstdlib>

namespace karyon::detail {

void programmer_error(const char* sentence) noexcept {
  std::fprintf(stderr, "karyon: %s\n", sentence);
  std::abort();
}

}  // namespace karyon::detail
