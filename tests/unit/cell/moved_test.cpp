// SPDX-License-Identifier: Apache-2.0
// Handler types that overrun again and again.
#include <semaphore>

#include "cell/overrun_desk.hpp"
#include "unit/cell/dirty_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

namespace {

struct grind {};
struct doze {};

/// Takes too long, as long as it is on a worker: until it has been found out.
class miller : public cell {
public:
  using accepts = signals<grind, doze, get>;
  miller() = default;
  explicit miller(std::counting_semaphore<>& bell) : bell_(&bell) {}
  std::string on(grind) {
    const std::uint64_t before = host().metrics().overruns;
    while (is_worker(thread_name()) && host().metrics().overruns == before) {
    }
    return thread_name();
  }
  std::string on(doze) {
    bell_->acquire();
    return thread_name();
  }
  std::string on(get) { return thread_name(); }

private:
  std::counting_semaphore<>* bell_ = nullptr;
};

runtime_options moving(std::uint32_t after, bool on = true) {
  runtime_options o = quiet(1);
  o.scheduler.watch.stacks = false;
  o.scheduler.watch.move = on;
  o.scheduler.watch.move_after = after;
  o.scheduler.watch.move_within = 1h;
  return o;
}

/// So many overruns of a miller.
void overrun_times(runtime& rt, ref<miller> m, std::uint64_t times) {
  const std::uint64_t until = rt.metrics().overruns + times;
  while (rt.metrics().overruns < until) REQUIRE(rt.ask(m, grind{}, long_time).has_value());
}

handler_report report_on(const runtime& rt, std::string_view signal) {
  for (handler_report& r : rt.handlers()) {
    if (r.cell_class.find("miller") != std::string::npos && r.signal.find(signal) != std::string::npos) return r;
  }
  return {};
}

}  // namespace

TEST_CASE(
    "a handler type that computes too long again and again is moved to the pool for computation, and said so once") {
  const runtime_options options = moving(3);
  const log_capture log;
  runtime rt(options);
  const auto m = rt.spawn<miller>();
  REQUIRE(eventually([&] {
    static_cast<void>(rt.ask(m, grind{}, long_time));
    return !rt.moved_handlers().empty();
  }));
  CHECK(is_cpu(rt.ask(m, grind{}, long_time).value()));
  CHECK(is_worker(rt.ask(m, get{}, long_time).value()));
  REQUIRE(rt.moved_handlers().size() == 1);
  CHECK(rt.moved_handlers().front().signal.find("grind") != std::string::npos);
  CHECK(eventually([&] { return rt.metrics().handlers_moved == 1; }));
  CHECK(report_on(rt, "grind").runs_on == execution::dirty_cpu);
  CHECK(report_on(rt, "grind").overruns >= 3);
  CHECK(report_on(rt, "get").runs_on == execution::worker);
  CHECK(eventually([&] { return log.with("have overrun 3 times").size() == 1; }));
}

TEST_CASE("a handler type that was moved back is not moved again") {
  runtime rt(moving(1));
  const auto m = rt.spawn<miller>();
  REQUIRE(eventually([&] {
    static_cast<void>(rt.ask(m, grind{}, long_time));
    return !rt.moved_handlers().empty();
  }));
  CHECK(rt.move_back(rt.moved_handlers().front()));
  CHECK(report_on(rt, "grind").runs_on == execution::worker);
  overrun_times(rt, m, 5);
  CHECK(rt.moved_handlers().empty());
  CHECK(is_worker(rt.ask(m, grind{}, long_time).value()));
  CHECK(rt.metrics().handlers_moved == 1);
}

TEST_CASE("a handler type that blocks again and again is moved as well") {
  runtime rt(moving(3));
  std::counting_semaphore<> bell{0};
  const auto m = rt.spawn<miller>(std::ref(bell));
  REQUIRE(eventually([&] {
    const std::uint64_t before = rt.metrics().overruns;
    auto asked = rt.ask_async(m, doze{});
    CHECK(eventually([&] { return rt.metrics().overruns > before || !rt.moved_handlers().empty(); }));
    bell.release();
    CHECK(asked.get(long_time).has_value());
    return !rt.moved_handlers().empty();
  }));
  bell.release();
  CHECK(is_cpu(rt.ask(m, doze{}, long_time).value()));
}

TEST_CASE("where moving is off, or the overruns are too far apart, handlers stay on workers") {
  runtime_options options = moving(1, false);
  SECTION("off") {}
  SECTION("far apart") {
    options = moving(2);
    options.scheduler.watch.move_within = 1ms;  // what overruns a limit of a millisecond does not do so twice in one
  }
  const log_capture log;
  runtime rt(options);
  const auto m = rt.spawn<miller>();
  overrun_times(rt, m, 6);
  CHECK(rt.moved_handlers().empty());
  CHECK(rt.metrics().handlers_moved == 0);
  CHECK(is_worker(rt.ask(m, grind{}, long_time).value()));
  CHECK(log.with("dirty CPU pool").empty());
}

TEST_CASE("overruns that are known to be the handler's own doing count for a move, and all count") {
  set_log_level(log_level::off);
  watch_options options;
  options.move_after = 4;
  std::vector<const detail::handler_site*> moved;
  detail::overrun_desk desk(options, [&](detail::handler_site& site) {
    moved.push_back(&site);
    return true;
  });
  detail::overrun o;
  o.what = &detail::tell_ops<miller, grind>;
  for (int i = 0; i < 100; ++i) desk.begins(o);
  CHECK(moved.empty());  // nobody knows that it was not the system's doing
  o.own_ns = 500'000;
  for (int i = 0; i < 3; ++i) desk.begins(o);
  CHECK(moved.empty());
  desk.begins(o);
  CHECK(moved == std::vector<const detail::handler_site*>{&detail::site_of<miller, grind>});
  CHECK(desk.moved() == 1);
  CHECK(desk.reports([](const detail::handler_site&) { return execution::worker; }).at(0).overruns == 104);
}

TEST_CASE("options for moving that make no sense are refused with a sentence") {
  const auto refused = [](auto change) -> std::string {
    runtime_options o = moving(1);
    change(o.scheduler.watch);
    try {
      const runtime rt(o);
    } catch (const runtime_error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(refused([](watch_options& w) { w.move_after = 0; }).find("move_after") != std::string::npos);
  CHECK(refused([](watch_options& w) { w.move_after = 1'000'001; }).find("move_after") != std::string::npos);
  CHECK(refused([](watch_options& w) { w.move_within = 0ms; }).find("move_within") != std::string::npos);
  CHECK(refused([](watch_options& w) { w.move_within = 2h; }).find("move_within") != std::string::npos);
}
