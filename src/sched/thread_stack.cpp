#include "sched/thread_stack.hpp"

#include <cxxabi.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>

#include "sched/parker.hpp"

namespace karyon::detail {

namespace {

/// One question at a time, to one thread.
///
///   state    idle -> asked: the thread's number, above 0   who wants to know
///            asked -> answering                            the handler, on the thread of that very number
///            answering -> done                             the handler
///            asked, done -> idle                           who wants to know
///
/// The number is in the word itself, so that a thread whose signal comes after its question was given up does not answer for another.
///
/// Orders: the release of ask pairs with the acquire of answer: the frames of the question before have been read. The release of
/// answer pairs with the acquire of ask: who sees it done sees the frames.
struct question {
  enum state : int { idle = 0, answering = -1, done = -2 };
  std::atomic<int> state{idle};
  std::array<void*, 48> frames{};
  int count = 0;
};

question& current() noexcept {
  static question q;
  return q;
}

void answer(int) {
  const int saved = errno;
  question& q = current();
  int asked = gettid();
  if (q.state.compare_exchange_strong(asked, question::answering, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
    // While an exception is on its way the unwinder may be about to leave its own frames, with their registers overwritten: a
    // second walk from there ends nowhere.
    q.count = std::uncaught_exceptions() != 0 ? 0 : backtrace(q.frames.data(), static_cast<int>(q.frames.size()));
    q.state.store(question::done, std::memory_order_release);
  }
  errno = saved;
}

/// Takes the signal for as long as it lives, if nobody else has it.
class borrowed_signal {
public:
  borrowed_signal() noexcept {
    struct sigaction mine {};
    mine.sa_handler = &answer;
    mine.sa_flags = SA_RESTART;
    sigemptyset(&mine.sa_mask);
    if (sigaction(SIGURG, nullptr, &before_) != 0) return;
    if ((before_.sa_flags & SA_SIGINFO) != 0 || (before_.sa_handler != SIG_DFL && before_.sa_handler != SIG_IGN))
      return;
    taken_ = sigaction(SIGURG, &mine, nullptr) == 0;
  }
  ~borrowed_signal() {
    if (taken_) sigaction(SIGURG, &before_, nullptr);
  }
  borrowed_signal(const borrowed_signal&) = delete;
  borrowed_signal& operator=(const borrowed_signal&) = delete;
  [[nodiscard]] bool taken() const noexcept { return taken_; }

private:
  struct sigaction before_ {};
  bool taken_ = false;
};

/// Asks the thread, and waits until it has answered or 5 ms have passed.
bool ask(question& q, int tid) {
  q.state.store(tid, std::memory_order_release);
  const std::uint64_t give_up_ns = monotonic_ns() + 5'000'000;
  if (syscall(SYS_tgkill, getpid(), tid, SIGURG) == 0) {
    while (q.state.load(std::memory_order_acquire) != question::done) {
      int asked = tid;
      if (monotonic_ns() >= give_up_ns &&
          q.state.compare_exchange_strong(asked, question::idle, std::memory_order_relaxed)) {
        return false;
      }
      const timespec pause{0, 20'000};
      nanosleep(&pause, nullptr);
    }
    q.state.store(question::idle, std::memory_order_relaxed);
    return true;
  }
  q.state.store(question::idle, std::memory_order_relaxed);
  return false;
}

/// "program(_ZN3foo3barEv+0x12) [0x55...]" with the name as people write it.
std::string readable(const char* line) {
  std::string text(line);
  const std::size_t open = text.find('(');
  const std::size_t plus = text.find('+', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || plus == std::string::npos || plus <= open + 1) return text;
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(text.substr(open + 1, plus - open - 1).c_str(), nullptr, nullptr, &status), &std::free);
  if (status == 0) text.replace(open + 1, plus - open - 1, name.get());
  return text;
}

}  // namespace

std::string stack_of_thread(int tid) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  question& q = current();
  std::array<void*, 1> first{};
  static_cast<void>(backtrace(first.data(), 1));  // loads what it needs here, not in the handler
  const borrowed_signal signal;
  if (!signal.taken() || !ask(q, tid)) return {};
  const std::unique_ptr<char*, void (*)(void*)> lines(backtrace_symbols(q.frames.data(), q.count), &std::free);
  if (lines == nullptr) return {};
  std::string text;
  constexpr int own = 2;  // the handler, and what the system called it by
  for (int i = own; i < q.count; ++i) text.append("    ").append(readable(lines.get()[i])).append("\n");
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace karyon::detail
