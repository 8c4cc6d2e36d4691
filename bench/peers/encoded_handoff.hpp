// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/karyon_driver.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

/// The scenario `handoff` for who passes a structure in an encoded form: two cells, since what is compared is the form and not the
/// mailbox. Each decodes what it gets, looks at it, and encodes what it has for the other one.
namespace karyon::bench {

/// The same edges as those of the organelle, as three columns: the shortest form that an encoding by values can have.
struct edge_columns {
  std::vector<std::uint32_t> source;
  std::vector<std::uint32_t> target;
  std::vector<std::int64_t> time;
};

inline edge_columns make_edges(std::uint64_t count) {
  edge_columns all;
  for (std::uint64_t i = 0; i < count; ++i) {
    all.source.push_back(static_cast<std::uint32_t>(i * 2654435761U));
    all.target.push_back(static_cast<std::uint32_t>(i * 40503U));
    all.time.push_back(static_cast<std::int64_t>(1700000000000000U + i * 1000));
  }
  return all;
}

struct encoded {
  std::string bytes;
  std::uint64_t left;
};

template <class Codec>
class encoding_holder;
template <class Codec>
struct encoding_partner {
  ref<encoding_holder<Codec>> other;
};
struct begin_with {
  std::uint64_t left;
};

/// Codec: `static std::string encode(const edge_columns&)` and `static edge_columns decode(const std::string&)`.
template <class Codec>
class encoding_holder : public cell {
public:
  using accepts = signals<encoding_partner<Codec>, begin_with, encoded>;
  explicit encoding_holder(edge_columns edges) : edges_(std::move(edges)) {}

  void on(encoding_partner<Codec> p) { partner_ = p.other; }
  void on(begin_with b) { partner_.send(encoded{Codec::encode(edges_), b.left - 1}); }
  void on(encoded e) {
    edges_ = Codec::decode(e.bytes);
    verify(!edges_.time.empty() && edges_.time.back() > 0, "the structure did not arrive");
    if (e.left == 0) {
      all_arrived.arrive();
    } else {
      partner_.send(encoded{Codec::encode(edges_), e.left - 1});
    }
  }

private:
  edge_columns edges_;
  ref<encoding_holder> partner_;
};

template <class Codec>
figure encoded_handoff(work const& asked) {
  set_log_level(log_level::off);  // handlers that encode for seconds are named there
  auto& rt = start_runtime(asked);
  auto const times = asked.option("times", 1);
  auto const a = rt.spawn<encoding_holder<Codec>>(make_edges(6'250'000));
  auto const b = rt.spawn<encoding_holder<Codec>>(edge_columns{});
  a.send(encoding_partner<Codec>{b});
  b.send(encoding_partner<Codec>{a});
  all_arrived.arm(1);
  auto const begin = now_ns();
  a.send(begin_with{2 * times});
  all_arrived.await();
  return {"ns", per(now_ns() - begin, times)};
}

}  // namespace karyon::bench
