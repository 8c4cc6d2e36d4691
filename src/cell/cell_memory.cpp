#include <cstdint>
#include <new>

#include "cell/extras.hpp"

namespace karyon::detail {

void cell_memory::check_quota(std::size_t more) {
  if (quota == 0 || (more <= quota && bytes_ <= quota - more)) return;
  over_quota_ = true;
  throw std::bad_alloc();
}

// A block's header lies right before the memory it stands for; `padding` says how far the allocation began before the header.

void* cell_memory::do_allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t align = alignment < alignof(std::max_align_t) ? alignof(std::max_align_t) : alignment;
  const std::size_t total = bytes + sizeof(block) + (align - alignof(std::max_align_t));
  if (total < bytes) throw std::bad_alloc();
  check_quota(total);
  auto* raw = static_cast<std::byte*>(::operator new(total));
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t user = (start + sizeof(block) + align - 1) / align * align;
  auto* b = ::new (reinterpret_cast<void*>(user - sizeof(block)))
      block{nullptr, first_, total, static_cast<std::size_t>(user - sizeof(block) - start)};
  if (first_ != nullptr) first_->prev = b;
  first_ = b;
  count(total);
  return reinterpret_cast<void*>(user);
}

void cell_memory::do_deallocate(void* p, std::size_t, std::size_t) {
  auto* b = reinterpret_cast<block*>(static_cast<std::byte*>(p) - sizeof(block));
  if (b->prev != nullptr) {
    b->prev->next = b->next;
  } else {
    first_ = b->next;
  }
  if (b->next != nullptr) b->next->prev = b->prev;
  bytes_ -= b->bytes;
  ::operator delete(reinterpret_cast<std::byte*>(b) - b->padding);
}

void* cell_memory::allocate_frame(std::size_t bytes) {
  const std::size_t total = bytes + sizeof(frame_block);
  check_quota(total);
  auto* b = ::new (allocate_signal(total)) frame_block{nullptr, first_frame_, total, this};
  if (first_frame_ != nullptr) first_frame_->prev = b;
  first_frame_ = b;
  count(total);
  return b + 1;
}

void cell_memory::free_frame(void* frame) noexcept {
  auto* b = static_cast<frame_block*>(frame) - 1;
  cell_memory& owner = *b->owner;
  if (b->prev != nullptr) {
    b->prev->next = b->next;
  } else {
    owner.first_frame_ = b->next;
  }
  if (b->next != nullptr) b->next->prev = b->prev;
  owner.bytes_ -= b->bytes;
  free_signal(b, b->bytes);
}

cell_memory::~cell_memory() {
  while (first_frame_ != nullptr) {  // of a task that the cell has lost
    frame_block* b = first_frame_;
    first_frame_ = b->next;
    free_signal(b, b->bytes);
  }
  while (first_ != nullptr) {
    block* b = first_;
    first_ = b->next;
    ::operator delete(reinterpret_cast<std::byte*>(b) - b->padding);
  }
}

}  // namespace karyon::detail
