// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/conductor.hpp"

#include <utility>

#include "tools/colony/eye.hpp"
#include "tools/colony/symbol.hpp"

namespace karyon::tools {

namespace {

// An eye that can not get through its file (for want of memory, say) must not be restarted for ever.
constexpr std::uint8_t failures_max = 3;

}  // namespace

child<symbol> colony_ground::new_symbol(symbol_id id) {
  child<symbol> made;
  std::uint32_t low = 0;
  if (!guests.take(id, made, low)) {
    made = symbol_keeper.start<symbol>(static_cast<const symbol_ground*>(this), id);
    static_cast<void>(groups.join(symbols_group, made));  // refused only if the colony is ending
    return made;
  }
  if (low != 0) {
    static_cast<void>(lead.send(stock_low{low}));
  }
  return made;
}

conductor::conductor(colony_ground* ground, std::uint32_t eyes_at_once)
    : ground_(ground), eyes_(ground->files.size()), eyes_at_once_(eyes_at_once) {}

void conductor::on(begin) {
  begun_ = true;
  give_turns();
  advance();
}

void conductor::on(eye_ready ready) {
  eye_record& e = eyes_[ready.file];
  if (e.owes_answer) {
    e.owes_answer = false;
    --answers_owed_;
  }
  if (e.rebirth_expected) {
    e.rebirth_expected = false;
    --eyes_expected_;
  } else if (e.state == eye_state::looking) {
    ++e.failures;
  }
  if (e.state == eye_state::looking) {
    --looking_;
  } else if (e.state == eye_state::done) {
    --done_;
  }
  ++e.turn;  // whatever the incarnation before may still have said is void
  e.state = eye_state::waiting;
  if (e.failures >= failures_max) {
    finish(e, outcome::unreadable, "its eye failed " + std::to_string(failures_max) + " times");
  } else {
    queue_.push_back(ready.file);
  }
  give_turns();
  advance();
}

void conductor::on(eye_done done) {
  eye_record& e = eyes_[done.file];
  if (e.state != eye_state::looking || e.turn != done.turn) {
    return;
  }
  --looking_;
  e.failures = 0;
  finish(e, done.what, std::move(done.reason));
  give_turns();
  advance();
}

void conductor::finish(eye_record& e, outcome what, std::string reason) {
  e.state = eye_state::done;
  e.what = what;
  e.reason = std::move(reason);
  ++done_;
}

void conductor::give_turns() {
  while (begun_ && symbols_expected_ == 0 && looking_ < eyes_at_once_ && !queue_.empty()) {
    const file_id file = queue_.front();
    queue_.pop_front();
    eye_record& e = eyes_[file];
    if (e.state == eye_state::waiting && ok(ground_->eyes[file].send(look{e.turn}))) {
      e.state = eye_state::looking;
      ++looking_;
    }  // else it has ended again, and its next incarnation will say that it is ready
  }
  ground_->files_done.store(done_, std::memory_order_relaxed);
}

void conductor::on(symbol_reborn reborn) {
  symbol_id id = reborn.id;
  if (reborn.member != 0 && !ground_->guests.name_of(reborn.member, reborn.id, id)) {
    return;  // it had no name to forget, or has been replaced
  }
  forgot(id);
  advance();
  give_turns();
}

void conductor::forgot(symbol_id id) {
  if (id < expected_symbols_.size() && expected_symbols_[id]) {
    expected_symbols_[id] = false;
    --symbols_expected_;
  }
  if (id >= forgetful_.size()) {
    forgetful_.resize(std::size_t{id} + 1);
  }
  if (!forgetful_[id]) {
    forgetful_[id] = true;
    ++forgetful_count_;
  }
}

void conductor::on(recall_answered answer) {
  eye_record& e = eyes_[answer.file];
  if (e.owes_answer && answer.wave == wave_) {
    e.owes_answer = false;
    --answers_owed_;
    advance();
  }
}

void conductor::on(expect_rebirths expected) {
  for (const file_id file : expected.eyes) {
    if (!std::exchange(eyes_[file].rebirth_expected, true)) {
      ++eyes_expected_;
    }
  }
  expected_symbols_.resize(ground_->symbols.size());
  for (const symbol_id id : expected.symbols) {
    if (!expected_symbols_[id]) {
      expected_symbols_[id] = true;
      ++symbols_expected_;
    }
  }
}

karyon::deferred<settlement> conductor::on(when_settled) {
  waiting_.push_back(defer<settlement>());
  advance();
  return {};
}

void conductor::on(const member_ready& who) {
  const std::uint32_t member = ground_->guests.add(who.name, who.who);
  porters_.push_back(who.who);
  monitor(who.who);
  on(stock_low{member});
}

void conductor::on(const stock& more) {
  ground_->guests.add_stock(more.member, more.first, more.symbols);
  const std::uint32_t ready = ground_->guests.ready();
  std::erase_if(waiting_for_members_, [ready](auto& waits) {
    if (waits.first > ready) {
      return false;
    }
    waits.second.answer(ready);
    return true;
  });
}

void conductor::on(stock_low low) {
  // Refused: then it is lost, and the monitor says so.
  static_cast<void>(porters_[low.member - 1].send(provide{low.member, guest_book::stock_size}));
}

karyon::deferred<std::uint32_t> conductor::on(when_joined question) {
  if (question.members <= ground_->guests.ready()) {
    defer<std::uint32_t>().answer(ground_->guests.ready());
  } else {
    waiting_for_members_.emplace_back(question.members, defer<std::uint32_t>());
  }
  return {};
}

// A member that is lost is lost for good: what its symbols knew is told to others, in this process or at other members.
void conductor::on(const karyon::down& gone) {
  for (std::uint32_t member = 1; member <= porters_.size(); ++member) {
    if (porters_[member - 1] != gone.from) {
      continue;
    }
    if (ground_->ending.load(std::memory_order_relaxed)) {
      return;
    }
    for (const symbol_id id : ground_->guests.lose(member)) {
      ground_->symbols.move(id, ground_->new_symbol(id));
      forgot(id);
    }
  }
  advance();
  give_turns();
}

// All eyes are asked, and those that have told anything yet owe an answer. One that can not be reached is being restarted: it says that
// it is ready, which is answer enough, and will tell everything.
void conductor::start_wave() {
  ++wave_;
  auto wanted = std::make_shared<symbol_set>();
  wanted->members = std::exchange(forgetful_, {});
  forgetful_count_ = 0;
  for (eye_record& e : eyes_) {
    if (e.state == eye_state::looking || (e.state == eye_state::done && e.what == outcome::scanned)) {
      e.owes_answer = true;
      ++answers_owed_;
    }
  }
  ground_->groups.send_local(eyes_group, recall{std::move(wanted), wave_});
}

void conductor::advance() {
  while (answers_owed_ == 0 && symbols_expected_ == 0 && forgetful_count_ > 0) {
    start_wave();
  }
  if (!begun_ || answers_owed_ > 0 || symbols_expected_ > 0 || eyes_expected_ > 0 || done_ < eyes_.size()) {
    return;
  }
  for (karyon::promise<settlement>& promise : std::exchange(waiting_, {})) {
    settlement s;
    for (file_id file = 0; file < eyes_.size(); ++file) {
      s.outcomes.add(eyes_[file].what);
      if (is_problem(eyes_[file].what)) {
        s.problems.push_back({ground_->files[file], eyes_[file].what, eyes_[file].reason});
      }
    }
    promise.answer(std::move(s));
  }
}

}  // namespace karyon::tools
