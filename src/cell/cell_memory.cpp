#include <cstdint>
#include <new>

#include "cell/extras.hpp"

namespace karyon::detail {

// A block's header lies right before the memory it stands for; `padding` says how far the allocation began before the header.

void* cell_memory::do_allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t align = alignment < alignof(std::max_align_t) ? alignof(std::max_align_t) : alignment;
  const std::size_t total = bytes + sizeof(block) + (align - alignof(std::max_align_t));
  if (total < bytes) throw std::bad_alloc();
  if (quota != 0 && (total > quota || bytes_ > quota - total)) {
    over_quota_ = true;
    throw std::bad_alloc();
  }
  auto* raw = static_cast<std::byte*>(::operator new(total));
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t user = (start + sizeof(block) + align - 1) / align * align;
  auto* b = ::new (reinterpret_cast<void*>(user - sizeof(block)))
      block{nullptr, first_, total, static_cast<std::size_t>(user - sizeof(block) - start)};
  if (first_ != nullptr) first_->prev = b;
  first_ = b;
  bytes_ += total;
  if (bytes_ > peak_) peak_ = bytes_;
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

cell_memory::~cell_memory() {
  while (first_ != nullptr) {
    block* b = first_;
    first_ = b->next;
    ::operator delete(reinterpret_cast<std::byte*>(b) - b->padding);
  }
}

}  // namespace karyon::detail
