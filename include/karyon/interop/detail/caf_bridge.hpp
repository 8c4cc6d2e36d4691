#pragma once

#include <caf/actor_control_block.hpp>
#include <caf/fwd.hpp>
#include <caf/message.hpp>
#include <caf/message_id.hpp>

#include <karyon/cell/runtime.hpp>

namespace karyon::detail {

/// Makes a signal for a class of a CAF message, with the right to answer if it is a request; null if the class does not
/// accept such a message.
using caf_converter = signal* (*)(caf::message& content, const caf::strong_actor_ptr& sender, caf::message_id id);

KARYON_API void register_caf_converter(const class_info& info, caf_converter convert);
[[nodiscard]] KARYON_API caf::actor_system& caf_system_of(runtime& rt);
/// Null if the incarnation has ended.
[[nodiscard]] KARYON_API caf::strong_actor_ptr expose_to_caf(const address& a);
[[nodiscard]] KARYON_API caf::error to_caf_error(const exit_reason& why);
[[nodiscard]] KARYON_API exit_reason to_exit_reason(const caf::error& why);

}  // namespace karyon::detail
