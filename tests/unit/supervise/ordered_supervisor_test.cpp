// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include <karyon/supervise/ordered_supervisor.hpp>

#include "unit/supervise/supervised.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

/// Writes its birth and its end.
class chronicler : public cell {
public:
  using accepts = signals<die, get, fail_hard>;
  chronicler(diary& d, std::string name) : diary_(&d), name_(std::move(name)) { diary_->write("+" + name_); }
  void on(const die& d) { exit(d.why); }
  int on(get) { return 7; }
  void on(fail_hard) { throw std::runtime_error("hard"); }
  void on_exit(const exit_reason& why) { diary_->write("-" + name_ + " " + to_string(why)); }

private:
  diary* diary_;
  std::string name_;
};

child_spec writes(diary& d, const std::string& id) { return child_spec::of<chronicler>(id, std::ref(d), id); }

}  // namespace

TEST_CASE("a tree starts its children in order and ends them in reverse") {
  diary d;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {writes(d, "a"), writes(d, "b"), writes(d, "c")};
  auto tree = rt.start(spec);
  REQUIRE(tree);
  CHECK(d.lines() == lines{"+a", "+b", "+c"});
  CHECK(tree->children().size() == 3);
  const auto b = tree->find<chronicler>("b");
  CHECK(rt.ask(b, get{}, long_time) == 7);
  tree->stop();
  CHECK(d.lines() == lines{"+a", "+b", "+c", "-c shutdown", "-b shutdown", "-a shutdown"});
  CHECK(to_string(*tree->ended()) == "shutdown");
  CHECK_FALSE(b.alive());
}

TEST_CASE("a child that fails is started again, and its handle finds the new incarnation") {
  diary d;
  runtime rt(quiet());
  supervisor_spec spec;
  spec.children = {writes(d, "a"), writes(d, "b")};
  auto tree = rt.start(spec);
  REQUIRE(tree);
  const auto b = tree->find<chronicler>("b");
  b.send(fail_hard{});
  REQUIRE(d.has(4));
  CHECK(eventually([&] { return rt.ask(b, get{}, long_time).has_value(); }));
  CHECK(d.lines() == lines{"+a", "+b", "-b error: std::runtime_error: hard", "+b"});
  CHECK(tree->restarts() == 1);
  rt.shutdown(long_time);
  CHECK(d.lines().back() == "-a shutdown");
}
