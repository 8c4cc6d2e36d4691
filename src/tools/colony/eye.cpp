// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/eye.hpp"

#include <chrono>
#include <optional>
#include <utility>

#include "tools/colony/name_table.hpp"
#include "tools/colony/scanner.hpp"
#include "tools/colony/source_text.hpp"
#include "tools/colony/symbol.hpp"

namespace karyon::tools {

namespace {

// What an eye does in one handler: some 0.2 ms of work.
constexpr std::size_t uses_at_a_time = 1024;
constexpr std::size_t bytes_at_a_time = 65536;
constexpr std::chrono::milliseconds try_again_after{1};

}  // namespace

struct eye::reading {
  reading(std::string file_text, std::uint32_t its_turn) : text(std::move(file_text)), scan(text), turn(its_turn) {}

  struct name_state {
    child<symbol> who;
    symbol_id id = 0;
    std::uint32_t uses = 0;
    std::uint32_t last_line = 0;
  };
  struct numbered_use {
    std::uint32_t name = 0;
    std::uint32_t line = 0;
  };

  std::string text;
  scanner scan;
  name_table names;
  std::vector<name_state> states;  // by number of the name
  std::vector<numbered_use> uses;  // in order of the text
  std::uint32_t turn;
  std::optional<recall> question;  // came while reading; answered when all is read
};

// In the order in which it is to be told. An eye reads no further, and says nothing to the conductor, before all of it is told.
struct eye::backlog {
  struct item {
    symbol_id symbol = 0;
    std::uint32_t line = 0;
  };
  std::vector<item> items;
  std::size_t next = 0;
  std::optional<eye_done> done;
  std::optional<std::uint32_t> answered;  // this wave
};

eye::eye(colony_ground* ground, file_id file) noexcept : ground_(ground), file_(file) {}
eye::~eye() = default;

void eye::on_start() { static_cast<void>(ground_->lead.send(eye_ready{file_})); }

void eye::on(look turn) {
  source_text source = read_source(ground_->files[file_], ground_->file_bytes_max);
  reading_ = std::make_unique<reading>(std::move(source.text), turn.turn);
  if (source.what != outcome::scanned) {
    finish(source.what, std::move(source.reason));
  } else {
    on(look_on{});
  }
}

void eye::on(look_on) {
  reading& r = *reading_;
  const std::size_t stop = r.scan.consumed() + bytes_at_a_time;
  identifier_use found;
  std::uint64_t count = 0;
  while (count < uses_at_a_time && r.scan.consumed() < stop) {
    if (!r.scan.next(found)) {
      ground_->uses_told.fetch_add(count, std::memory_order_relaxed);
      remember();
      finish(outcome::scanned, {});
      return;
    }
    bool is_new = false;
    const std::uint32_t number = r.names.number_of(found.name, is_new);
    if (is_new) {
      const std::uint64_t hash = r.names.entries()[number].hash;
      const auto known =
          ground_->symbols.find_or_create(found.name, hash, [this](symbol_id id) { return ground_->new_symbol(id); });
      r.states.push_back({known.handle, known.id});
    }
    reading::name_state& state = r.states[number];
    if (state.last_line != found.line) {  // a second use on one line says nothing new
      state.last_line = found.line;
      ++state.uses;
      r.uses.push_back({number, found.line});
      tell(state.who, state.id, found.line);
      ++count;
    }
  }
  ground_->uses_told.fetch_add(count, std::memory_order_relaxed);
  if (backlog_ == nullptr) {
    static_cast<void>(self(this).send(look_on{}));
  }
}

// A symbol that can not be reached is being restarted, or its process is gone: what it has missed will be asked for.
void eye::tell(const child<symbol>& who, symbol_id id, std::uint32_t line) {
  if (backlog_ == nullptr) {
    if (who.send(use{file_, line}) != send_result::no_credit) {
      return;
    }
    backlog_ = std::make_unique<backlog>();
    send_after(self(this), tell_rest{}, try_again_after);
  }
  backlog_->items.push_back({id, line});
}

void eye::on(tell_rest) {
  for (backlog& b = *backlog_; b.next < b.items.size(); ++b.next) {
    const backlog::item& i = b.items[b.next];
    if (ground_->symbols.handle(i.symbol).send(use{file_, i.line}) == send_result::no_credit) {
      send_after(self(this), tell_rest{}, try_again_after);
      return;
    }
  }
  const std::unique_ptr<backlog> rest = std::move(backlog_);
  if (rest->answered) {
    say_answered(*rest->answered);
  }
  if (rest->done) {
    static_cast<void>(ground_->lead.send(std::move(*rest->done)));
  } else if (reading_ != nullptr) {
    on(look_on{});
  }
}

// Orders the uses by name, by counting.
void eye::remember() {
  const reading& r = *reading_;
  told_.clear();
  told_.reserve(r.states.size());
  std::uint32_t begin = 0;
  for (const reading::name_state& state : r.states) {
    told_.push_back({state.id, begin});
    begin += state.uses;
  }
  std::vector<std::uint32_t> next(told_.size());
  for (std::size_t i = 0; i < told_.size(); ++i) {
    next[i] = told_[i].begin;
  }
  std::vector<std::uint32_t>(begin).swap(lines_);
  for (const reading::numbered_use u : r.uses) {
    lines_[next[u.name]++] = u.line;
  }
}

void eye::finish(outcome what, std::string reason) {
  const std::unique_ptr<reading> r = std::move(reading_);
  if (r->question.has_value()) {
    answer(*r->question);
  }
  eye_done done{file_, r->turn, what, std::move(reason)};
  if (backlog_ != nullptr) {
    backlog_->done = std::move(done);
  } else {
    static_cast<void>(ground_->lead.send(std::move(done)));
  }
}

void eye::on(recall question) {
  if (reading_ != nullptr) {
    reading_->question = std::move(question);
  } else {
    answer(question);
  }
}

void eye::answer(const recall& question) {
  for (std::size_t i = 0; i < told_.size(); ++i) {
    if (question.wanted->contains(told_[i].symbol)) {
      const child<symbol> who = ground_->symbols.handle(told_[i].symbol);  // now: it may have moved since it was told
      for (std::uint32_t at = told_[i].begin; at < end_of(i); ++at) {
        tell(who, told_[i].symbol, lines_[at]);
      }
    }
  }
  if (backlog_ != nullptr) {
    backlog_->answered = question.wave;
  } else {
    say_answered(question.wave);
  }
}

void eye::say_answered(std::uint32_t wave) { static_cast<void>(ground_->lead.send(recall_answered{file_, wave})); }

std::uint32_t eye::end_of(std::size_t i) const noexcept {
  return i + 1 < told_.size() ? told_[i + 1].begin : static_cast<std::uint32_t>(lines_.size());
}

self_description eye::on(describe_yourself) {
  self_description d;
  for (std::size_t i = 0; i < told_.size(); ++i) {
    const std::uint64_t name = ground_->symbols.hash(told_[i].symbol);
    for (std::uint32_t at = told_[i].begin; at < end_of(i); ++at) {
      d.known.add(name, {file_, lines_[at]});
    }
  }
  const karyon::cell_stats s = stats();
  d.knowledge_bytes = told_.capacity() * sizeof(told) + lines_.capacity() * sizeof(std::uint32_t);
  d.node = s.node;
  d.worker = s.worker;
  return d;
}

}  // namespace karyon::tools
