#include <karyon/matrix/detail/faults.hpp>

#include <cxxabi.h>

#include <new>
#include <stdexcept>
#include <string>
#include <typeinfo>

#include "core/demangled.hpp"

namespace karyon::detail {

namespace {

[[nodiscard]] error describe_current_exception() {
  try {
    throw;
  } catch (const std::exception& e) {
    return {errc::cell_failed, "code of the table's user threw " + demangled(typeid(e).name()) + ": " + e.what()};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return {errc::cell_failed,
            "code of the table's user threw " + (type != nullptr ? demangled(type->name()) : "something unknown")};
  }
}

}  // namespace

tl::unexpected<error> quota_error(std::uint64_t quota_bytes) {
  return fail(errc::refused, "the table's quota of " + std::to_string(quota_bytes) +
                                 " bytes is reached: erase entries, or make the table with a larger one");
}

tl::unexpected<error> nested_error() {
  return fail(errc::refused,
              "an update function, or a comparison, must not change the table that it is called by; it may read it");
}

void throw_nested_range() {
  throw std::logic_error("a comparison must not read ranges of the table that it is called by");
}

error error_of_current_exception() noexcept {
  // Short enough to need no memory, where there is none.
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return {errc::out_of_memory, "out of memory"};
  } catch (...) {
    try {
      return describe_current_exception();
    } catch (...) {
      return {errc::cell_failed, "its code threw"};
    }
  }
}

}  // namespace karyon::detail
