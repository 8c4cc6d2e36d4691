// SPDX-License-Identifier: Apache-2.0
#include <karyon/core/version.hpp>

int main() { return karyon::library_version() == karyon::header_version ? 0 : 1; }
