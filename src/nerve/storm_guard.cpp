// SPDX-License-Identifier: Apache-2.0
#include "nerve/storm_guard.hpp"

#include <algorithm>

#include "nerve/bounded_lock.hpp"

namespace karyon {

const char* to_string(storm_cause c) noexcept {
  switch (c) {
    case storm_cause::sender: return "sender";
    case storm_cause::subject: return "subject";
    case storm_cause::deliveries: return "deliveries";
    case storm_cause::hops: return "hops";
  }
  return "unknown";
}

std::string to_string(const storm_report& r) {
  return "storm: " + r.sender + " publishes to " + r.subject + " faster than allowed (" + to_string(r.cause) + ", " +
         std::to_string(r.receivers) + " receivers)";
}

namespace detail {

namespace {

std::uint64_t finalised(std::uint64_t x) noexcept {  // the finaliser of MurmurHash3
  x ^= x >> 33u;
  x *= 0xff51afd7ed558ccdu;
  x ^= x >> 33u;
  x *= 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33u);
}

}  // namespace

std::string to_string(const sender_name& s) {
  std::string text(s.text);
  if (s.is_cell) text.append("#").append(std::to_string(s.id));
  return text.empty() ? "a thread without a name" : text;
}

void heaviest_sender::add(const sender_name& who, std::uint64_t cost) noexcept {
  if (lead_ != 0 && who.id == id_) {
    lead_ += cost;
  } else if (lead_ > cost) {
    lead_ -= cost;
  } else {
    lead_ = cost - lead_;
    id_ = who.id;
    is_cell_ = who.is_cell;
    length_ = static_cast<std::uint8_t>(std::min(who.text.size(), text_.size()));
    std::copy_n(who.text.data(), length_, text_.data());
  }
}

std::string heaviest_sender::name() const { return to_string(sender_name{id_, {text_.data(), length_}, is_cell_}); }

std::optional<token_bucket::answer> sender_meters::take(std::uint64_t sender, std::uint64_t now_ns) noexcept {
  if (limit_.per_second == 0) return token_bucket::answer::given;
  const std::uint64_t hash = finalised(sender);
  part& p = parts_[hash % parts_.size()];
  const bounded_lock lock(p.mutex);
  if (!lock) return std::nullopt;
  auto& set = p.sets[(hash / parts_.size()) % p.sets.size()];
  for (entry& e : set) {
    if (e.id == sender) return e.bucket.take(1, limit_, now_ns);
  }
  entry* least = set.data();
  double most_left = -1e300;
  for (entry& e : set) {
    const double left = e.id == 0 ? 2.0 : e.bucket.share_left(limit_, now_ns);
    if (left > most_left) {
      most_left = left;
      least = &e;
    }
  }
  if (most_left > 0) *least = {sender, {}};
  return least->bucket.take(1, limit_, now_ns);
}

}  // namespace detail
}  // namespace karyon
