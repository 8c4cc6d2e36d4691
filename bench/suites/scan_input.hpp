// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

/// The texts that scanners are measured on: made here, the same for every peer, of about the size of the second cache.
namespace karyon::bench {

constexpr std::size_t scan_bytes = 1024 * 1024;

/// JSON of the mixture that web interfaces send: keys, small numbers, dates, sentences with escapes and with letters beyond
/// ASCII, arrays, indentation by two.
inline std::string scan_json_text() {
  static constexpr char const* sentences[] = {
      "Thanks to everyone who came \\u2014 slides at http:\\/\\/t.example\\/a1B2c3",
      "おはよう ございます",
      "It said \\\"no\\\", and that was all there was to it.",
      "Zwei Köche, ein Töpfchen 🍲\\n",
      "plain words without anything that a scanner must look at twice",
      ""};
  std::string text = "{\n  \"statuses\": [\n";
  std::uint64_t state = 1;
  auto const below = [&](std::uint64_t count) {
    state = state * 48271 % 2147483647;
    return state % count;
  };
  while (text.size() < scan_bytes - 2048) {
    text += text.size() < 100 ? "    {\n" : ",\n    {\n";
    text += "      \"id\": " + std::to_string(505874847260352512 + below(1'000'000'000)) + ",\n";
    text += "      \"created_at\": \"Sun Aug 31 00:" + std::to_string(10 + below(50)) + ":08 +0000 2014\",\n";
    text += "      \"text\": \"" + std::string{sentences[below(6)]} + ' ' + sentences[below(6)] + "\",\n";
    text += "      \"truncated\": " + std::string{below(2) == 0 ? "false" : "true"} + ",\n      \"geo\": null,\n";
    text += "      \"user\": {\n        \"id\": " + std::to_string(below(2'000'000'000)) + ",\n        \"name\": \"";
    text += sentences[below(6)];
    text += "\",\n        \"score\": -" + std::to_string(below(1000)) + "." + std::to_string(below(1000)) + "e-3,\n";
    text += "        \"protected\": false,\n        \"entities\": { \"urls\": [], \"hashtags\": [" +
            std::to_string(below(140)) + ", " + std::to_string(below(140)) + "] }\n      }\n    }";
  }
  text += "\n  ]\n}\n";
  return text;
}

/// C of the mixture of system headers: declarations, macros over several lines, many comments.
inline std::string scan_c_text(std::size_t bytes = scan_bytes, std::uint64_t seed = 1) {
  std::string text = "#ifndef SCANNED_H\n#define SCANNED_H 1\n#include <stddef.h>\n";
  std::uint64_t state = seed;
  while (text.size() < bytes - 2048) {
    state = state * 48271 % 2147483647;
    auto const number = std::to_string(state % 100'000);
    text +=
        "/* Returns how many bytes of BUFFER were read, or -1 with errno set.  Don't call it from a\n"
        "   handler: it isn't safe there.  This function is a cancellation point.  */\n"
        "extern ssize_t read_" +
        number +
        " (int __fd, void *__buf, size_t __nbytes) __wur\n"
        "    __attribute__ ((__access__ (__write_only__, 2, 3)));\n";
    text += "#define FIELD_" + number + "(p, x) \\\n  do { (p)->field[" + number + "] = (x); } while (0)\n";
    text += "struct entry_" + number + " {\n  unsigned long begin;  // first byte\n  char name[" + number +
            "];\n  struct entry_" + number + "* next;\n};\n";
    text += "static inline int check_" + number +
            "(const char* s, int c) {\n  if (s[0] == '\\'' || c == '\"') {\n"
            "    return puts(\"a \\\"quoted\\\" word, " +
            number + "\\n\") + 0x" + number + ";\n  }\n  return 0;\n}\n\n";
  }
  text += "#endif\n";
  return text;
}

}  // namespace karyon::bench
