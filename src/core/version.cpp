#include <karyon/core/version.hpp>

namespace karyon {

version_number library_version() noexcept { return header_version; }

}  // namespace karyon
