// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/nerve/endocrine.hpp>

namespace karyon {

/// What the holders of a compartment may do in it: patterns of subjects, without the compartment's name.
struct compartment_permissions {
  std::vector<std::string> publish{">"};
  std::vector<std::string> subscribe{">"};
};

/// A part of a bus's subjects for those who are to have nothing but it: all of its subjects begin with its name, and what is published
/// or subscribed to must be permitted. Give cells this in place of the bus, and none of them is heard, or hears, beyond it.
///
/// A value; copies are the same compartment. Any thread. Its bus must outlive it.
class KARYON_API compartment {
public:
  /// `name` is a subject ("colony.north"). Throws runtime_error with `invalid_argument` if it, or a permission, is not valid.
  compartment(endocrine& bus, std::string_view name, compartment_permissions may = {});

  /// As endocrine::publish, to "name.subject"; also `not_permitted`.
  template <class T>
  publish_result publish(std::string_view subject, T&& value, std::string_view sender = {}) {
    if (!may_publish(subject)) return bus_->refuse(publish_result::not_permitted);
    return bus_->publish(full(subject), std::forward<T>(value), sender);
  }
  /// As endocrine::subscribe, to "name.pattern"; also `refused`, unless all of the pattern is permitted.
  template <class T, class Handle>
  result<subscription> subscribe(const Handle& who, std::string_view pattern) {
    if (!may_subscribe(pattern)) {
      return fail(errc::refused,
                  "the compartment " + name_ + " does not permit to subscribe to " + std::string(pattern));
    }
    return bus_->subscribe<T>(who, full(pattern));
  }
  [[nodiscard]] bool may_publish(std::string_view subject) const noexcept;
  [[nodiscard]] bool may_subscribe(std::string_view pattern) const noexcept;
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
  [[nodiscard]] std::string full(std::string_view rest) const { return name_ + "." + std::string(rest); }
  endocrine* bus_;
  std::string name_;
  compartment_permissions may_;
};

}  // namespace karyon
