// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

#include <karyon/sched/binding.hpp>

namespace binding_orders {

using karyon::bind_order;
using unit_list = std::vector<std::uint32_t>;
using expected_orders = std::map<bind_order, unit_list>;

// All units, as they are numbered.
inline unit_list in_order(std::uint32_t n) {
  unit_list units(n);
  std::iota(units.begin(), units.end(), 0U);
  return units;
}
// Of cores with two threads: the first of each, then the second of each.
inline unit_list cores_first(std::uint32_t n) {
  unit_list units;
  for (std::uint32_t i = 0; i < n; ++i) units.push_back(i < n / 2 ? 2 * i : 2 * i - n + 1);
  return units;
}

// What Erlang/OTP answers for the machines of its own test suite (and two uneven ones), unit by unit in binding order.
// docs/internals/topology.md has the command.
inline const expected_orders two_nodes_of_two_packages = {
    {bind_order::no_spread, in_order(16)},
    {bind_order::thread_spread, cores_first(16)},
    {bind_order::processor_spread, {0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15}},
    {bind_order::spread, {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}},
    {bind_order::no_node_thread_spread, {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15}},
    {bind_order::no_node_processor_spread, {0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15}},
    {bind_order::thread_no_node_processor_spread, {0, 4, 2, 6, 8, 12, 10, 14, 1, 5, 3, 7, 9, 13, 11, 15}},
};

inline const expected_orders two_packages_of_two_nodes = {
    {bind_order::no_spread, in_order(16)},
    {bind_order::thread_spread, cores_first(16)},
    {bind_order::processor_spread, {0, 8, 2, 10, 4, 12, 6, 14, 1, 9, 3, 11, 5, 13, 7, 15}},
    {bind_order::spread, {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}},
    {bind_order::no_node_thread_spread, {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15}},
    {bind_order::no_node_processor_spread, {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15}},
    {bind_order::thread_no_node_processor_spread, cores_first(16)},
};

inline const expected_orders mixed_node_first = {
    {bind_order::no_spread, in_order(32)},
    {bind_order::thread_spread, cores_first(32)},
    {bind_order::processor_spread, {0, 4, 8, 16, 20, 24, 2, 6, 10, 18, 22, 26, 12, 28, 14, 30,
                                    1, 5, 9, 17, 21, 25, 3, 7, 11, 19, 23, 27, 13, 29, 15, 31}},
    {bind_order::spread, {0, 8, 16, 24, 4, 20, 12, 28, 2, 10, 18, 26, 6, 22, 14, 30,
                          1, 9, 17, 25, 5, 21, 13, 29, 3, 11, 19, 27, 7, 23, 15, 31}},
    {bind_order::no_node_thread_spread, {0,  2,  4,  6,  1,  3,  5,  7,  8,  10, 9,  11, 12, 14, 13, 15,
                                         16, 18, 20, 22, 17, 19, 21, 23, 24, 26, 25, 27, 28, 30, 29, 31}},
    {bind_order::no_node_processor_spread, {0,  4,  2,  6,  1,  5,  3,  7,  8,  10, 9,  11, 12, 14, 13, 15,
                                            16, 20, 18, 22, 17, 21, 19, 23, 24, 26, 25, 27, 28, 30, 29, 31}},
    {bind_order::thread_no_node_processor_spread, {0, 4, 2, 6, 8, 10, 12, 14, 16, 20, 18, 22, 24, 26, 28, 30,
                                                   1, 5, 3, 7, 9, 11, 13, 15, 17, 21, 19, 23, 25, 27, 29, 31}},
};

inline const expected_orders mixed_package_first = {
    {bind_order::no_spread, in_order(32)},
    {bind_order::thread_spread, cores_first(32)},
    {bind_order::processor_spread, {0, 8, 12, 16, 24, 28, 2, 10, 14, 18, 26, 30, 4, 20, 6, 22,
                                    1, 9, 13, 17, 25, 29, 3, 11, 15, 19, 27, 31, 5, 21, 7, 23}},
    {bind_order::spread, {0, 8, 16, 24, 12, 28, 4, 20, 2, 10, 18, 26, 14, 30, 6, 22,
                          1, 9, 17, 25, 13, 29, 5, 21, 3, 11, 19, 27, 15, 31, 7, 23}},
    {bind_order::no_node_thread_spread, {0,  2,  1,  3,  4,  6,  5,  7,  8,  10, 12, 14, 9,  11, 13, 15,
                                         16, 18, 17, 19, 20, 22, 21, 23, 24, 26, 28, 30, 25, 27, 29, 31}},
    {bind_order::no_node_processor_spread, {0,  2,  1,  3,  4,  6,  5,  7,  8,  12, 10, 14, 9,  13, 11, 15,
                                            16, 18, 17, 19, 20, 22, 21, 23, 24, 28, 26, 30, 25, 29, 27, 31}},
    {bind_order::thread_no_node_processor_spread, {0, 2, 4, 6, 8, 12, 10, 14, 16, 18, 20, 22, 24, 28, 26, 30,
                                                   1, 3, 5, 7, 9, 13, 11, 15, 17, 19, 21, 23, 25, 29, 27, 31}},
};

inline const expected_orders two_nodes_of_one_package = {
    {bind_order::no_spread, in_order(16)},
    {bind_order::thread_spread, cores_first(16)},
    {bind_order::processor_spread, {0, 8, 2, 10, 4, 12, 6, 14, 1, 9, 3, 11, 5, 13, 7, 15}},
    {bind_order::spread, {0, 8, 2, 10, 4, 12, 6, 14, 1, 9, 3, 11, 5, 13, 7, 15}},
    {bind_order::no_node_thread_spread, {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15}},
    {bind_order::no_node_processor_spread, {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15}},
    {bind_order::thread_no_node_processor_spread, cores_first(16)},
};

inline const expected_orders one_package_of_four_nodes = {
    {bind_order::no_spread, in_order(32)},
    {bind_order::thread_spread, cores_first(32)},
    {bind_order::processor_spread, cores_first(32)},
    {bind_order::spread, {0, 8, 16, 24, 2, 10, 18, 26, 4, 12, 20, 28, 6, 14, 22, 30,
                          1, 9, 17, 25, 3, 11, 19, 27, 5, 13, 21, 29, 7, 15, 23, 31}},
    {bind_order::no_node_thread_spread, {0,  2,  4,  6,  1,  3,  5,  7,  8,  10, 12, 14, 9,  11, 13, 15,
                                         16, 18, 20, 22, 17, 19, 21, 23, 24, 26, 28, 30, 25, 27, 29, 31}},
    {bind_order::no_node_processor_spread, {0,  2,  4,  6,  1,  3,  5,  7,  8,  10, 12, 14, 9,  11, 13, 15,
                                            16, 18, 20, 22, 17, 19, 21, 23, 24, 26, 28, 30, 25, 27, 29, 31}},
    {bind_order::thread_no_node_processor_spread, cores_first(32)},
};

inline const expected_orders uneven_packages = {
    {bind_order::no_spread, {0, 1, 2, 3}},
    {bind_order::thread_spread, {0, 1, 2, 3}},
    {bind_order::processor_spread, {0, 3, 1, 2}},
    {bind_order::spread, {0, 3, 1, 2}},
    {bind_order::no_node_thread_spread, {0, 1, 2, 3}},
    {bind_order::no_node_processor_spread, {0, 3, 1, 2}},
    {bind_order::thread_no_node_processor_spread, {0, 3, 1, 2}},
};

inline const expected_orders uneven_threads = {
    {bind_order::no_spread, {0, 4, 1, 5, 2, 3}},
    {bind_order::thread_spread, {0, 1, 2, 3, 4, 5}},
    {bind_order::processor_spread, {0, 2, 1, 3, 4, 5}},
    {bind_order::spread, {0, 2, 1, 3, 4, 5}},
    {bind_order::no_node_thread_spread, {0, 1, 2, 3, 4, 5}},
    {bind_order::no_node_processor_spread, {0, 2, 1, 3, 4, 5}},
    {bind_order::thread_no_node_processor_spread, {0, 2, 1, 3, 4, 5}},
};

// Two packages of two nodes each, then a node of two packages; one unit in each corner.
inline const expected_orders two_runs = {
    {bind_order::no_spread, {0, 1, 2, 3, 4, 5}},
    {bind_order::thread_spread, {0, 1, 2, 3, 4, 5}},
    {bind_order::processor_spread, {0, 2, 4, 5, 1, 3}},
    {bind_order::spread, {0, 4, 2, 5, 1, 3}},
    {bind_order::no_node_thread_spread, {0, 1, 2, 3, 4, 5}},
    {bind_order::no_node_processor_spread, {0, 1, 2, 3, 4, 5}},
    {bind_order::thread_no_node_processor_spread, {0, 1, 2, 3, 4, 5}},
};

}  // namespace binding_orders
