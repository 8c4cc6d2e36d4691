// SPDX-License-Identifier: Apache-2.0
#include <karyon/organelle/rhizome_steps.h>

#include <array>
#include <compare>
#include <memory>
#include <string>

#include "algo/query.hpp"
#include "module/functions.hpp"
#include "module/objects.hpp"

namespace rhizome::module {
namespace {

/// Stages put together while the program runs.
class any_stage {
public:
  template <class Stage>
  explicit any_stage(Stage stage) : held_(std::make_unique<holding<Stage>>(std::move(stage))) {}
  [[nodiscard]] std::size_t columns() const noexcept { return held_->columns(); }
  bool pull(detail::batch& out, detail::demand want, budget& allowed) { return held_->pull(out, want, allowed); }

private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual std::size_t columns() const noexcept = 0;
    virtual bool pull(detail::batch& out, detail::demand want, budget& allowed) = 0;
  };
  template <class Stage>
  struct holding final : base {
    explicit holding(Stage s) : stage(std::move(s)) {}
    std::size_t columns() const noexcept override { return stage.columns(); }
    bool pull(detail::batch& out, detail::demand want, budget& allowed) override {
      return stage.pull(out, want, allowed);
    }
    Stage stage;
  };
  std::unique_ptr<base> held_;
};

/// A property of the vertex where a row is, held against a value.
class condition {
public:
  static result<condition> of(const snapshot& s, point at, const rhizome_step& step, std::string_view texts) {
    if (step.name >= property_keys_max || step.compare > RHIZOME_PRESENT || step.type > RHIZOME_TEXT) {
      return fail(errc::invalid_argument, "a condition names a property's key, a comparison and a type that there are");
    }
    value wanted = step.number;
    if (step.type == RHIZOME_REAL) wanted = step.real;
    if (step.type == RHIZOME_TEXT) {
      const auto bytes = static_cast<std::uint64_t>(step.number);
      if (step.text_at > texts.size() || bytes > texts.size() - step.text_at) {
        return fail(errc::invalid_argument, "a condition's text lies outside of the query's texts");
      }
      wanted = std::string(texts.substr(step.text_at, bytes));
    }
    return condition(s, at, static_cast<property_key>(step.name), step.compare, std::move(wanted));
  }
  [[nodiscard]] bool operator()(vertex v) const {
    const auto found = from_.property(v, key_, at_.commit, at_.moment);
    if (!found || std::holds_alternative<std::monostate>(*found)) return false;
    if (compare_ == RHIZOME_PRESENT) return true;
    if (found->index() != wanted_.index()) return false;
    switch (compare_) {
      case RHIZOME_EQUAL: return *found == wanted_;
      case RHIZOME_NOT_EQUAL: return *found != wanted_;
      case RHIZOME_LESS: return *found < wanted_;
      default: return *found > wanted_;
    }
  }

private:
  condition(const snapshot& s, point at, property_key key, std::uint32_t compare, value wanted)
      : from_(s), at_(at), key_(key), compare_(compare), wanted_(std::move(wanted)) {}

  snapshot from_;
  point at_;
  property_key key_;
  std::uint32_t compare_;
  value wanted_;
};

/// The stages of a query's steps, over one another.
class plan {
public:
  plan(const snapshot& s, any_stage beginning)
      : snapshot_(s), at_{s.commit(), std::nullopt, std::nullopt}, stage_(std::move(beginning)) {}

  [[nodiscard]] result<void> add(const rhizome_step& step, std::string_view texts) {
    switch (step.kind) {
      case RHIZOME_OUT: return along(step, direction::out);
      case RHIZOME_IN: return along(step, direction::in);
      case RHIZOME_AS_OF: return as_of(step);
      case RHIZOME_VALID_AT: at_.moment = step.number; return {};
      case RHIZOME_WHERE: {
        RHIZOME_TRY(condition keep, condition::of(snapshot_, at_, step, texts));
        stage_ = any_stage(detail::filter_stage<any_stage, condition>(std::move(stage_), std::move(keep)));
        return {};
      }
      case RHIZOME_KEEP: stage_ = any_stage(detail::keep_stage<any_stage>(std::move(stage_))); return {};
      case RHIZOME_DISTINCT: stage_ = any_stage(detail::distinct_stage<any_stage>(std::move(stage_))); return {};
      case RHIZOME_LIMIT:
        if (step.number < 0) return fail(errc::invalid_argument, "a query's limit is not negative");
        stage_ = any_stage(detail::limit_stage<any_stage>(std::move(stage_), static_cast<std::uint64_t>(step.number)));
        return {};
      default: return fail(errc::invalid_argument, "a query has no step of kind " + std::to_string(step.kind));
    }
  }
  [[nodiscard]] any_stage take() && { return std::move(stage_); }
  [[nodiscard]] std::vector<lease> leases() && { return std::move(leases_); }

private:
  result<void> along(const rhizome_step& step, direction way) {
    if (step.name >= labels_max) return fail(errc::invalid_argument, "a query's label is out of range");
    const auto arcs = static_cast<label>(step.name);
    if (at_.moment) {
      RHIZOME_TRY(valid_view there, valid_view_of(snapshot_, arcs, at_, way));
      stage_ = any_stage(detail::expand_stage<any_stage, valid_view>(std::move(stage_), std::move(there)));
    } else {
      RHIZOME_TRY(view there, snapshot_.as_of(at_.commit, arcs, way));
      stage_ = any_stage(detail::expand_stage<any_stage, view>(std::move(stage_), std::move(there)));
    }
    return {};
  }
  result<void> as_of(const rhizome_step& step) {
    if (step.number < 0 || step.number > std::int64_t{newest_commit}) {
      return fail(errc::invalid_argument, "a query's commit is out of range");
    }
    const auto commit = static_cast<commit_number>(step.number);
    RHIZOME_TRY(lease held, snapshot_.keep(commit));  // for conditions: views hold their own
    leases_.push_back(std::move(held));
    at_.commit = commit;
    return {};
  }

  snapshot snapshot_;
  point at_;
  any_stage stage_;
  std::vector<lease> leases_;
};

/// A query under way, with the history that its steps look at.
template <bool Keep>
struct kept_query {
  kept_query(any_stage stage, std::vector<lease> held) : leases(std::move(held)), cursor(std::move(stage)) {}
  progress step(budget& allowed) { return cursor.step(allowed); }
  std::vector<lease> leases;
  query_cursor<any_stage, Keep> cursor;
};

/// query(snapshot, V start of 32-bit vertices (none: all), v steps, V texts, B count) -> C rows: a column for each step that was kept, "0",
/// "1" and so on, and "at", where the rows ended; u number of rows. With count: no columns.
karyon_status run_query(karyon_call* call) {
  return resumable(call, [call]() -> result<std::unique_ptr<running>> {
    RHIZOME_TRY(snapshot_object * s, object<snapshot_object>(call, 0));
    RHIZOME_TRY(const auto steps, elements<rhizome_step>::of(call, 2, "the steps"));
    const std::string_view texts = has(call, 3) ? text(call, 3) : std::string_view();
    constexpr std::size_t steps_max = 1'000;  // each is a level of calls
    if (steps.list().size() > steps_max) return fail(errc::limit, "a query has at most 1000 steps");
    any_stage beginning{detail::all_stage(s->held.vertices())};
    if (has(call, 1)) {
      RHIZOME_TRY(const auto start, elements<vertex>::of(call, 1, "the start"));
      beginning = any_stage(detail::list_stage({start.list().begin(), start.list().end()}, s->held.vertices()));
    }
    plan made(s->held, std::move(beginning));
    for (const rhizome_step& step : steps.list()) RHIZOME_CHECK(made.add(step, texts));
    auto leases = std::move(made).leases();
    if (has(call, 4) && call->arguments[4].as.u64 != 0) {
      auto work = std::make_shared<kept_query<false>>(std::move(made).take(), std::move(leases));
      return run(work, [](karyon_call* to, const auto& done) -> result<void> {
        give_none(to);
        give(to, done->cursor.count());
        return {};
      });
    }
    auto work = std::make_shared<kept_query<true>>(std::move(made).take(), std::move(leases));
    return run(work, [](karyon_call* to, const auto& done) -> result<void> {
      query_rows rows = std::move(done->cursor).rows();
      const std::uint64_t count = rows.size();
      std::vector<std::string> names;
      for (std::size_t i = 0; i + 1 < rows.columns(); ++i) names.push_back(std::to_string(i));
      names.emplace_back("at");
      RHIZOME_TRY(const arrow_table table, std::move(rows).to_arrow(names));
      RHIZOME_CHECK(give_columns(to, table));
      give(to, count);
      return {};
    });
  });
}

constexpr std::array query_rows{
    karyon_function{"query", "rVvVB", "Cu", &run_query, unknown, KARYON_RUN_AUTO, KARYON_RESUMABLE},
};

}  // namespace

std::span<const karyon_function> query_functions() noexcept { return query_rows; }

}  // namespace rhizome::module
