#pragma once

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace karyon::detail {

/// A type's name as people write it, from std::type_info::name. Throws std::bad_alloc.
[[nodiscard]] inline std::string demangled(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                    &std::free);
  return status == 0 ? std::string(text.get()) : std::string(mangled);
}

}  // namespace karyon::detail
