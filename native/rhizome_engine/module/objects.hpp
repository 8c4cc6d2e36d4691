// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "algo/arrow.hpp"
#include "algo/budget.hpp"
#include "durable/durable_store.hpp"
#include "module/bridge.hpp"
#include "store/store.hpp"

/// What hosts hold handles of.
namespace rhizome::module {

/// A store, in memory alone or kept in a directory. Any thread.
class graph_object {
public:
  static constexpr const char* type_name = "rhizome.graph";
  explicit graph_object(store s) noexcept : memory_(std::move(s)) {}
  explicit graph_object(durable_store d) noexcept : disk_(std::move(d)) {}

  [[nodiscard]] store& graph() noexcept { return disk_ ? disk_->graph() : *memory_; }
  /// Null in memory alone. Its commits wait for the disk.
  [[nodiscard]] durable_store* durable() noexcept { return disk_ ? &*disk_ : nullptr; }

private:
  std::optional<store> memory_;
  std::optional<durable_store> disk_;
};

/// A transaction under way, which keeps its graph. One call at a time uses it; a second one at the same time is refused.
struct transaction_object {
  static constexpr const char* type_name = "rhizome.transaction";
  transaction_object(transaction t, graph_object* g) noexcept : changes(std::move(t)), graph(g) { host->keep(g); }
  ~transaction_object() {
    changes.abort();  // it holds a pin of the graph, which goes only then
    host->release(graph);
  }
  transaction_object(const transaction_object&) = delete;
  transaction_object& operator=(const transaction_object&) = delete;

  transaction changes;
  graph_object* const graph;
  std::atomic<bool> in_use{false};
  std::atomic<std::size_t> size{0};  // of `changes`, as of the last call: for estimates, which may come beside a call
};

/// A transaction for the time of one call.
class used_transaction {
public:
  [[nodiscard]] static result<used_transaction> of(const karyon_call* call, std::uint32_t i) {
    RHIZOME_TRY(transaction_object * t, object<transaction_object>(call, i));
    // Acquire pairs with the destructor's release: what one call wrote into the transaction the next one sees, whatever thread it is on.
    if (t->in_use.exchange(true, std::memory_order_acquire)) {
      return fail(errc::conflict,
                  "another call uses this transaction at this moment: a transaction belongs to one cell");
    }
    return used_transaction(t);
  }
  used_transaction(used_transaction&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  used_transaction& operator=(used_transaction&&) = delete;
  ~used_transaction() {
    if (object_ == nullptr) return;
    object_->size.store(object_->changes.size(), std::memory_order_relaxed);
    object_->in_use.store(false, std::memory_order_release);  // pairs with of()'s acquire: what this call wrote
  }
  [[nodiscard]] transaction* operator->() const noexcept { return &object_->changes; }
  [[nodiscard]] bool is_durable() const noexcept { return object_->graph->durable() != nullptr; }

private:
  explicit used_transaction(transaction_object* t) noexcept : object_(t) {}
  transaction_object* object_;
};

/// A snapshot. Any thread.
struct snapshot_object {
  static constexpr const char* type_name = "rhizome.snapshot";
  snapshot_object(snapshot s, arcs_kind k) noexcept : held(std::move(s)), kind(k) {}
  const snapshot held;
  const arcs_kind kind;
};

/// Targets of a vertex, where they lie or copied, and what keeps them.
struct targets_object {
  static constexpr const char* type_name = "rhizome.targets";
  explicit targets_object(view v) noexcept : from(std::move(v)) {}
  view from;
  std::vector<vertex> room;
};

struct text_object {
  static constexpr const char* type_name = "rhizome.text";
  explicit text_object(std::string t) noexcept : text(std::move(t)) {}
  const std::string text;
};

struct vertices_object {
  static constexpr const char* type_name = "rhizome.vertices";
  explicit vertices_object(std::vector<vertex> l) noexcept : list(std::move(l)) {}
  const std::vector<vertex> list;
};

/// Columns in Arrow's layout.
struct columns_object {
  static constexpr const char* type_name = "rhizome.columns";
  columns_object() = default;
  ~columns_object() {
    if (schema.release != nullptr) schema.release(&schema);
    if (array.release != nullptr) array.release(&array);
  }
  columns_object(const columns_object&) = delete;
  columns_object& operator=(const columns_object&) = delete;
  ArrowSchema schema{};
  ArrowArray array{};
};

[[nodiscard]] result<void> give_columns(karyon_call* call, const arrow_table& table);
/// A value as it was recorded: a text as a view with an owner of its own.
void give_value(karyon_call* call, value v);

// ---- what takes long ---------------------------------------------------------------------------------------------------

/// Work in steps, and what becomes of it.
class running {
public:
  running() = default;
  running(const running&) = delete;
  running& operator=(const running&) = delete;
  virtual ~running() = default;
  virtual progress step(budget& allowed) = 0;
  [[nodiscard]] virtual result<void> finish(karyon_call* call) = 0;
};

struct cursor_object {
  static constexpr const char* type_name = "rhizome.cursor";
  explicit cursor_object(std::unique_ptr<running> w) noexcept : work(std::move(w)) {}
  const std::unique_ptr<running> work;
};

/// Finish: result<void>(karyon_call*, std::shared_ptr<const Algorithm>), which may keep the algorithm for its columns.
template <class Algorithm, class Finish>
[[nodiscard]] std::unique_ptr<running> run(std::shared_ptr<Algorithm> algorithm, Finish finish) {
  class one final : public running {
  public:
    one(std::shared_ptr<Algorithm> a, Finish f) : algorithm_(std::move(a)), finish_(std::move(f)) {}
    progress step(budget& allowed) override { return algorithm_->step(allowed); }
    result<void> finish(karyon_call* call) override { return finish_(call, algorithm_); }

  private:
    std::shared_ptr<Algorithm> algorithm_;
    Finish finish_;
  };
  return std::make_unique<one>(std::move(algorithm), std::move(finish));
}

/// Steps until it is done, the call's budget is spent, or nobody waits any more.
[[nodiscard]] progress drive(running& work, const karyon_call* call);

/// A resumable function: `make()` gives a result<std::unique_ptr<running>> at the first call.
template <class Make>
karyon_status resumable(karyon_call* call, Make&& make) noexcept {
  return guarded(call, [&]() -> result<progress> {
    std::unique_ptr<running> fresh;
    running* work = nullptr;
    if (call->cursor == nullptr) {
      RHIZOME_TRY(fresh, make());
      work = fresh.get();
    } else if (host->type_of(call->cursor) == &resource<cursor_object>::type) {
      work = static_cast<cursor_object*>(call->cursor)->work.get();
    } else {
      return fail(errc::invalid_argument, "the cursor is not one of this engine");
    }
    const progress came = drive(*work, call);
    if (came == progress::done) {
      RHIZOME_CHECK(work->finish(call));
    } else if (came == progress::more && fresh != nullptr) {
      call->cursor = make_resource<cursor_object>(std::move(fresh));
    }
    return came;
  });
}

// ---- which graph -------------------------------------------------------------------------------------------------------

/// A point on both time axes. From two optional arguments: a commit (none: the snapshot's), a valid time (none: any). A third one, which
/// stands elsewhere, makes of the valid time a window: [moment, until).
struct point {
  commit_number commit = 0;
  std::optional<time_us> moment;
  std::optional<time_us> until;
};
[[nodiscard]] result<point> point_at(const karyon_call* call, std::uint32_t i, const snapshot& s,
                                     std::uint32_t until = KARYON_NO_ARGUMENT);
/// The arcs that were true at the point's moment, which it has, or at some moment of its window.
[[nodiscard]] result<valid_view> valid_view_of(const snapshot& s, label arcs, const point& at, direction way);
[[nodiscard]] result<label> label_at(const karyon_call* call, std::uint32_t i);
/// The way of arcs: 0 out, 1 in.
[[nodiscard]] result<direction> direction_at(const karyon_call* call, std::uint32_t i);

/// f(out, in) with views of that point. Not `Prepared`: as they are, for what looks at a few vertices; preparing takes a pass over all.
template <bool Prepared = true, class F>
auto with_views(const snapshot& s, label arcs, point at, F&& f)
    -> decltype(f(s.newest(arcs, direction::out), s.newest(arcs, direction::in))) {
  if (at.moment) {
    RHIZOME_TRY(valid_view out, valid_view_of(s, arcs, at, direction::out));
    RHIZOME_TRY(valid_view in, valid_view_of(s, arcs, at, direction::in));
    return f(std::move(out), std::move(in));
  }
  if (at.commit == s.commit()) return f(s.newest(arcs, direction::out), s.newest(arcs, direction::in));
  RHIZOME_TRY(view out, s.as_of(at.commit, arcs, direction::out));
  RHIZOME_TRY(view in, s.as_of(at.commit, arcs, direction::in));
  if constexpr (!Prepared)
    return f(std::move(out), std::move(in));
  else
    return f(out.prepare(), in.prepare());
}

}  // namespace rhizome::module
