#pragma once

#include <string>

#include <karyon/core/export.hpp>

namespace karyon::detail {

/// What a thread of this process is doing: its call stack, a line a frame, names as far as the program exports them. Empty
/// where it can not be had: the program has a handler of its own for SIGURG, the thread does not answer within 5 ms,
/// or it has thrown what has not been caught yet.
///
/// The thread is interrupted by SIGURG, whose handler walks the stack (backtrace(3)) and is put back afterwards. A system
/// call that the thread is blocked in may return EINTR where the system can not restart it. One caller at a time; throws
/// std::bad_alloc.
[[nodiscard]] KARYON_API std::string stack_of_thread(int tid);

}  // namespace karyon::detail
