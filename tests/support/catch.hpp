#pragma once

// The part of Catch2 that the tests use, from version 2.13 (Debian 12) or 3 (Debian 13). What is spelled differently in the
// two (matchers, above all) is not used.
#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#else
#include <catch2/catch.hpp>
#endif
