// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <cstdio>
#include <string>

#include <unistd.h>

#include "support/catch.hpp"

namespace {

// What `f` writes to the standard error stream.
template <class F>
std::string standard_error_of(F f) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int saved = ::dup(2);
  ::dup2(::fileno(file), 2);
  f();
  std::fflush(stderr);
  ::dup2(saved, 2);
  ::close(saved);
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text.push_back(static_cast<char>(c));
  std::fclose(file);
  return text;
}

}  // namespace

TEST_CASE("a host that sets nothing finds warnings on the standard error stream, one a line, and nothing below them") {
  using karyon::log_level;
  const auto talk = [] {
    karyon::detail::log(log_level::info, "all is well");
    karyon::detail::log(log_level::warn, "mind the {gap}");
    karyon::detail::log(log_level::err, "too late");
  };
  const std::string text = standard_error_of(talk);
  CHECK(text.find("all is well") == std::string::npos);
  CHECK(text.find("[karyon] [warning] mind the {gap}\n") != std::string::npos);
  CHECK(text.find("[karyon] [error] too late\n") != std::string::npos);

  karyon::set_log_sink([](log_level, std::string_view) {});
  CHECK(standard_error_of(talk).empty());
  karyon::set_log_sink({});
  CHECK(standard_error_of(talk).find("too late") != std::string::npos);
}
