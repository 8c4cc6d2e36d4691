// SPDX-License-Identifier: Apache-2.0
#include "text/syntax.hpp"

#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "text/ast_inside.hpp"

namespace rhizome {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t more) {
  hash = (hash ^ more) * 0x9E3779B97F4A7C15;  // the golden ratio's bits
  return hash ^ std::rotl(hash, 29);
}

std::uint64_t hash_text(std::string_view text, std::uint64_t seed) {
  auto hash = mix(seed, text.size());
  while (!text.empty()) {
    std::uint64_t eight = 0;
    const auto take = text.size() < sizeof eight ? text.size() : sizeof eight;
    std::memcpy(&eight, text.data(), take);
    hash = mix(hash, eight);
    text.remove_prefix(take);
  }
  return hash;
}

/// Numbers the distinct names of one text in the order in which they are met.
class name_numbers {
public:
  name_numbers(const std::string& text, std::vector<text_slice>& names) : text_(text), names_(names), slots_(256) {}

  std::uint32_t of(text_slice name) {
    const auto bytes = name.of(text_);
    const auto hash = hash_text(bytes, 0);
    const auto mask = slots_.size() - 1;
    auto at = hash & mask;
    for (; slots_[at].number_1 != 0; at = (at + 1) & mask) {
      if (slots_[at].hash == static_cast<std::uint32_t>(hash >> 32) &&
          names_[slots_[at].number_1 - 1].of(text_) == bytes) {
        return slots_[at].number_1 - 1;
      }
    }
    names_.push_back(name);
    slots_[at] = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint32_t>(names_.size())};
    if (names_.size() * 2 > slots_.size()) {
      grow();
    }
    return static_cast<std::uint32_t>(names_.size() - 1);
  }

private:
  struct slot {
    std::uint32_t hash = 0;      // its upper half
    std::uint32_t number_1 = 0;  // one more than the number; 0: free
  };

  void grow() {
    slots_.assign(slots_.size() * 2, {});
    const auto mask = slots_.size() - 1;
    for (std::uint32_t number = 0; number < names_.size(); ++number) {
      const auto hash = hash_text(names_[number].of(text_), 0);
      auto at = hash & mask;
      while (slots_[at].number_1 != 0) {
        at = (at + 1) & mask;
      }
      slots_[at] = {static_cast<std::uint32_t>(hash >> 32), number + 1};
    }
  }

  const std::string& text_;
  std::vector<text_slice>& names_;
  std::vector<slot> slots_;
};

/// What is to be known of a grammar's kinds and fields.
struct vocabulary {
  enum class shape : std::uint8_t { plain, definition, definition_with_body, call, include, name, whole_name, quoted };
  std::vector<shape> kinds;
  TSFieldId name, declarator, function, path, field, body;

  explicit vocabulary(const TSLanguage* grammar) : kinds(ts_language_symbol_count(grammar), shape::plain) {
    static constexpr std::pair<std::string_view, shape> known[] = {
        {"function_definition", shape::definition},
        {"type_definition", shape::definition},
        {"preproc_def", shape::definition},
        {"preproc_function_def", shape::definition},
        {"namespace_definition", shape::definition},
        {"alias_declaration", shape::definition},
        {"concept_definition", shape::definition},
        {"class_definition", shape::definition},
        {"enumerator", shape::definition},
        {"struct_specifier", shape::definition_with_body},
        {"union_specifier", shape::definition_with_body},
        {"class_specifier", shape::definition_with_body},
        {"enum_specifier", shape::definition_with_body},
        {"call_expression", shape::call},
        {"call", shape::call},
        {"preproc_include", shape::include},
        {"identifier", shape::name},
        {"type_identifier", shape::name},
        {"field_identifier", shape::name},
        {"namespace_identifier", shape::name},
        {"operator_name", shape::whole_name},
        {"destructor_name", shape::whole_name},
        {"operator_cast", shape::whole_name},
        {"string_literal", shape::quoted},
        {"system_lib_string", shape::quoted},
    };
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      const auto symbol = static_cast<TSSymbol>(kind);
      if (ts_language_symbol_type(grammar, symbol) != TSSymbolTypeRegular) {
        continue;  // a token such as "call" is no call
      }
      for (const auto& [word, meaning] : known) {
        if (word == ts_language_symbol_name(grammar, symbol)) {
          kinds[kind] = meaning;
        }
      }
    }
    const auto field_id = [&](std::string_view word) {
      return ts_language_field_id_for_name(grammar, word.data(), static_cast<std::uint32_t>(word.size()));
    };
    name = field_id("name");
    declarator = field_id("declarator");
    function = field_id("function");
    path = field_id("path");
    field = field_id("field");
    body = field_id("body");
  }

  [[nodiscard]] shape of(TSNode node) const {
    const auto kind = ts_node_symbol(node);
    return kind < kinds.size() ? kinds[kind] : shape::plain;
  }
};

/// One for each grammar that was ever used; grammars live as long as the program.
const vocabulary& vocabulary_of(const TSLanguage* grammar) {
  static std::mutex lock;
  static std::map<const TSLanguage*, std::unique_ptr<const vocabulary>> known;
  const std::lock_guard guard(lock);
  auto& words = known[grammar];
  if (words == nullptr) {
    words = std::make_unique<const vocabulary>(grammar);
  }
  return *words;
}

text_slice slice_of(TSNode node) { return {ts_node_start_byte(node), ts_node_end_byte(node)}; }

TSNode child_in(TSNode node, TSFieldId field) { return field == 0 ? TSNode{} : ts_node_child_by_field_id(node, field); }

/// The name that is written in a declarator, a qualified name, a called expression or an include's path. Empty: none.
text_slice name_in(TSNode node, const vocabulary& words) {
  for (int depth = 0; depth < 64 && !ts_node_is_null(node); ++depth) {
    switch (words.of(node)) {
      case vocabulary::shape::name:
      case vocabulary::shape::whole_name: return slice_of(node);
      case vocabulary::shape::quoted: {
        const auto all = slice_of(node);
        return all.to - all.from >= 2 ? text_slice{all.from + 1, all.to - 1} : text_slice{};
      }
      default: break;
    }
    TSNode next{};
    for (const auto field : {words.name, words.declarator, words.field}) {
      if (ts_node_is_null(next)) {
        next = child_in(node, field);
      }
    }
    // Parentheses, references and attributes around a declarator have no fields.
    node = ts_node_is_null(next) && ts_node_named_child_count(node) == 1 ? ts_node_named_child(node, 0) : next;
  }
  return {};
}

}  // namespace

/// Walks a tree and lays its nodes out. The walk keeps its own stack: texts may nest deeper than a thread's stack holds.
class flattener {
public:
  flattener(const ast& tree, syntax& out)
      : tree_(tree),
        out_(out),
        text_(tree.text()),
        numbers_(text_, out.spellings_),
        words_(vocabulary_of(tree.of().grammar())),
        all_(out.detail_ == syntax_detail::tree) {}

  void walk() {
    auto cursor = ts_tree_cursor_new(ts_tree_root_node(tree_.inside().tree.get()));
    enter(ts_tree_cursor_current_node(&cursor));
    while (!open_.empty()) {
      if (ts_tree_cursor_goto_first_child(&cursor)) {
        enter(ts_tree_cursor_current_node(&cursor));
        continue;
      }
      leave(true);
      while (!ts_tree_cursor_goto_next_sibling(&cursor)) {
        if (open_.empty()) {
          break;
        }
        ts_tree_cursor_goto_parent(&cursor);
        leave(false);
      }
      if (!open_.empty()) {
        enter(ts_tree_cursor_current_node(&cursor));
      }
    }
    ts_tree_cursor_delete(&cursor);
  }

private:
  struct frame {
    std::uint64_t hash;
    std::uint32_t from;
    std::uint32_t to;
    std::uint32_t kept;  // its node, or that of the nearest kept one around it
    bool own;            // whether that is its own
    bool named;
  };

  void enter(TSNode node) {
    ++out_.walked_;
    const bool named = ts_node_is_named(node);
    const auto where = slice_of(node);
    const auto kind = ts_node_symbol(node);
    frame next{mix(kind, where.to - where.from),      where.from, where.to,
               open_.empty() ? 0 : open_.back().kept, false,      named};
    if (named) {
      syntax_node flat;
      describe(node, flat);
      if (all_ || open_.empty() || (flat.role != syntax_role::none && flat.role != syntax_role::name)) {
        flat.from = where.from;
        flat.length = where.to - where.from;
        flat.offset = open_.empty() ? where.from : where.from - out_.nodes_[next.kept].from;
        flat.kind = kind;
        next.kept = static_cast<std::uint32_t>(out_.nodes_.size());
        next.own = true;
        out_.nodes_.push_back(flat);
      }
    }
    open_.push_back(next);
  }

  void leave(bool leaf) {
    auto done = open_.back();
    open_.pop_back();
    if (leaf && done.named) {
      done.hash = hash_text(std::string_view{text_}.substr(done.from, done.to - done.from), done.hash);
    }
    if (done.own) {
      auto& node = out_.nodes_[done.kept];
      node.hash = done.hash;
      node.size = static_cast<std::uint32_t>(out_.nodes_.size()) - done.kept;
    }
    if (!open_.empty()) {
      auto& parent = open_.back();
      parent.hash = mix(mix(parent.hash, done.from - parent.from), done.hash);
    }
  }

  void describe(TSNode node, syntax_node& flat) {
    using shape = vocabulary::shape;
    TSNode naming{};
    switch (words_.of(node)) {
      case shape::name:
        flat.role = syntax_role::name;
        flat.name = slice_of(node);
        flat.spelling = numbers_.of(flat.name);
        return;
      case shape::definition_with_body:
        if (ts_node_is_null(child_in(node, words_.body))) {
          return;
        }
        [[fallthrough]];
      case shape::definition:
        flat.role = syntax_role::definition;
        naming = child_in(node, words_.name);
        if (ts_node_is_null(naming)) {
          naming = child_in(node, words_.declarator);
        }
        break;
      case shape::call:
        flat.role = syntax_role::call;
        naming = child_in(node, words_.function);
        break;
      case shape::include:
        flat.role = syntax_role::include;
        naming = child_in(node, words_.path);
        break;
      default: return;
    }
    flat.name = name_in(naming, words_);
    if (flat.name.from == flat.name.to) {
      flat.role = syntax_role::none;  // an anonymous type; a call of an expression
    } else if (flat.role != syntax_role::include) {
      flat.spelling = numbers_.of(flat.name);
    }
  }

  const ast& tree_;
  syntax& out_;
  const std::string& text_;
  name_numbers numbers_;
  const vocabulary& words_;
  bool all_;
  std::vector<frame> open_;
};

syntax syntax::of(const ast& tree, syntax_detail detail) {
  syntax made(tree, detail);
  made.nodes_.reserve(detail == syntax_detail::tree ? tree.text().size() / 8 + 1 : 64);
  flattener(tree, made).walk();
  return made;
}

}  // namespace rhizome
