// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <karyon/cell/cell.hpp>

namespace karyon::tests {

struct question {};

/// Never answers, and keeps the right to.
class mute : public cell {
public:
  using accepts = signals<question>;
  deferred<int> on(question) {
    kept_.push_back(defer<int>());
    return {};
  }

private:
  std::vector<promise<int>> kept_;
};

}  // namespace karyon::tests
