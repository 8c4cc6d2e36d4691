// SPDX-License-Identifier: Apache-2.0
#include "organelle/function_core.hpp"

#include <array>
#include <new>
#include <string>
#include <vector>

namespace karyon {

errc organelle_error::code() const noexcept {
  if (is_host_) return code_;
  switch (status_) {
    case KARYON_INVALID_ARGUMENT: return errc::invalid_argument;
    case KARYON_NOT_FOUND:
    case KARYON_TRIMMED: return errc::not_found;
    case KARYON_ALREADY_THERE: return errc::already_present;
    case KARYON_OUT_OF_MEMORY: return errc::out_of_memory;
    case KARYON_IO:
    case KARYON_NO_SPACE: return errc::system_error;
    case KARYON_UNSUPPORTED:
    case KARYON_WRONG_VERSION: return errc::unsupported;
    case KARYON_CLOSED:
    case KARYON_CANCELLED: return errc::closed;
    case KARYON_INTERNAL: return errc::cell_failed;
    default: return errc::refused;  // conflict, limit, corrupt, read only, and what this host does not know
  }
}

namespace detail {

namespace {

const char* kind_name(std::uint32_t kind) noexcept {
  switch (kind) {
    case KARYON_NONE: return "none";
    case KARYON_BOOLEAN: return "a boolean";
    case KARYON_I64: return "a signed number";
    case KARYON_U64: return "an unsigned number";
    case KARYON_F64: return "a floating-point number";
    case KARYON_RESOURCE: return "a handle";
    case KARYON_VIEW: return "a view";
    case KARYON_COLUMNS: return "columns";
    default: return "of no known kind";
  }
}

/// Makes an argument the kind that is wanted, if nothing is lost by it.
bool fit(karyon_value& value, std::uint32_t wanted) noexcept {
  if (value.kind == wanted) return true;
  if (wanted == KARYON_U64 && value.kind == KARYON_I64 && value.as.i64 >= 0) {
    value = lend(static_cast<std::uint64_t>(value.as.i64));
    return true;
  }
  if (wanted == KARYON_I64 && value.kind == KARYON_U64 && value.as.u64 <= INT64_MAX) {
    value = lend(static_cast<std::int64_t>(value.as.u64));
    return true;
  }
  return false;
}

std::uint64_t units_of(const karyon_value& value) noexcept {
  switch (value.kind) {
    case KARYON_BOOLEAN:
    case KARYON_U64: return value.as.u64;
    case KARYON_I64: return value.as.i64 > 0 ? static_cast<std::uint64_t>(value.as.i64) : 0;
    case KARYON_VIEW: return value.as.view.length;
    case KARYON_COLUMNS:
      return value.as.columns.array != nullptr ? static_cast<std::uint64_t>(value.as.columns.array->length) : 0;
    default: return 0;
  }
}

/// Takes the reference that a result came with.
organelle_value take(const karyon_value& value) noexcept {
  switch (value.kind) {
    case KARYON_BOOLEAN: return value.as.u64 != 0;
    case KARYON_I64: return value.as.i64;
    case KARYON_U64: return value.as.u64;
    case KARYON_F64: return value.as.f64;
    case KARYON_RESOURCE: return handle::adopt(value.as.resource);
    case KARYON_VIEW:
      return view(value.as.view.data, static_cast<std::size_t>(value.as.view.length),
                  handle::adopt(value.as.view.owner));
    case KARYON_COLUMNS:
      return columns(value.as.columns.schema, value.as.columns.array, handle::adopt(value.as.columns.owner));
    default: return std::monostate();
  }
}

/// Long enough to be no call's length.
constexpr std::uint64_t declared_max_ns = std::uint64_t{1} << 50;

}  // namespace

std::uint64_t function_core::declared_ns(std::span<const karyon_value> arguments) const noexcept {
  const karyon_cost& cost = native_.entry->cost;
  if (cost.fixed_ns == 0 && cost.per_unit_ps == 0) return 1000;
  std::uint64_t units = 0;
  if (cost.units != nullptr) {
    karyon_call call{};
    call.size = sizeof call;
    call.arguments = arguments.data();
    call.argument_count = static_cast<std::uint32_t>(arguments.size());
    units = cost.units(&call);
  } else if (cost.unit_argument < arguments.size()) {
    units = units_of(arguments[cost.unit_argument]);
  }
  const double ns =
      static_cast<double>(cost.fixed_ns) + static_cast<double>(units) * static_cast<double>(cost.per_unit_ps) / 1000;
  return ns < static_cast<double>(declared_max_ns) ? static_cast<std::uint64_t>(ns) + 1 : declared_max_ns;
}

tl::expected<void, organelle_error> function_core::check(std::span<karyon_value> arguments) const {
  const auto refuse = [this](const std::string& what) {
    return tl::unexpected<organelle_error>(
        organelle_error(KARYON_INVALID_ARGUMENT, 0, std::string(native_.name) + ": " + what));
  };
  const std::size_t known = native_.parameters.size();
  if (arguments.size() > known && !native_.more_parameters) {
    return refuse("takes " + std::to_string(known) + " arguments, not " + std::to_string(arguments.size()));
  }
  for (std::size_t i = 0; i < known; ++i) {
    const bool is_left_out = i >= arguments.size() || arguments[i].kind == KARYON_NONE;
    if (is_left_out ? native_.optional[i] : fit(arguments[i], native_.parameters[i])) continue;
    return refuse("argument " + std::to_string(i + 1) + " is " +
                  (is_left_out ? "left out" : kind_name(arguments[i].kind)) + ", and must be " +
                  kind_name(native_.parameters[i]));
  }
  return {};
}

karyon_status function_core::take_results(const karyon_call& call, organelle_results& out, karyon_error& error) const {
  if (call.result_count > call.result_capacity) {
    return karyon_fail(&error, KARYON_INTERNAL, "the organelle returned more results than there was room for");
  }
  try {
    out.reserve(call.result_count);
  } catch (const std::bad_alloc&) {
    for (std::uint32_t i = 0; i < call.result_count; ++i) static_cast<void>(take(call.results[i]));
    return karyon_fail(&error, KARYON_OUT_OF_MEMORY, "no memory for the results");
  }
  for (std::uint32_t i = 0; i < call.result_count; ++i) out.add(take(call.results[i]));
  return KARYON_OK;
}

karyon_status function_core::invoke(const one_call& with, handle& cursor, organelle_results& out,
                                    karyon_error& error) const {
  static constexpr std::int32_t never = 0;
  constexpr std::uint32_t capacity_on_stack = 8;
  std::array<karyon_value, capacity_on_stack> few;  // filled in by the organelle
  std::vector<karyon_value> many;
  karyon_value* room = few.data();
  if (native_.results_max > capacity_on_stack) {
    many.resize(native_.results_max);
    room = many.data();
  }
  error.status = KARYON_OK;
  error.detail = 0;
  error.text[0] = '\0';
  karyon_call call{sizeof(karyon_call),   static_cast<std::uint32_t>(with.arguments.size()),
                   with.arguments.data(), room,
                   native_.results_max,   0,
                   with.budget_ns,        with.cancelled != nullptr ? with.cancelled : &never,
                   cursor.object(),       &error,
                   with.caller,           with.context};
  karyon_status status = native_.entry->call(&call);
  if (call.cursor != cursor.object()) cursor = handle::adopt(call.cursor);
  if (status < 0) {
    cursor.reset();
    error.status = status;
    error.text[sizeof error.text - 1] = '\0';
    return status;
  }
  if (status == KARYON_MORE && (!cursor || !resumable())) {
    status = karyon_fail(&error, KARYON_INTERNAL, "the organelle did not finish, and gave no cursor to go on with");
  } else if (status != KARYON_OK && status != KARYON_MORE) {
    status = karyon_fail(&error, KARYON_INTERNAL, "the organelle returned a status that this host does not know");
  }
  if (const karyon_status taken = take_results(call, out, error); taken != KARYON_OK) status = taken;
  if (status != KARYON_MORE) cursor.reset();
  return status;
}

organelle_error to_error(const karyon_error& error) {
  return {error.status, error.detail,
          error.text[0] != '\0' ? std::string(error.text)
                                : "the organelle gave status " + std::to_string(error.status) + " and no words"};
}

}  // namespace detail

}  // namespace karyon
