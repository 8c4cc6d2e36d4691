/* SPDX-License-Identifier: Apache-2.0
 *
 * The organelle that the suite `organelle` calls. */
#include <karyon/organelle/abi.h>
#include <time.h>

KARYON_ORGANELLE_NOTE("1.0.0");

static const karyon_host* host;

/* add(a, b) -> a + b: next to nothing. */
static karyon_status add(karyon_call* call) {
  call->results[0].kind = KARYON_I64;
  call->results[0].as.i64 = call->arguments[0].as.i64 + call->arguments[1].as.i64;
  call->result_count = 1;
  return KARYON_OK;
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* spin(ns, declared ns): takes so long, whatever it declares. */
static karyon_status spin(karyon_call* call) {
  const uint64_t begin = now_ns();
  while (now_ns() - begin < call->arguments[0].as.u64) {
  }
  return KARYON_OK;
}

/* edges(n) -> so many edges of 16 bytes */
struct edge {
  uint32_t source;
  uint32_t target;
  int64_t time;
};
static const karyon_resource_type edges_type = {"bench.edges", NULL, NULL, NULL};

static karyon_status edges(karyon_call* call) {
  const uint64_t n = call->arguments[0].as.u64;
  struct edge* all = host->allocate(host, &edges_type, n * sizeof *all);
  if (all == NULL) return karyon_fail(call->error, KARYON_OUT_OF_MEMORY, "no memory for the edges");
  for (uint64_t i = 0; i < n; ++i) {
    all[i].source = (uint32_t)(i * 2654435761u);
    all[i].target = (uint32_t)(i * 40503u);
    all[i].time = (int64_t)(1700000000000000u + i * 1000);
  }
  call->results[0].kind = KARYON_RESOURCE;
  call->results[0].as.resource = all;
  call->result_count = 1;
  return KARYON_OK;
}

/* time_of(edges, i) -> of the i-th: that the receiver has the structure */
static karyon_status time_of(karyon_call* call) {
  const struct edge* all = call->arguments[0].as.resource;
  call->results[0].kind = KARYON_I64;
  call->results[0].as.i64 = all[call->arguments[1].as.u64].time;
  call->result_count = 1;
  return KARYON_OK;
}

#define COST(fixed, argument) \
  { fixed, (argument) != KARYON_NO_ARGUMENT ? 1000 : 0, argument, 0, NULL }

static const karyon_function functions[] = {
    {"add", "ii", "i", add, COST(5, KARYON_NO_ARGUMENT), KARYON_RUN_INLINE, 0},
    {"add_auto", "ii", "i", add, COST(5, KARYON_NO_ARGUMENT), KARYON_RUN_AUTO, 0},
    {"add_away", "ii", "i", add, COST(5, KARYON_NO_ARGUMENT), KARYON_RUN_DIRTY_CPU, 0},
    {"spin", "uu", "", spin, COST(0, 1), KARYON_RUN_AUTO, 0},
    {"edges", "u", "r", edges, COST(0, 0), KARYON_RUN_AUTO, 0},
    {"time_of", "ru", "i", time_of, COST(5, KARYON_NO_ARGUMENT), KARYON_RUN_INLINE, 0},
};

static const karyon_organelle table = {
    KARYON_TABLE_HEAD(karyon_organelle, 0),
    "bench",
    "1.0.0",
    0,
    functions,
    sizeof functions / sizeof functions[0],
    sizeof(karyon_function),
    NULL,
};

karyon_status karyon_organelle_open(uint32_t host_major, uint32_t host_minor, const karyon_host* given,
                                    const karyon_organelle** out, karyon_error* error) {
  (void)host_minor;
  if (host_major != KARYON_ABI_MAJOR) return karyon_fail(error, KARYON_WRONG_VERSION, "another host than expected");
  host = given;
  *out = &table;
  return KARYON_OK;
}
