#include <karyon/core/version.hpp>

#include "support/catch.hpp"

TEST_CASE("the library that runs has the version of the headers it was built with") {
  CHECK(karyon::library_version() == karyon::header_version);
  CHECK(karyon::library_version().major_number == KARYON_VERSION_MAJOR);
}
