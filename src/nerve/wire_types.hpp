#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/nerve/detail/wire.hpp>

namespace karyon::detail {

/// What this process has declared so far: number n is at n - 1. It only grows.
[[nodiscard]] std::vector<const wire_type*> listed_wire_types();

/// How two nodes understand each other's signals: made from their greetings, then constant.
struct shared_types {
  std::vector<const wire_type*>
      here_by_theirs;                    // by their number; null for those that are no signals here, or other ones
  std::vector<bool> theirs_by_here;      // by our number: whether they have the same
  std::vector<std::string> differences;  // a sentence each

  friend bool operator==(const shared_types&, const shared_types&) = default;

  [[nodiscard]] const wire_type* from_them(std::uint16_t number) const noexcept {
    return number < here_by_theirs.size() ? here_by_theirs[number] : nullptr;
  }
  [[nodiscard]] bool they_have(const wire_type& t) const noexcept {
    return t.number < theirs_by_here.size() && theirs_by_here[t.number];
  }
};

/// One type of a greeting.
struct greeted_type {
  std::string name;
  std::string text;
  std::uint64_t schema = 0;
};

[[nodiscard]] shared_types compare_types(const std::vector<const wire_type*>& here,
                                         const std::vector<greeted_type>& there);

}  // namespace karyon::detail
