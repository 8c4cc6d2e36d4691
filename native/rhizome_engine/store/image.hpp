// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/image.hpp"
#include "store/store.hpp"

namespace rhizome {

/// Writes all that a snapshot shows, its past back to the store's horizon included, in a form from which `load` makes a store without
/// copying an arc. Blocks are packed, without dead positions and with compaction's slack. Any thread, beside the writer, which
/// may commit meanwhile; trimming is held up. Costs one pass over the graph, and 16 bytes a vertex of memory.
[[nodiscard]] result<void> save(const snapshot& from, image_sink& to);

/// The store that was saved, as of the image's commit. Blocks, entries, lives and the commit log are read in place, as private pages of the
/// file: what is changed later is copied by the system, a page at a time; compaction moves blocks into huge pages. Names and properties
/// are set anew. All of it is checked first, in one pass: what comes back is a graph that can be, whatever the bytes were. `commit_base`
/// is the saved one; `arcs` and `unique_arcs` have to be those of the saved store.
/// errc::corrupt; limit: more vertices than vertices_max; out_of_memory.
[[nodiscard]] result<store> load(const image_source& from, const store_options& options);

}  // namespace rhizome
