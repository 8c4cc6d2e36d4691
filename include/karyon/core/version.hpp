#pragma once

// The one place that holds the version: CMakeLists.txt reads these three lines, and the package version, the SONAME and
// karyonConfigVersion.cmake follow from them.
#define KARYON_VERSION_MAJOR 0
#define KARYON_VERSION_MINOR 1
#define KARYON_VERSION_PATCH 0

#include <karyon/core/export.hpp>

namespace karyon {

/// The version of the headers a translation unit was compiled with; packages are compatible within one minor version.
struct version_number {
  int major_number;
  int minor_number;
  int patch_number;

  friend constexpr bool operator==(const version_number&, const version_number&) = default;
};

inline constexpr version_number header_version{KARYON_VERSION_MAJOR, KARYON_VERSION_MINOR, KARYON_VERSION_PATCH};

/// The version of the library that is running, which differs from `header_version` where a program was compiled against one
/// installation and runs with another. Any thread may call it at any time; it neither allocates nor blocks.
KARYON_API version_number library_version() noexcept;

}  // namespace karyon
