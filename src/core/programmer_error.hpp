#pragma once

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// A host program broke a rule that no run-time answer can mend: prints the sentence to stderr and aborts.
[[noreturn]] KARYON_API void programmer_error(const char* sentence) noexcept;

}  // namespace karyon::detail
