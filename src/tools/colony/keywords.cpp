// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "tools/colony/scanner.hpp"

namespace karyon::tools {

namespace {

constexpr std::string_view keywords[] = {
    // C++20, with the alternative tokens
    "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char",
    "char16_t", "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield", "compl", "concept", "const",
    "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype", "default", "delete", "do", "double",
    "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if",
    "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or",
    "or_eq", "private", "protected", "public", "register", "reinterpret_cast", "requires", "return", "short", "signed",
    "sizeof", "static", "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw",
    "true", "try", "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual", "void", "volatile",
    "wchar_t", "while", "xor", "xor_eq",
    // C11
    "restrict", "_Alignas", "_Alignof", "_Atomic", "_Bool", "_Complex", "_Generic", "_Imaginary", "_Noreturn",
    "_Static_assert", "_Thread_local",
    // GCC and Clang
    "__alignof", "__alignof__", "__asm", "__asm__", "__attribute", "__attribute__", "__complex__", "__const",
    "__const__", "__extension__", "__inline", "__inline__", "__label__", "__restrict", "__restrict__", "__signed",
    "__signed__", "__thread", "__typeof", "__typeof__", "__volatile", "__volatile__"};

constexpr std::size_t keyword_bytes_max = 16;
constexpr std::size_t table_size = 512;

constexpr std::size_t slot_of(std::string_view name) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(name[i])); };
  return (name.size() * 37 + byte(0) * 5 + byte(1) * 67 + byte(name.size() - 1) * 29) % table_size;
}

consteval std::array<std::string_view, table_size> make_table() {
  std::array<std::string_view, table_size> table{};
  for (const std::string_view word : keywords) {
    std::size_t slot = slot_of(word);
    while (!table[slot].empty()) {
      slot = (slot + 1) % table_size;
    }
    table[slot] = word;
  }
  return table;
}

constexpr std::array<std::string_view, table_size> table = make_table();

}  // namespace

bool is_keyword(std::string_view name) noexcept {
  if (name.size() < 2 || name.size() > keyword_bytes_max) {
    return false;
  }
  for (std::size_t slot = slot_of(name); !table[slot].empty(); slot = (slot + 1) % table_size) {
    if (table[slot] == name) {
      return true;
    }
  }
  return false;
}

}  // namespace karyon::tools
