// SPDX-License-Identifier: Apache-2.0
#include "algo/team.hpp"

#include <algorithm>

namespace rhizome {
namespace {

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Orders: round_ grows with release in dispatch and ~team, wait_while acquires it in serve: who sees a new round sees its task. busy_ falls
// with release in serve, dispatch acquires it: who sees that nobody is left sees what all members have written.

/// Waits until `word` is no longer `old`: passes follow each other within microseconds, sleeping and waking take ten.
void wait_while(const std::atomic<std::uint32_t>& word, std::uint32_t old) noexcept {
  for (int i = 0; i < 2'000; ++i) {
    if (word.load(std::memory_order_acquire) != old) {
      return;
    }
    pause();
  }
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

team::team(unsigned members) : size_(std::max(1U, members)) {
  threads_.reserve(size_ - 1);
  for (unsigned member = 1; member < size_; ++member) {
    threads_.emplace_back([this, member] { serve(member); });
  }
}

team::~team() {
  ending_ = true;
  round_.fetch_add(1, std::memory_order_release);  // pairs with the acquire of wait_while: `ending_`
  round_.notify_all();
  for (auto& thread : threads_) {
    thread.join();
  }
}

void team::dispatch(task call, void* context) {
  call_ = call;
  context_ = context;
  failure_ = nullptr;
  failed_.store(false, std::memory_order_relaxed);  // members see it through round_
  busy_.store(size_ - 1, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);  // pairs with the acquire of wait_while: the task, and all above
  round_.notify_all();
  call_guarded(0);
  // Acquire pairs with serve's releases: who sees 0 sees what all members have written, failure_ as well.
  for (auto left = busy_.load(std::memory_order_acquire); left != 0; left = busy_.load(std::memory_order_acquire)) {
    wait_while(busy_, left);
  }
  if (failure_) {
    std::rethrow_exception(failure_);
  }
}

void team::serve(unsigned member) {
  for (std::uint32_t seen = 0;; ++seen) {
    wait_while(round_, seen);
    if (ending_) {
      return;
    }
    call_guarded(member);
    // Release pairs with dispatch's acquire: what this member has written.
    if (busy_.fetch_sub(1, std::memory_order_release) == 1) {
      busy_.notify_one();
    }
  }
}

void team::call_guarded(unsigned member) noexcept {
  try {
    call_(context_, member);
  } catch (...) {
    if (!failed_.exchange(true, std::memory_order_relaxed)) {  // the owner reads failure_ after busy_
      failure_ = std::current_exception();
    }
  }
}

}  // namespace rhizome
