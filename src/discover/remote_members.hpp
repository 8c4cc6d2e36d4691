#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace karyon::detail {

/// The members of a group that other nodes have told of: in the order of their numbers, and as a dense array for a choice at random.
/// Its shard's lock.
class remote_members {
public:
  struct place {
    std::uint64_t node = 0;
    std::uint64_t number = 0;
    std::uint32_t times = 0;  // how often it has joined
  };

  [[nodiscard]] bool empty() const noexcept { return places_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }
  [[nodiscard]] const place& at(std::size_t i) const noexcept { return places_[i]; }
  void clear() noexcept {
    index_.clear();
    places_.clear();
  }
  /// Throws std::bad_alloc; nothing has changed then.
  void add(std::uint64_t node, std::uint64_t number, std::uint32_t times) {
    const auto [found, fresh] = index_.try_emplace({node, number}, static_cast<std::uint32_t>(places_.size()));
    if (!fresh) {
      places_[found->second].times += times;
      return;
    }
    try {
      places_.push_back({node, number, times});
    } catch (...) {
      index_.erase(found);
      throw;
    }
  }
  /// False if it is not there.
  bool remove(std::uint64_t node, std::uint64_t number, std::uint32_t times) noexcept {
    const auto found = index_.find({node, number});
    if (found == index_.end()) return false;
    place& hole = places_[found->second];
    if (hole.times > times) {
      hole.times -= times;
      return true;
    }
    const place last = places_.back();
    hole = last;
    index_.find({last.node, last.number})->second = found->second;
    places_.pop_back();
    index_.erase(found);
    return true;
  }
  template <class F>
  void for_each(F&& f) const {
    for (const auto& [who, at] : index_) f(places_[at]);
  }
  /// The nodes that have members. O(nodes log members).
  [[nodiscard]] std::vector<std::uint64_t> nodes() const {
    std::vector<std::uint64_t> all;
    for (auto i = index_.begin(); i != index_.end();) {
      const std::uint64_t node = i->first.first;
      all.push_back(node);
      i = index_.upper_bound({node, ~std::uint64_t{0}});
    }
    return all;
  }

private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> index_;  // {node, number}: its place
  std::vector<place> places_;
};

}  // namespace karyon::detail
