// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <karyon/organelle/detail/resource.hpp>

namespace karyon::detail {

class caller_watch;

/// That one resource is to hear of the end of one caller: in the list of the caller, and in that of the resource.
struct monitor_link {
  caller_watch* watch = nullptr;
  resource_header* resource = nullptr;
  monitor_link* before = nullptr;  // in the caller's list, in the order of their making
  monitor_link* behind = nullptr;
  monitor_link* next = nullptr;  // in the resource's
};

/// The resources that monitor one caller, until it ends. One lock for all of them: monitors are made and ended seldom, and a link has
/// two ends that go at any time.
///
/// A link keeps nothing alive. fire() takes each resource out of the lists under the lock and keeps it only if it still has a
/// reference; a resource whose last one is gone takes its links out under the lock before its destructor runs. So `down` is called
/// with a living object, once, or not at all.
class caller_watch {
public:
  explicit caller_watch(std::uint64_t caller) noexcept : caller_(caller) {}
  caller_watch(const caller_watch&) = delete;
  caller_watch& operator=(const caller_watch&) = delete;
  /// Without a word to those that are left.
  ~caller_watch();

  enum class answer : std::uint8_t { done, no_memory };
  /// If the caller has ended already, `down` is called at once.
  [[nodiscard]] answer add(void* object) noexcept;
  /// The caller has ended: `down` for each, in the order of their adding. At most once.
  void fire() noexcept;
  /// Takes over what another one, of the same caller, has.
  void adopt(caller_watch& other) noexcept;
  [[nodiscard]] bool empty() const noexcept;

private:
  friend void end_monitors(resource_header& resource) noexcept;
  void append(monitor_link* link) noexcept;
  void unlink(monitor_link* link) noexcept;

  const std::uint64_t caller_;
  // under the lock
  monitor_link* first_ = nullptr;
  monitor_link* last_ = nullptr;
  bool ended_ = false;
};

/// Takes a resource out of all lists.
void end_monitors(resource_header& resource) noexcept;

}  // namespace karyon::detail
