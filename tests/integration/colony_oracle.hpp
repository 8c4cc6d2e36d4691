// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cctype>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace karyon::tests {

/// A second opinion on which identifiers C and C++ text uses and where, made to be compared with the scanner: it works in
/// the phases of translation of the standard (splice all lines, cut all tokens, drop comments, then look at directives),
/// one copy of everything after the other, and shares no code with the scanner, which does all at once.
class colony_oracle {
public:
  using uses = std::vector<std::pair<std::string, std::uint32_t>>;

  explicit colony_oracle(std::string_view text) : text_(text) {
    splice();
    tokenize();
    read_directives();
  }

  [[nodiscard]] const uses& found() const { return found_; }

private:
  enum class kind { identifier, number, literal, other, newline };

  struct character {
    char c;
    std::uint32_t line;
    std::size_t offset;  // in the text
  };

  struct token {
    kind what;
    std::string spelling;  // of identifiers and others
    std::uint32_t line;
  };

  // Phase 1 and 2: line ends become \n, and spliced lines one.
  void splice() {
    std::uint32_t line = 1;
    for (std::size_t i = 0; i < text_.size();) {
      if (text_[i] == '\\') {
        std::size_t j = i + 1;
        while (j < text_.size() && (text_[j] == ' ' || text_[j] == '\t')) ++j;
        if (const std::size_t end = line_end(j)) {
          i = j + end;
          ++line;
          continue;
        }
      }
      if (const std::size_t end = line_end(i)) {
        characters_.push_back({'\n', line, i});
        i += end;
        ++line;
      } else {
        characters_.push_back({text_[i], line, i});
        ++i;
      }
    }
  }

  [[nodiscard]] std::size_t line_end(std::size_t i) const {
    if (i >= text_.size()) return 0;
    if (text_.compare(i, 2, "\r\n") == 0) return 2;
    return text_[i] == '\n' || text_[i] == '\r' ? 1 : 0;
  }

  [[nodiscard]] char at(std::size_t i) const { return i < characters_.size() ? characters_[i].c : '\0'; }
  [[nodiscard]] static bool is_start(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$';
  }
  [[nodiscard]] static bool is_part(char c) { return is_start(c) || (c >= '0' && c <= '9'); }

  // Phase 3. ASCII names only: the test leaves files with others out.
  void tokenize() {
    std::size_t i = 0;
    while (i < characters_.size()) {
      const std::uint32_t line = characters_[i].line;
      if (at(i) == '\n') {
        tokens_.push_back({kind::newline, "", line});
        ++i;
      } else if (at(i) == '/' && at(i + 1) == '/') {
        while (i < characters_.size() && at(i) != '\n') ++i;
      } else if (at(i) == '/' && at(i + 1) == '*') {
        i += 2;
        while (i < characters_.size() && !(at(i) == '*' && at(i + 1) == '/')) ++i;
        i += 2;
      } else if (is_start(at(i))) {
        std::string name;
        while (is_part(at(i))) name += at(i++);
        if (const std::size_t end = literal_with_prefix(name, i)) {
          tokens_.push_back({kind::literal, "", line});
          i = end;
        } else {
          tokens_.push_back({kind::identifier, name, line});
        }
      } else if (std::isdigit(static_cast<unsigned char>(at(i))) != 0 ||
                 (at(i) == '.' && std::isdigit(static_cast<unsigned char>(at(i + 1))) != 0)) {
        i = end_of_number(i);
        tokens_.push_back({kind::number, "", line});
      } else if (at(i) == '"' || at(i) == '\'') {
        i = end_of_quoted(i);
        tokens_.push_back({kind::literal, "", line});
      } else {
        if (at(i) != ' ' && at(i) != '\t' && at(i) != '\v' && at(i) != '\f') {
          tokens_.push_back({kind::other, std::string(1, at(i)), line});
        }
        ++i;
      }
    }
  }

  [[nodiscard]] std::size_t end_of_number(std::size_t i) const {
    for (++i;; ++i) {
      const char last = at(i - 1);
      const bool exponent = last == 'e' || last == 'E' || last == 'p' || last == 'P';
      const bool separator = at(i) == '\'' && is_part(at(i + 1));
      if (!is_part(at(i)) && at(i) != '.' && !separator && !(exponent && (at(i) == '+' || at(i) == '-'))) return i;
    }
  }

  [[nodiscard]] std::size_t end_of_quoted(std::size_t i) const {
    const char quote = at(i++);
    while (i < characters_.size() && at(i) != '\n' && at(i) != quote) i += at(i) == '\\' && at(i + 1) != '\n' ? 2 : 1;
    return at(i) == quote ? i + 1 : i;
  }

  // Where a literal ends whose prefix is `name`, with its quote at i; 0 if it is none.
  [[nodiscard]] std::size_t literal_with_prefix(const std::string& name, std::size_t i) const {
    if (at(i) == '\'' || at(i) == '"') {
      if (name == "L" || name == "u" || name == "U" || name == "u8") return end_of_quoted(i);
      if (at(i) == '"' && (name == "R" || name == "LR" || name == "uR" || name == "UR" || name == "u8R"))
        return end_of_raw(i);
    }
    return 0;
  }

  // In a raw string nothing is spliced: back to the text, and on behind the literal.
  [[nodiscard]] std::size_t end_of_raw(std::size_t i) const {
    const std::size_t open = characters_[i].offset;
    const std::size_t bracket = text_.find('(', open);
    if (bracket == std::string_view::npos || bracket - open > 17) return end_of_quoted(i);
    const std::string_view delimiter = text_.substr(open + 1, bracket - open - 1);
    if (delimiter.find_first_of(" )\\\"\t\v\f\n\r") != std::string_view::npos) return end_of_quoted(i);
    const std::string closing = ")" + std::string(delimiter) + "\"";
    const std::size_t close = text_.find(closing, bracket);
    const std::size_t end = close == std::string_view::npos ? text_.size() : close + closing.size();
    while (i < characters_.size() && characters_[i].offset < end) ++i;
    return i;
  }

  // Phase 4, as far as it goes: line by line.
  void read_directives() {
    for (std::size_t begin = 0; begin < tokens_.size();) {
      std::size_t end = begin;
      while (end < tokens_.size() && tokens_[end].what != kind::newline) ++end;
      read_line(begin, end);
      begin = end + 1;
    }
  }

  void read_line(std::size_t begin, std::size_t end) {
    const bool hash = begin < end && tokens_[begin].spelling == "#";
    std::string directive;
    if (hash) {
      ++begin;
      if (begin < end && tokens_[begin].what == kind::identifier) directive = tokens_[begin++].spelling;
    }
    if (directive == "error" || directive == "warning" || directive == "pragma" || directive == "ident" ||
        directive == "sccs") {
      return;
    }
    const bool header =
        directive == "include" || directive == "include_next" || directive == "import" || directive == "embed";
    if (header && begin < end && tokens_[begin].what != kind::identifier) return;
    for (std::size_t i = begin; i < end; ++i) {
      const token& t = tokens_[i];
      if (t.what != kind::identifier) continue;
      if (t.spelling.rfind("__has_include", 0) == 0) {
        // Only a parenthesised header name after it is no text of the program.
        const bool names_header = i + 2 < end && tokens_[i + 1].spelling == "(" &&
                                  (tokens_[i + 2].spelling == "<" || tokens_[i + 2].what == kind::literal);
        while (names_header && i < end && tokens_[i].spelling != ">" && tokens_[i].what != kind::literal) ++i;
      } else if (!((directive == "if" || directive == "elif") && t.spelling == "defined")) {
        found_.emplace_back(t.spelling, t.line);
      }
    }
  }

  std::string_view text_;
  std::vector<character> characters_;
  std::vector<token> tokens_;
  uses found_;
};

}  // namespace karyon::tests
