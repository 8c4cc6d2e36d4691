// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <vector>

#include <karyon/cell/broadcast.hpp>

#include "cell_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

struct figure {
  int value;
};
struct text {
  std::shared_ptr<const std::string> words;
};

class listener : public cell {
public:
  using accepts = signals<figure, text>;
  listener(std::atomic<int>& sum, std::atomic<std::size_t>& letters) : sum_(&sum), letters_(&letters) {}
  void on(figure n) { sum_->fetch_add(n.value); }
  void on(const text& t) { letters_->fetch_add(t.words->size()); }

private:
  std::atomic<int>* sum_;
  std::atomic<std::size_t>* letters_;
};

class crammed : public cell {
public:
  using accepts = signals<figure>;
  static constexpr std::size_t mailbox_limit = 1;
  explicit crammed(const door& d) : door_(&d) {}
  void on(figure) { door_->pass(); }

private:
  const door* door_;
};

}  // namespace

TEST_CASE("a broadcast reaches each receiver once, from a thread") {
  std::atomic<int> sum{0};
  std::atomic<std::size_t> letters{0};
  runtime rt(quiet());
  std::vector<ref<listener>> all;
  for (int i = 0; i < 1'000; ++i) all.push_back(rt.spawn<listener>(sum, letters));
  all.push_back(rt.spawn_at<listener>(placement::on_worker(0), sum, letters));
  const auto sent = broadcast(all, figure{3});
  CHECK(sent.accepted == 1'001);
  CHECK(sent.refused == 0);
  CHECK(eventually([&] { return sum == 3'003; }));
  // Not trivially copyable: one payload is shared by all.
  const auto words = std::make_shared<const std::string>("signal");
  CHECK(broadcast(all, text{words}).accepted == 1'001);
  CHECK(eventually([&] { return letters == 6'006; }));
  CHECK(eventually([&] { return words.use_count() == 1; }));
}

TEST_CASE("a broadcast to nobody, to the dead and to the full is counted") {
  std::atomic<int> sum{0};
  std::atomic<std::size_t> letters{0};
  runtime rt(quiet());
  CHECK(broadcast(std::vector<ref<listener>>{}, figure{1}).accepted == 0);
  const auto gone = rt.spawn<listener>(sum, letters);
  rt.exit(gone, exit_reason::killed());
  REQUIRE(eventually([&] { return !gone.alive(); }));
  const std::vector<ref<listener>> some{gone, rt.spawn<listener>(sum, letters), ref<listener>()};
  const auto sent = broadcast(some, figure{5});
  CHECK(sent.accepted == 1);
  CHECK(sent.refused == 2);
  CHECK(eventually([&] { return sum == 5; }));

  door d;
  const auto full = rt.spawn<crammed>(d);
  const std::vector<ref<crammed>> again(10, full);
  const auto crowded = broadcast(again, figure{1});
  CHECK(crowded.accepted + crowded.refused == 10);
  CHECK(crowded.accepted >= 1);
  CHECK(crowded.refused >= 8);  // one being handled and one waiting at the most
  d.open();
}
