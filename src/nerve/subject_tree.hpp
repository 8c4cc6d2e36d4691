// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace karyon::detail {

/// Takes the first token off a valid subject or pattern; empty at its end.
[[nodiscard]] inline std::string_view take_token(std::string_view& rest) noexcept {
  const std::size_t dot = rest.find('.');
  const std::string_view token = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  return token;
}

/// Values by pattern; finds those whose patterns a subject matches in O(tokens), times two for each `*` on the way. Not
/// synchronised. A pattern has one value.
template <class T>
class subject_tree {
public:
  /// The value of a pattern, made by default if it is not there.
  T& at(std::string_view pattern) {
    node* n = &root_;
    while (!pattern.empty()) {
      const std::string_view token = take_token(pattern);
      auto found = n->next.find(token);
      if (found == n->next.end()) found = n->next.emplace(std::string(token), std::make_unique<node>()).first;
      n = found->second.get();
    }
    if (n->value == nullptr) {
      n->value = std::make_unique<T>();
      ++size_;
    }
    return *n->value;
  }
  [[nodiscard]] T* find(std::string_view pattern) noexcept {
    node* n = &root_;
    while (!pattern.empty()) {
      const auto found = n->next.find(take_token(pattern));
      if (found == n->next.end()) return nullptr;
      n = found->second.get();
    }
    return n->value.get();
  }
  void erase(std::string_view pattern) noexcept { size_ -= erase_below(root_, pattern) ? 1 : 0; }
  /// Calls f(value) for each pattern that the subject matches, in an order that follows from the patterns alone.
  template <class F>
  void for_each_match(std::string_view subject, F&& f) const {
    visit(root_, subject, f);
  }
  template <class F>
  void for_each(F&& f) const {
    visit_all(root_, f);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
  struct node {
    std::map<std::string, std::unique_ptr<node>, std::less<>> next;
    std::unique_ptr<T> value;
  };
  /// Nodes that lead nowhere any more go with it.
  static bool erase_below(node& n, std::string_view pattern) noexcept {
    if (pattern.empty()) return std::exchange(n.value, nullptr) != nullptr;
    const auto found = n.next.find(take_token(pattern));
    if (found == n.next.end()) return false;
    const bool erased = erase_below(*found->second, pattern);
    if (found->second->value == nullptr && found->second->next.empty()) n.next.erase(found);
    return erased;
  }
  template <class F>
  static void visit(const node& n, std::string_view subject, F& f) {
    if (subject.empty()) {
      if (n.value != nullptr) f(*n.value);
      return;
    }
    const auto rest = n.next.find(std::string_view(">"));
    if (rest != n.next.end() && rest->second->value != nullptr) f(*rest->second->value);
    const auto any = n.next.find(std::string_view("*"));
    const auto same = n.next.find(take_token(subject));
    if (any != n.next.end()) visit(*any->second, subject, f);
    if (same != n.next.end()) visit(*same->second, subject, f);
  }
  template <class F>
  static void visit_all(const node& n, F& f) {
    if (n.value != nullptr) f(*n.value);
    for (const auto& [token, below] : n.next) visit_all(*below, f);
  }
  node root_;
  std::size_t size_ = 0;
};

}  // namespace karyon::detail
