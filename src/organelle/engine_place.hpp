// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace karyon::rhizome::detail {

/// The file that this code runs from, with all links resolved: the shared library, or the program that it is linked into. Empty where the
/// system does not tell.
[[nodiscard]] std::string own_file();

/// The engine of the installation that `own` is a library or a program of, by the layout that both were installed in: libraries in
/// `libraries` (lib, say), programs in `programs`, both relative to a prefix; engines in the folder "karyon" beside the libraries. If `own`
/// lies elsewhere, or there is no engine there, the one in `installed`, whether it is there or not.
[[nodiscard]] std::string find_engine(const std::string& own, std::string_view libraries, std::string_view programs,
                                      std::string_view installed);

}  // namespace karyon::rhizome::detail
