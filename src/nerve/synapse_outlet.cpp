// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_outlet.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace karyon::detail {

outlet::outlet(std::uint64_t slots)
    : mask_(std::bit_ceil(std::max<std::uint64_t>(slots, 2)) - 1),
      // Zeroed by the system, page by page as they are touched: a peer that is sent little takes little.
      ring_(static_cast<slot*>(std::calloc(mask_ + 1, sizeof(slot)))) {
  if (ring_ == nullptr) throw std::bad_alloc();
}

frame_fate outlet::put(std::uint64_t incarnation, const frame_header& header, std::span<const std::byte> payload,
                       std::uint32_t now_us) noexcept {
  const std::uint64_t slots = slots_of(payload.size());
  // Acquire: partner is the release in open() and give(); what the reactor took away before is zeroed for us.
  std::uint64_t word = credit_.load(std::memory_order_acquire);
  do {
    if ((word & up_bit) == 0) return frame_fate::peer_down;
    if (incarnation_.load(std::memory_order_relaxed) != incarnation) return frame_fate::peer_down;
    if (payload.size() > payload_bytes_max_.load(std::memory_order_relaxed)) return frame_fate::too_large;
    if (frames_in(word) == 0 || slots_in(word) < slots) return frame_fate::no_credit;
  } while (!credit_.compare_exchange_weak(word, word - (std::uint64_t{1} << frames_shift) - slots,
                                          std::memory_order_acquire, std::memory_order_acquire));
  // Acquire-release: our place may be free due to credit that only the thread with the place before ours has seen given.
  // It pairs with itself in those threads.
  const std::uint64_t at = tail_.fetch_add(slots, std::memory_order_acq_rel);
  copy_in(at + 1, payload);
  std::byte bytes[frame_header_bytes];
  frame_header left = header;
  left.length = static_cast<std::uint32_t>(payload.size());
  left.flags &= static_cast<std::uint8_t>(~frame_of_link);
  left.epoch = now_us;
  encode_frame(left, bytes);
  std::byte* const place = ring_[at & mask_].bytes;
  std::memcpy(place + 8, bytes + 8, frame_header_bytes - 8);
  std::uint64_t commit = 0;
  std::memcpy(&commit, bytes, sizeof commit);
  // Partner: the acquire in front(). Sequentially consistent: the sender then looks whether the reactor sleeps.
  std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(place)).exchange(commit, std::memory_order_seq_cst);
  return frame_fate::accepted;
}

void outlet::copy_in(std::uint64_t at, std::span<const std::byte> payload) noexcept {
  if (payload.empty()) return;
  const std::uint64_t place = at & mask_;
  const std::size_t until_end = (mask_ + 1 - place) * slot_bytes;
  const std::size_t first = std::min(payload.size(), until_end);
  std::memcpy(ring_[place].bytes, payload.data(), first);
  if (first < payload.size()) std::memcpy(ring_[0].bytes, payload.data() + first, payload.size() - first);
}

void outlet::open(std::uint64_t incarnation, std::uint64_t frames, std::uint64_t slots,
                  std::uint32_t payload_bytes_max) noexcept {
  frames = std::min(frames, frames_max);
  slots = std::min({slots, slots_max, mask_ + 1});
  given_frames_ = frames;
  popped_frames_ = 0;
  incarnation_.store(incarnation, std::memory_order_relaxed);
  payload_bytes_max_.store(payload_bytes_max, std::memory_order_relaxed);
  // Release: partner is put()'s acquire; the incarnation, the largest payload, and the slots that are zeroed.
  credit_.store(up_bit | life_ << life_shift | frames << frames_shift | slots, std::memory_order_release);
}

void outlet::give(std::uint64_t frames, std::uint64_t slots) noexcept {
  given_frames_ += frames;
  credit_.fetch_add(frames << frames_shift | slots, std::memory_order_release);  // partner: put(); the slots are zeroed
}

void outlet::close() noexcept {
  if (!is_up()) return;
  life_ = (life_ + 1) & life_mask;
  // Relaxed: it says how much was taken, and no more. What is put with that credit is published by its commit.
  const std::uint64_t last = credit_.exchange(life_ << life_shift, std::memory_order_relaxed);
  taken_at_close_ = given_frames_ - frames_in(last);
}

bool outlet::has_front() const noexcept {
  auto& word = *reinterpret_cast<std::uint64_t*>(ring_[head_.load(std::memory_order_relaxed) & mask_].bytes);
  // Sequentially consistent: also the second look of a reactor that is about to sleep; partner is the exchange in put().
  return std::atomic_ref<std::uint64_t>(word).load(std::memory_order_seq_cst) != 0;
}

bool outlet::front(record& into) const noexcept {
  if (!has_front()) return false;
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  const std::byte* const place = ring_[head & mask_].bytes;
  const std::uint32_t no_limit = ~std::uint32_t{0};
  // The length is known to be good; the bytes behind the header need not lie in one piece, so they are not for the decoder.
  static_cast<void>(decode_frame({place, ~std::size_t{0} >> 1U}, no_limit, into.header));
  const std::size_t length = into.header.length;
  const std::uint64_t body = (head + 1) & mask_;
  const std::size_t first = std::min<std::size_t>(length, (mask_ + 1 - body) * slot_bytes);
  into.first = {ring_[body].bytes, first};
  into.second = {ring_[0].bytes, length - first};
  return true;
}

void outlet::pop() noexcept {
  record gone;
  if (!front(gone)) return;
  const std::uint64_t slots = slots_of(gone.header.length);
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  for (std::uint64_t i = 0; i < slots; ++i) {
    auto& word = *reinterpret_cast<std::uint64_t*>(ring_[(head + i) & mask_].bytes);
    std::atomic_ref<std::uint64_t>(word).store(0, std::memory_order_relaxed);  // seen by put() through its credit
  }
  head_.store(head + slots, std::memory_order_relaxed);
  ++popped_frames_;
}

}  // namespace karyon::detail
