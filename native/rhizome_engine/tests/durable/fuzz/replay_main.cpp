// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzzer's target without a fuzzer: over the files that are named (what a fuzzer found), and else over some thousand inputs made by
// chance, from small numbers above all, which a format is full of.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size);  // NOLINT(readability-identifier-naming)

int main(int count, char** arguments) {
  for (int i = 1; i < count; ++i) {
    std::ifstream file(arguments[i], std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  if (count > 1) return 0;
  std::mt19937_64 random(1);
  std::vector<std::uint8_t> input;
  for (int i = 0; i < 3'000; ++i) {
    input.resize(random() % 200);
    for (auto& byte : input) byte = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : random() % 16);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::puts("3000 inputs");
  return 0;
}
