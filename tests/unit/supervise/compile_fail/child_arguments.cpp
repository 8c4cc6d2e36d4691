// SPDX-License-Identifier: Apache-2.0
// A child is constructed again at each restart, from copies: what can not be copied is no argument, and the compiler says so.
#include <memory>
#include <utility>

#include <karyon/supervise/supervisor.hpp>

struct listed {};

class owner : public karyon::cell {
public:
  using accepts = karyon::signals<listed>;
#ifdef KARYON_CONTROL
  explicit owner(std::shared_ptr<int> what) : what_(std::move(what)) {}
#else
  explicit owner(std::unique_ptr<int> what) : what_(std::move(what)) {}
#endif
  void on(listed) {}

private:
  std::shared_ptr<int> what_;
};

#ifdef KARYON_CONTROL
void start(karyon::supervisor team) { team.start<owner>(std::make_shared<int>(1)); }
#else
void start(karyon::supervisor team) { team.start<owner>(std::make_unique<int>(1)); }
#endif
