#include <utility>

#include <karyon/supervise/child_spec.hpp>

#include "cell/lifecycle.hpp"
#include "supervise/node.hpp"

namespace karyon {

namespace detail {

namespace {
thread_local constinit start_note* noting = nullptr;
thread_local constinit const cell_slot* noted = nullptr;  // the slot whose constructor writes
}  // namespace

start_note_scope::start_note_scope(start_note& note, const cell_slot& of) noexcept
    : previous_note_(std::exchange(noting, &note)), previous_of_(std::exchange(noted, &of)) {}
start_note_scope::~start_note_scope() {
  noting = previous_note_;
  noted = previous_of_;
}

}  // namespace detail

void start_info(std::any info) {
  if (detail::noting != nullptr && detail::slot_under_construction() == detail::noted) {
    detail::noting->info = std::move(info);
  }
}

}  // namespace karyon
