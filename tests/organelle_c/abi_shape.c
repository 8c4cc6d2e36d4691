/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled with debug information, so that abidiff sees every struct of the boundary: all of them are reached from the one function. */
#include <karyon/organelle/abi.h>

karyon_status karyon_organelle_open(uint32_t host_major, uint32_t host_minor, const karyon_host* host,
                                    const karyon_organelle** table, karyon_error* error) {
  (void)host_major;
  (void)host_minor;
  (void)host;
  (void)table;
  return karyon_fail(error, KARYON_UNSUPPORTED, "this library is for reading only");
}
