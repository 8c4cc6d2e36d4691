#include <utility>

#include <karyon/supervise/child_spec.hpp>

#include "supervise/node.hpp"

namespace karyon {

namespace detail {

namespace {
thread_local constinit start_note* noting = nullptr;
}  // namespace

start_note_scope::start_note_scope(start_note& note) noexcept : previous_(std::exchange(noting, &note)) {}
start_note_scope::~start_note_scope() { noting = previous_; }

}  // namespace detail

void start_info(std::any info) {
  if (detail::noting != nullptr) detail::noting->info = std::move(info);
}

}  // namespace karyon
