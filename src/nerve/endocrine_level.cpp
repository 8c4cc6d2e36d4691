// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include <karyon/nerve/hormone_level.hpp>

#include "nerve/endocrine_core.hpp"
#include "sched/parker.hpp"

namespace karyon {

namespace detail {

namespace {

class latest_values final : public endocrine_sink {
public:
  latest_values(const hormone_type& t, std::size_t subjects_max) : type_(t), subjects_max_(subjects_max) {}

  void take(std::string_view subject, const hormone_type& t, const std::shared_ptr<const void>& value) override {
    if (t.id != type_.id) return;
    const std::uint64_t now_ns = monotonic_ns();
    const std::lock_guard lock(mutex_);
    auto found = values_.find(subject);
    if (found == values_.end()) {
      if (values_.size() >= subjects_max_ && !values_.empty()) {
        values_.erase(std::min_element(values_.begin(), values_.end(), [](const auto& a, const auto& b) {
          return a.second.left_ns < b.second.left_ns;
        }));
      }
      found = values_.emplace(std::string(subject), entry{}).first;
    }
    found->second = {value, now_ns};
  }
  [[nodiscard]] const hormone_type& type() const noexcept override { return type_; }

  [[nodiscard]] std::optional<level_table::latest> find(std::string_view subject) const {
    const std::uint64_t now_ns = monotonic_ns();
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(subject);
    if (found == values_.end()) return std::nullopt;
    return level_table::latest{found->first, found->second.value, age(found->second, now_ns)};
  }
  [[nodiscard]] std::vector<level_table::latest> all(std::uint64_t younger_than_ns) const {
    const std::uint64_t now_ns = monotonic_ns();
    std::vector<level_table::latest> out;
    const std::lock_guard lock(mutex_);
    for (const auto& [subject, e] : values_) {
      if (age(e, now_ns) < younger_than_ns) out.push_back({subject, e.value, age(e, now_ns)});
    }
    return out;
  }

private:
  struct entry {
    std::shared_ptr<const void> value;
    std::uint64_t left_ns = 0;
  };
  static std::uint64_t age(const entry& e, std::uint64_t now_ns) noexcept {
    return now_ns > e.left_ns ? now_ns - e.left_ns : 0;
  }
  const hormone_type& type_;
  const std::size_t subjects_max_;
  mutable std::mutex mutex_;
  std::map<std::string, entry, std::less<>> values_;  // mutex_
};

class watched_values final : public level_table {
public:
  watched_values(std::shared_ptr<endocrine_core> core, std::string_view pattern, const hormone_type& type,
                 std::size_t subjects_max)
      : core_(std::move(core)), pattern_(pattern), values_(std::make_shared<latest_values>(type, subjects_max)) {
    core_->add_sink(pattern_, values_);
  }
  ~watched_values() override { core_->remove_sink(pattern_, *values_); }
  [[nodiscard]] std::optional<latest> find(std::string_view subject) const override { return values_->find(subject); }
  [[nodiscard]] std::vector<latest> all(std::uint64_t younger_than_ns) const override {
    return values_->all(younger_than_ns);
  }

private:
  const std::shared_ptr<endocrine_core> core_;
  const std::string pattern_;
  const std::shared_ptr<latest_values> values_;
};

}  // namespace

}  // namespace detail

std::shared_ptr<detail::level_table> endocrine::watch(const detail::hormone_type* type, std::string_view pattern,
                                                      std::size_t subjects_max) {
  if (core_->closed()) throw runtime_error(error(errc::closed, "the bus is ending: no level can be watched any more"));
  if (!is_subject_pattern(pattern)) {
    throw runtime_error(error(errc::invalid_argument,
                              "\"" + std::string(pattern) + "\" is no pattern of subjects: see is_subject_pattern"));
  }
  return std::make_shared<detail::watched_values>(core_, pattern, *type, subjects_max);
}

}  // namespace karyon
