// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "durable/disk.hpp"

namespace rhizome::tests {

/// A folder for it.
inline const std::string home = "/store";

/// A disk with one directory, in memory, which can fail at the n-th change, and lose power: then of what was not synced any sectors are
/// there and others not, and of the changes of names the first few.
class memory_disk final : public disk {
public:
  using bytes = std::vector<std::byte>;

  /// The change (from 1) that fails, and all after it if `for_good`; a write that fails is half done.
  void fail_at(std::uint64_t change, int error_number, bool for_good = false) {
    changes_ = 0;
    fail_at_ = change;
    error_number_ = error_number;
    for_good_ = for_good;
  }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  /// Called once, within the next sync of a file but so many.
  void at_next_sync(std::function<void()> what, std::uint64_t but = 0) {
    at_next_sync_ = std::move(what);
    syncs_before_ = but;
  }

  void lose_power(std::mt19937_64& random) {
    fail_at_ = 0;
    open_.clear();
    std::uniform_int_distribution<std::size_t> kept_operations(0, renames_.size());
    auto names = durable_names_;
    for (std::size_t i = 0, n = kept_operations(random); i < n; ++i) renames_[i].apply(names);
    renames_.clear();
    for (auto& [name, at] : names) at->lose_unsynced(random);
    names_ = durable_names_ = names;
  }

  [[nodiscard]] bytes& content(const std::string& path) { return names_.at(path)->now; }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> all;
    for (const auto& [name, at] : names_) all.push_back(name);
    return all;
  }
  [[nodiscard]] bool exists(const std::string& path) const { return names_.contains(path); }
  void erase(const std::string& path) { names_.erase(path); }
  /// The file as it is on another disk.
  void place(const std::string& path, const memory_disk& from) {
    names_[path] = std::make_shared<node>(*from.names_.at(path));
  }
  /// A disk with the same files, all of them durable.
  [[nodiscard]] std::unique_ptr<memory_disk> copy() const {
    auto other = std::make_unique<memory_disk>();
    for (const auto& [name, at] : names_) {
      auto copied = std::make_shared<node>();
      copied->now = copied->durable = at->now;
      other->names_[name] = copied;
    }
    other->durable_names_ = other->names_;
    return other;
  }

  int open(const std::string& path, mode how) override {
    const auto found = names_.find(path);
    if (how == mode::create) {
      if (found != names_.end()) return -EEXIST;
      if (const int failed = change()) return failed;
      change_names({"", path, names_[path] = std::make_shared<node>()});
    } else if (found == names_.end()) {
      return -ENOENT;
    }
    open_[++last_open_] = names_[path];
    return last_open_;
  }
  void close(int file) override {
    if (open_.contains(file) && open_[file]->locked_by == file) open_[file]->locked_by = 0;
    open_.erase(file);
  }
  std::int64_t size(int file) override { return static_cast<std::int64_t>(open_.at(file)->now.size()); }
  std::int64_t read(int file, std::uint64_t offset, std::span<std::byte> into) override {
    const bytes& from = open_.at(file)->now;
    if (offset >= from.size()) return 0;
    const std::size_t count = std::min(into.size(), from.size() - static_cast<std::size_t>(offset));
    std::memcpy(into.data(), from.data() + offset, count);
    return static_cast<std::int64_t>(count);
  }
  std::int64_t write(int file, std::uint64_t offset, std::span<const std::byte> what) override {
    const int failed = change();
    if (failed != 0) what = what.first(what.size() / 2);
    node& to = *open_.at(file);
    if (to.now.size() < offset + what.size()) to.now.resize(static_cast<std::size_t>(offset) + what.size());
    if (!what.empty()) std::memcpy(to.now.data() + offset, what.data(), what.size());
    return failed != 0 ? failed : static_cast<std::int64_t>(what.size());
  }
  int allocate(int file, std::uint64_t offset, std::uint64_t count) override {
    if (const int failed = change()) return failed;
    open_.at(file)->now.resize(static_cast<std::size_t>(offset + count));
    return 0;
  }
  int truncate(int file, std::uint64_t count) override {
    if (const int failed = change()) return failed;
    open_.at(file)->now.resize(static_cast<std::size_t>(count));
    return 0;
  }
  int sync(int file) override {
    if (at_next_sync_ && syncs_before_-- == 0) std::exchange(at_next_sync_, nullptr)();
    if (const int failed = change()) return failed;
    open_.at(file)->durable = open_.at(file)->now;
    return 0;
  }
  int forget_cached(int) override { return 0; }
  int lock(int file) override {
    int& by = open_.at(file)->locked_by;
    if (by != 0 && by != file) return -EWOULDBLOCK;
    by = file;
    return 0;
  }
  int make_directory(const std::string&) override { return change(); }
  int sync_directory(const std::string&) override {
    if (const int failed = change()) return failed;
    durable_names_ = names_;
    renames_.clear();
    return 0;
  }
  int rename(const std::string& from, const std::string& to) override {
    if (const int failed = change()) return failed;
    const auto found = names_.find(from);
    if (found == names_.end()) return -ENOENT;
    const auto moved = found->second;
    names_.erase(found);
    names_[to] = moved;
    change_names({from, to, moved});
    return 0;
  }
  int remove(const std::string& path) override {
    if (const int failed = change()) return failed;
    if (names_.erase(path) == 0) return -ENOENT;
    change_names({path, "", nullptr});
    return 0;
  }
  int list(const std::string& directory, std::vector<std::string>& names) override {
    for (const auto& [path, at] : names_) {
      if (path.starts_with(directory + '/')) names.push_back(path.substr(directory.size() + 1));
    }
    return 0;
  }
  int map(int file, std::uint64_t count, std::shared_ptr<const void>& mapped) override {
    constexpr std::align_val_t page{4096};
    void* const copied = ::operator new(static_cast<std::size_t>(count), page);
    std::memcpy(copied, open_.at(file)->now.data(), static_cast<std::size_t>(count));
    mapped = std::shared_ptr<const void>(copied, [](void* at) { ::operator delete(at, page); });
    return 0;
  }
  int place(int file, std::uint64_t offset, std::uint64_t count, void* at) override {
    return read(file, offset, {static_cast<std::byte*>(at), static_cast<std::size_t>(count)}) < 0 ? -EIO : 0;
  }

private:
  struct node {
    bytes now;
    bytes durable;
    int locked_by = 0;

    void lose_unsynced(std::mt19937_64& random) {
      constexpr std::size_t sector = 512;
      std::bernoulli_distribution coin(0.5);
      bytes left = durable;
      left.resize(coin(random) ? now.size() : durable.size());
      for (std::size_t at = 0; at < left.size(); at += sector) {
        const std::size_t end = std::min({at + sector, left.size(), now.size()});
        if (at < end && coin(random)) std::copy(now.data() + at, now.data() + end, left.data() + at);
      }
      now = durable = left;
      locked_by = 0;
    }
  };
  using name_table = std::map<std::string, std::shared_ptr<node>>;
  struct name_change {
    std::string from;
    std::string to;
    std::shared_ptr<node> what;
    void apply(name_table& on) const {
      if (!from.empty()) on.erase(from);
      if (!to.empty()) on[to] = what;
    }
  };

  int change() {
    ++changes_;
    const bool fails = fail_at_ != 0 && (for_good_ ? changes_ >= fail_at_ : changes_ == fail_at_);
    return fails ? -error_number_ : 0;
  }
  void change_names(name_change made) { renames_.push_back(std::move(made)); }

  name_table names_;
  name_table durable_names_;
  std::function<void()> at_next_sync_;
  std::uint64_t syncs_before_ = 0;
  std::vector<name_change> renames_;  // since the directory was synced
  std::map<int, std::shared_ptr<node>> open_;
  int last_open_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t fail_at_ = 0;
  int error_number_ = 0;
  bool for_good_ = false;
};

}  // namespace rhizome::tests
