#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include <karyon/cell/placement.hpp>
#include <karyon/cell/ref.hpp>

namespace karyon::detail {

class runtime_core;

[[nodiscard]] KARYON_API runtime_core& core_of(cell_slot* slot) noexcept;

/// A slot taken for a cell that is about to be constructed. The calling thread is its owner until launch or abandon.
struct reservation {
  address at;
  void* object = nullptr;
};

/// Throws std::bad_alloc, or runtime_error (`closed`) if the runtime is stopping.
[[nodiscard]] KARYON_API reservation reserve(runtime_core& core, const class_info& info, placement where);
/// The cell is constructed: it accepts signals from now on.
KARYON_API void launch(const reservation& r) noexcept;
/// Its constructor threw.
KARYON_API void abandon(const reservation& r) noexcept;

/// While one of these lives on a thread, the `cell` constructed there is the one in the slot.
class KARYON_API construction_scope {
public:
  explicit construction_scope(cell_slot* slot) noexcept;
  ~construction_scope();
  construction_scope(const construction_scope&) = delete;
  construction_scope& operator=(const construction_scope&) = delete;

private:
  cell_slot* previous_;
  bool watched_ = false;
};

template <class C, class... Args>
address spawn_cell(runtime_core& core, placement where, Args&&... args) {
  const reservation r = reserve(core, class_info_of<C>::value, where);
  try {
    construction_scope scope(r.at.slot);
    ::new (r.object) C(std::forward<Args>(args)...);
  } catch (...) {
    abandon(r);
    throw;
  }
  launch(r);
  return r.at;
}

}  // namespace karyon::detail
