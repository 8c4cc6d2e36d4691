// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <karyon/cell/cell.hpp>
#include <karyon/sim/testing.hpp>
#include <karyon/supervise/ordered_supervisor.hpp>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace karyon::tests {

/// Who lives, who lived, and what must never be: what all members of a colony report to.
struct census {
  std::map<std::string, int> alive;  // by role
  std::vector<std::string> ends;     // roles, in the order in which their incarnations ended
  std::string violation;
  std::uint64_t refusals_left = 0;  // so many constructions fail from now on

  [[nodiscard]] int total() const {
    int n = 0;
    for (const auto& [role, live] : alive) n += live;
    return n;
  }
};

struct work {};
struct fail_at_once {};
struct leave {
  exit_reason why;
};
struct done_so_far {};

/// A worker of a random tree.
class member : public cell {
public:
  using accepts = signals<work, fail_at_once, leave, done_so_far, exit_signal>;

  member(census* c, std::string role, bool stubborn) : census_(c), role_(std::move(role)), stubborn_(stubborn) {
    if (census_->refusals_left > 0) {
      --census_->refusals_left;
      throw std::runtime_error("refuses to start");
    }
    if (++census_->alive[role_] > 1) census_->violation = "two live incarnations of " + role_;
    born_ = true;
    if (stubborn_) trap_exit(true);
  }
  ~member() {
    if (!born_) return;
    --census_->alive[role_];
    census_->ends.push_back(role_);
  }
  member(const member&) = delete;
  member& operator=(const member&) = delete;

  void on(work) { ++done_; }
  void on(fail_at_once) { throw std::runtime_error("fails"); }
  void on(const leave& l) { exit(l.why); }
  std::uint64_t on(done_so_far) { return done_; }
  void on(const exit_signal&) {}  // stubborn: only a kill ends it

private:
  census* census_;
  std::string role_;
  bool stubborn_;
  bool born_ = false;
  std::uint64_t done_ = 0;
};

/// A tree that follows from the world's dice, and the roles of its members in start order.
class random_tree {
public:
  random_tree(testing::world& w, census& c) : world_(w), census_(c) {}

  /// No mailbox is kept whole: the signal that ended an incarnation would be handled a second time, and counted so.
  random_tree& handling_each_signal_once() noexcept {
    kept_whole_ = false;
    return *this;
  }

  [[nodiscard]] supervisor_spec make(unsigned depth = 3, const std::string& path = "") {
    testing::random& dice = world_.random();
    supervisor_spec spec;
    constexpr restart_strategy strategies[] = {one_for_one, one_for_all, rest_for_one};
    spec.strategy = dice.pick(strategies);
    spec.intensity = {static_cast<std::uint32_t>(dice.below(6)), std::chrono::seconds(1 + dice.below(10))};
    if (dice.one_in(4)) spec.backoff = {.minimum = std::chrono::milliseconds(10), .maximum = std::chrono::seconds(1)};
    const std::uint64_t n = dice.between(1, 4);
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::string id = "c" + std::to_string(i);
      if (depth > 1 && dice.one_in(3)) {
        spec.children.push_back(child_spec::tree(id, make(depth - 1, path + "/" + id)));
      } else {
        spec.children.push_back(worker(id, path + "/" + id));
      }
    }
    return spec;
  }
  [[nodiscard]] const std::vector<std::string>& roles() const noexcept { return roles_; }

private:
  child_spec worker(const std::string& id, const std::string& role) {
    testing::random& dice = world_.random();
    child_options options;
    constexpr restart_type types[] = {restart_type::permanent, restart_type::permanent, restart_type::transient,
                                      restart_type::temporary};
    options.restart = dice.pick(types);
    if (dice.one_in(4)) options.shutdown = child_shutdown::brutal_kill();
    if (dice.one_in(4)) options.shutdown = child_shutdown::within(std::chrono::milliseconds(dice.below(3000)));
    constexpr mailbox_policy policies[] = {mailbox_policy::dropped, mailbox_policy::kept,
                                           mailbox_policy::kept_without_last};
    options.mailbox = dice.pick(policies);
    if (!kept_whole_ && options.mailbox == mailbox_policy::kept) options.mailbox = mailbox_policy::dropped;
    roles_.push_back(role);
    return child_spec::of<member>(id, &census_, role, dice.one_in(8)).with(options);
  }

  testing::world& world_;
  census& census_;
  bool kept_whole_ = true;
  std::vector<std::string> roles_;
};

/// All cells below a supervisor that run right now, and the supervisors.
inline void gather(const ordered_supervisor& tree, std::vector<cell_ref>& cells,
                   std::vector<ordered_supervisor>& trees) {
  trees.push_back(tree);
  for (const child_info& c : tree.children()) {
    if (c.kind == child_kind::supervisor) {
      if (const ordered_supervisor below = c.child.as_tree()) gather(below, cells, trees);
    } else if (const cell_ref cell = c.child.get()) {
      cells.push_back(cell);
    }
  }
}

}  // namespace karyon::tests
