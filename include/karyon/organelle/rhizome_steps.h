/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KARYON_ORGANELLE_RHIZOME_STEPS_H
#define KARYON_ORGANELLE_RHIZOME_STEPS_H

/* How a query travels to the rhizome engine: a row of steps, each of which works on what the one before it found. C11 and C++; what
 * hosts write is karyon/organelle/rhizome.hpp. */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  RHIZOME_OUT = 1,      /* along arcs of label `name` */
  RHIZOME_IN = 2,       /* against them */
  RHIZOME_AS_OF = 3,    /* the steps behind it see the graph as of commit `number` */
  RHIZOME_VALID_AT = 4, /* the steps behind it see only what was true in the world at `number` (us since 1970) */
  RHIZOME_WHERE = 5,    /* rows whose vertex has a property `name` that compares so */
  RHIZOME_KEEP = 6,     /* the vertex where a row is now becomes a column */
  RHIZOME_DISTINCT = 7, /* of rows that are at the same vertex now, the first */
  RHIZOME_LIMIT = 8     /* at most `number` rows */
};

/* For RHIZOME_WHERE. Values of another kind, and none, compare with nothing. */
enum { RHIZOME_EQUAL = 0, RHIZOME_NOT_EQUAL = 1, RHIZOME_LESS = 2, RHIZOME_GREATER = 3, RHIZOME_PRESENT = 4 };
enum { RHIZOME_INTEGER = 0, RHIZOME_REAL = 1, RHIZOME_TEXT = 2 };

typedef struct rhizome_step {
  uint32_t kind;
  uint32_t name;    /* a label, or a property's key */
  uint32_t compare; /* RHIZOME_EQUAL ... */
  uint32_t type;    /* RHIZOME_INTEGER ...: what to compare with */
  int64_t number;   /* or the bytes of a text */
  double real;
  uint64_t text_at; /* where the text begins in the query's texts */
} rhizome_step;

#ifdef __cplusplus
}
#endif

#endif
