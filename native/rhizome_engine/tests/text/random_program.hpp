// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <random>
#include <string>

// Programs in the common part of C and C++, and edits of them.
namespace rhizome {

inline std::string random_function(std::mt19937_64& rng) {
  const auto name = [&] { return std::string(1, static_cast<char>('a' + rng() % 20)) + std::to_string(rng() % 30); };
  std::string text = "int " + name() + "(int " + name() + ") {\n";
  for (auto i = rng() % 4; i > 0; --i) {
    switch (rng() % 4) {
      case 0: text += "  " + name() + "(" + name() + ", 1);\n"; break;
      case 1: text += "  if (" + name() + " < 3) { " + name() + " = " + name() + "(" + name() + "()); }\n"; break;
      case 2: text += "  for (;;) { puts(\"" + name() + "\"); }  // " + name() + "\n"; break;
      default: text += "  struct " + name() + " { int " + name() + "; } " + name() + ";\n"; break;
    }
  }
  return text + "  return " + name() + ";\n}\n";
}

inline std::string random_program(std::mt19937_64& rng, int functions) {
  std::string text;
  for (int i = 0; i < functions; ++i) {
    text += rng() % 4 == 0 ? "#include \"part" + std::to_string(rng() % 6) + ".h\"\n" : random_function(rng);
  }
  return text;
}

struct random_change {
  std::uint32_t from;
  std::uint32_t to;
  std::string with;
};

/// Takes lines away, puts a function in, or writes over some bytes.
inline random_change random_edit(std::mt19937_64& rng, const std::string& text) {
  const auto line_at = [&](std::size_t at) {
    const auto end = text.find('\n', at);
    return static_cast<std::uint32_t>(end == std::string::npos ? text.size() : end + 1);
  };
  const auto at = static_cast<std::uint32_t>(rng() % (text.size() + 1));
  switch (rng() % 3) {
    case 0: return {line_at(at), line_at(line_at(at)), ""};
    case 1: return {line_at(at), line_at(at), random_function(rng)};
    default:
      return {at, std::min(at + static_cast<std::uint32_t>(rng() % 3), static_cast<std::uint32_t>(text.size())), "z"};
  }
}

}  // namespace rhizome
