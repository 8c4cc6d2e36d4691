#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <karyon/nerve/node.hpp>

#include "unit/cell/cell_testing.hpp"

// What the tests of nodes send, and to whom.
namespace nerve_tests {

struct add {
  std::int64_t amount = 0;
};
KARYON_SIGNAL(add, amount)

struct total {};
KARYON_SIGNAL(total)

struct note {
  std::string text;
  std::vector<std::int32_t> numbers;
};
KARYON_SIGNAL(note, text, numbers)

struct last_note {};
KARYON_SIGNAL(last_note)

struct fail_with {
  std::string words;
};
KARYON_SIGNAL(fail_with)

struct never_answered {};
KARYON_SIGNAL(never_answered)

/// Not declared: stays in its process.
struct private_word {
  std::string text;
};

class counter : public karyon::cell {
public:
  using accepts = karyon::signals<add, total, note, last_note, fail_with, never_answered, private_word>;
  explicit counter(std::int64_t from = 0) : sum_(from) {}
  void on(add m) { sum_ += m.amount; }
  std::int64_t on(total) { return sum_; }
  void on(note n) { last_ = std::move(n); }
  std::string on(last_note) {
    std::string all = last_.text;
    for (const std::int32_t n : last_.numbers) all += ' ' + std::to_string(n);
    return all;
  }
  void on(const fail_with& f) { throw std::runtime_error(f.words); }
  karyon::deferred<int> on(never_answered) {
    kept_.push_back(defer<int>());
    return {};
  }
  void on(const private_word&) {}

private:
  std::int64_t sum_;
  note last_;
  std::vector<karyon::promise<int>> kept_;
};

struct hello {
  karyon::ref<counter> from;
  karyon::cell_ref anybody;
};
KARYON_SIGNAL(hello, from, anybody)

struct call_back {};
KARYON_SIGNAL(call_back)

/// Answers through the handle that it was sent.
class host_cell : public karyon::cell {
public:
  using accepts = karyon::signals<hello, call_back>;
  karyon::ref<counter> on(const hello& h) {
    guest_ = h.from;
    h.anybody.send(add{5});
    return guest_;  // goes home
  }
  std::string on(call_back) { return karyon::to_string(guest_.send(add{10})); }

private:
  karyon::ref<counter> guest_;
};

/// The one of node b, as node a finds it.
template <class Nodes>
[[nodiscard]] karyon::child<counter> found(Nodes& two) {
  return two.a.template find<counter>("b", "counter", karyon::tests::long_time).value();
}

}  // namespace nerve_tests
