// SPDX-License-Identifier: Apache-2.0
#include <sstream>
#include <string>

#include "support/catch.hpp"
#include "tools/colony/report.hpp"

using namespace karyon::tools;

TEST_CASE("the census in words says where the cells are, what one takes, and how fast they were told") {
  census c;
  c.eyes = 1'000;
  c.symbols = 500;
  c.by_node = {1'200, 300};
  c.by_worker = {700, 500, 300};
  c.bytes_a_cell = 1'536;
  c.knowledge_bytes = 2'048;
  c.resident_bytes = 3U << 20U;
  c.uses_told = 4'000;
  c.uses_a_second = 2'000.4;
  c.signals_handled = 9'000;
  c.signals_a_second = 4'499.5;
  std::ostringstream out;
  print_census(out, c);
  const std::string text = out.str();
  INFO(text);
  CHECK(text.find("\n  nodes      node 0: 1,200, node 1: 300\n") != std::string::npos);
  CHECK(text.find("\n  workers    worker 0: 700, worker 1: 500, worker 2: 300\n") != std::string::npos);
  CHECK(text.find("\n  memory     1.50 KiB a cell with all that belongs to it, 2.00 KiB of it knowledge in all; "
                  "3.00 MiB resident\n") != std::string::npos);
  CHECK(text.find("\n  signals    4,000 uses told, 2,000 a second; 9,000 handled of all kinds, 4,500 a second while "
                  "learning\n") != std::string::npos);
}
