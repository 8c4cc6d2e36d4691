// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <karyon/karyon.hpp>
#include <karyon/sim/testing.hpp>

namespace karyon::tests {

using testing::random;

/// The supervisor of those that have no order.
inline constexpr std::uint32_t none = ~std::uint32_t{0};

/// What is known of one child of a tree, over all its incarnations. Everything happens on the world's one thread.
struct tree_member {
  std::string path;
  std::uint32_t parent = 0;                      // the supervisor's number
  std::uint32_t position = 0;                    // among its siblings
  std::map<std::uint32_t, std::uint32_t> above;  // for each supervisor above: the position there of the branch it is in
  int living = 0;
  int living_most = 0;
  std::uint64_t born = 0;
  ref<class subject> now;
};

struct hush {};

/// Answers nobody.
class silence : public cell {
public:
  using accepts = signals<hush>;
  deferred<bool> on(hush) {
    kept_.push_back(defer<bool>());
    return {};
  }

private:
  std::vector<promise<bool>> kept_;
};

/// The book of a tree: who lives. Cells write into it, the test reads it.
struct ledger {
  explicit ledger(testing::world& w) : dice(&w.random()), quiet(w.runtime().spawn<silence>()) {}
  random* dice;
  ref<silence> quiet;
  std::vector<tree_member> members;
  std::vector<std::string> breaches;  // of rules that must hold at each moment
  std::vector<bool> order_exempt;     // by supervisor: a command has ended one of its children out of order
  double constructor_fails = 0.02;
  std::uint64_t told = 0;    // signals of type `note` handled
  std::uint64_t hushed = 0;  // signals sent by subjects

  [[nodiscard]] int living() const {
    int n = 0;
    for (const tree_member& m : members) n += m.living;
    return n;
  }
};

struct note {
  std::uint64_t number;
};
struct fall {
  exit_reason why;
};
/// How a subject takes it when it is asked to end.
enum class temper : std::uint8_t { obedient, slow, stubborn };

/// A child of a random tree.
class subject : public cell {
public:
  using accepts = signals<note, fall>;
  subject(ledger* book, std::uint32_t number, temper t) : book_(book), number_(number), temper_(t) {
    if (book_->dice->chance(book_->constructor_fails)) throw std::runtime_error("no birth today");
    if (book_->dice->chance(book_->constructor_fails / 4)) throw ignore_start{};
    tree_member& me = book_->members[number_];
    ++me.born;
    if (++me.living > 1) book_->breaches.push_back(me.path + ": two incarnations at once");
    alive_ = true;
  }
  ~subject() {
    if (alive_) --book_->members[number_].living;
  }
  void on_start() {
    book_->members[number_].now = self(this);
    if (temper_ != temper::obedient) trap_exit(true);
  }
  void on(const note&) { ++book_->told; }
  void on(const fall& f) {
    if (f.why.why() == exit_reason::kind::error) throw std::runtime_error("fallen");
    exit(f.why);
  }
  void on(const exit_signal& e) {
    if (temper_ == temper::stubborn) return;  // until it is killed
    // Some time passes. A timer of its own would be a signal that is lost if it is killed then, and nobody could count those.
    ++book_->hushed;
    ask(book_->quiet, hush{}, std::chrono::milliseconds(book_->dice->below(40)),
        [this, why = e.why](const result<bool>&) { exit(why); });
  }
  void on_exit(const exit_reason& why) {
    if (why.why() != exit_reason::kind::shutdown || why.text() == "by the test") return;
    // Told to end by its supervisor: whoever was started after it has ended before.
    const tree_member& me = book_->members[number_];
    if (me.parent == none || book_->order_exempt[me.parent]) return;
    for (const tree_member& other : book_->members) {
      const auto there = other.above.find(me.parent);
      if (there != other.above.end() && there->second > me.position && other.living != 0)
        book_->breaches.push_back(me.path + " ended before " + other.path + ", which was started after it");
    }
  }

private:
  ledger* book_;
  std::uint32_t number_;
  temper temper_;
  bool alive_ = false;
};

/// Makes random trees whose children write into a ledger.
class tree_maker {
public:
  tree_maker(ledger& book, random& r) : book_(book), random_(r) {}

  /// `above`: the positions that lead to the tree, by supervisor.
  supervisor_spec tree(const std::string& path, unsigned depth, std::map<std::uint32_t, std::uint32_t> above = {}) {
    supervisor_spec s;
    const auto number = static_cast<std::uint32_t>(book_.order_exempt.size());
    book_.order_exempt.push_back(false);
    s.strategy = pick({one_for_one, one_for_all, rest_for_one});
    // Half of them patient, or most stories would be short.
    s.intensity = {static_cast<std::uint32_t>(random_.below(random_.one_in(2) ? 6 : 60)),
                   std::chrono::milliseconds(100 + random_.below(5000))};
    s.auto_shutdown = pick(
        {auto_shutdown::never, auto_shutdown::never, auto_shutdown::any_significant, auto_shutdown::all_significant});
    if (random_.chance(0.3)) s.backoff = {std::chrono::milliseconds(10), std::chrono::milliseconds(500)};
    const std::uint64_t children = random_.below(6);
    for (std::uint32_t i = 0; i < children; ++i) {
      const std::string id = std::to_string(i);
      above[number] = i;
      if (depth > 0 && random_.chance(0.35)) {
        s.children.push_back(child_spec::tree(id, tree(path + "/" + id, depth - 1, above)).with(options(s, true)));
      } else if (random_.chance(0.15)) {
        supervisor_options many;
        many.intensity = {static_cast<std::uint32_t>(random_.below(6)),
                          std::chrono::milliseconds(100 + random_.below(2000))};
        many.shutdown_deadline = std::chrono::milliseconds(random_.below(100));
        s.children.push_back(child_spec::dynamic(id, many).with(options(s, true)));
      } else {
        s.children.push_back(child(path, number, above).with(options(s, false)));
      }
    }
    return s;
  }

  child_spec child(const std::string& path, std::uint32_t parent, const std::map<std::uint32_t, std::uint32_t>& above) {
    const std::string id = std::to_string(above.at(parent));
    tree_member m;
    m.path = path + "/" + id;
    m.parent = parent;
    m.position = above.at(parent);
    m.above = above;
    const auto number = static_cast<std::uint32_t>(book_.members.size());
    book_.members.push_back(m);
    return child_spec::of<subject>(id, &book_, number,
                                   pick({temper::obedient, temper::obedient, temper::slow, temper::stubborn}));
  }

  /// One of many: a member that nobody is in order with. Returns its number.
  std::uint32_t one_of_many() {
    const auto number = static_cast<std::uint32_t>(book_.members.size());
    tree_member m;
    m.path = "#" + std::to_string(number);
    m.parent = none;
    book_.members.push_back(m);
    return number;
  }

  template <class T>
  T pick(std::initializer_list<T> of) {
    return of.begin()[random_.below(of.size())];
  }

private:
  child_options options(const supervisor_spec& parent, bool is_supervisor) {
    child_options o;
    o.restart =
        pick({restart_type::permanent, restart_type::permanent, restart_type::transient, restart_type::temporary});
    o.significant =
        parent.auto_shutdown != auto_shutdown::never && o.restart != restart_type::permanent && random_.chance(0.5);
    if (is_supervisor) return o;
    // Never infinity for cells: stubborn ones would take them at their word.
    o.shutdown = random_.chance(0.2) ? child_shutdown::brutal_kill()
                                     : child_shutdown::within(std::chrono::milliseconds(random_.below(100)));
    o.mailbox = pick({mailbox_policy::dropped, mailbox_policy::dropped, mailbox_policy::kept_without_last});
    return o;
  }

  ledger& book_;
  random& random_;
};

}  // namespace karyon::tests
