// SPDX-License-Identifier: Apache-2.0
#include <karyon/core/version.hpp>

namespace karyon {

version_number library_version() noexcept { return header_version; }

}  // namespace karyon
