// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/nerve/storm.hpp>

namespace karyon {

class endocrine;

namespace detail {
class gateway_core;
}

/// What a gateway lets through, in one direction: signals of compartment `from` to subjects of `pattern` are broadcast in `to` as well.
struct gateway_rule {
  std::string from{};
  std::string to{};
  std::string pattern{};
};

struct gateway_limits {
  /// Signals that each rule lets through; per_second 0: as many as come.
  storm_limit rate{1000, 1000};
  /// Compartments that a signal may have behind it, the one that it was published in not counted: 1 or more. 1: what has come through a
  /// gateway goes through no other.
  std::uint8_t compartments_max = 8;
};

/// Sums over a gateway's life, of the signals that some rule is for; what no rule is for is not counted, and where
/// several rules are for one signal each of them counts it: the first that lets it through as passed, those that follow as duplicate.
struct gateway_metrics {
  std::uint64_t passed = 0;     ///< broadcast in the other compartment
  std::uint64_t duplicate = 0;  ///< not, for it was there already: it came from there, or had been handed on before
  std::uint64_t too_far = 0;    ///< not, for gateway_limits::compartments_max
  std::uint64_t storm = 0;      ///< not, for gateway_limits::rate
  std::uint64_t lost =
      0;  ///< not, for it is larger than a frame there may be, or there was no memory, or the other bus has ended
};

/// Hands broadcasts on between two compartments that this process is in: two buses "overlay://..." (endocrine_options::server), which the
/// rules call by the names behind that. For more than two, make one for each pair. Nothing passes but by a rule.
///
/// A signal keeps what it is known by, so it reaches each cell of the other compartment once, however many gateways there are between the
/// two, also where gateways lead in a circle. (One that comes back by a circle seconds before it reaches a node of its own compartment by
/// itself may be heard twice there.) It keeps its subject, its time to live and its sender as well; in the other compartment
/// the limits of each process (endocrine_options::storm) hold for it. Of several gateways the one that is faster passes it,
/// and one that ends takes with it what it alone would have passed.
///
/// What a signal is known by is its sender's word. Whoever is in a compartment can pretend to be another there, and so keep that other's
/// signals from being heard. In the compartments behind a gateway this reaches signals that come through gateways as well, whatever their
/// subjects, and none that is published there.
///
/// Threads: all members from any thread. It has none of its own; a bus's own hands on what has arrived there. That thread also hands it to
/// the cells, and may wait for room there for as long as a signal's time to live: what arrives meanwhile is handed on later.
/// Lifetime: any, also beyond the runtime's. Once either of its buses, or the runtime, has ended it hands on nothing more; a new bus of
/// that name needs a new gateway. A bus that a cell ends, in a handler, stays in its compartment until the gateway ends.
///
/// Compartments are those of overlays here; karyon::compartment (karyon/nerve/compartment.hpp), which says what may be published and
/// heard on one bus, has nothing to do with them.
class KARYON_API gateway {
public:
  /// Throws runtime_error with `invalid_argument`: a bus that is none by overlay, two of one name, no rules, a rule that names others than
  /// these two or that is no pattern (is_subject_pattern), limits that let nothing through. Throws std::bad_alloc.
  gateway(endocrine& one, endocrine& other, std::vector<gateway_rule> rules, gateway_limits limits = {});
  /// Nothing is handed on from here on.
  ~gateway();
  gateway(const gateway&) = delete;
  gateway& operator=(const gateway&) = delete;

  [[nodiscard]] gateway_metrics metrics() const;

private:
  std::unique_ptr<detail::gateway_core> core_;
};

}  // namespace karyon
