// SPDX-License-Identifier: Apache-2.0
#include "organelle/engine_place.hpp"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

namespace karyon::rhizome::detail {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view engine_file = "rhizome_engine.so";

/// The directory that `inside` is below, if `directory` is just that: prefix/lib/karyon and lib/karyon give prefix.
fs::path prefix_of(const fs::path& directory, const fs::path& inside) {
  fs::path prefix = directory;
  for (fs::path below = inside; !below.empty(); below = below.parent_path()) {
    if (below.filename() != prefix.filename()) return {};
    prefix = prefix.parent_path();
  }
  return prefix;
}

}  // namespace

std::string own_file() {
  std::error_code failed;
  Dl_info info{};
  // The loader knows a library by its path, but the program by the name that it was called with, which may be anything.
  if (::dladdr(reinterpret_cast<const void*>(&own_file), &info) != 0 && info.dli_fname != nullptr) {
    const fs::path named = info.dli_fname;
    if (named.is_absolute() && named.filename().string().find(".so") != std::string::npos) {
      return fs::canonical(named, failed).string();
    }
  }
  return fs::read_symlink("/proc/self/exe", failed).string();
}

std::string find_engine(const std::string& own, std::string_view libraries, std::string_view programs,
                        std::string_view installed) {
  const fs::path directory = fs::path(own).parent_path();
  for (const fs::path& inside : {fs::path(libraries), fs::path(programs)}) {
    if (inside.empty() || inside.is_absolute() || fs::path(libraries).is_absolute()) continue;
    const fs::path prefix = prefix_of(directory, inside);
    const fs::path engine = prefix / libraries / "karyon" / engine_file;
    std::error_code failed;
    if (!prefix.empty() && fs::is_regular_file(engine, failed)) return engine.string();
  }
  return (fs::path(installed) / engine_file).string();
}

}  // namespace karyon::rhizome::detail
