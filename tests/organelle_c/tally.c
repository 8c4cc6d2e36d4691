/* SPDX-License-Identifier: Apache-2.0
 *
 * A tiny organelle in C, written against the ABI header alone: tallies, which are counters with a name. It shows each means of the
 * boundary once, and leaves marks for the tests: environment variables, since nothing else of it can be seen from outside. */
#include <karyon/organelle/abi.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef TALLY_VERSION
#define TALLY_VERSION "1.0.0"
#endif
#ifndef TALLY_LAST
#define TALLY_LAST "stuck"
#endif
#ifndef TALLY_NEEDS
#define TALLY_NEEDS KARYON_HOST_MONITORS
#endif

KARYON_ORGANELLE_NOTE(TALLY_VERSION);

__attribute__((constructor)) static void constructed(void) { setenv("TALLY_CONSTRUCTED", TALLY_VERSION, 1); }

static const karyon_host* host;

/* What goes on while nobody calls: counted for the tests. */
static int64_t living;
static int64_t downs;
static int64_t cancelled;

/* ---- Tallies ----------------------------------------------------------------------------------------------------------------- */

struct tally {
  int64_t sum;
  uint64_t name_bytes;
  char name[];
};

static void destroy_tally(void* object) {
  (void)object;
  __atomic_fetch_sub(&living, 1, __ATOMIC_RELAXED);
}

static void tally_down(void* object, uint64_t caller) {
  (void)object;
  (void)caller;
  __atomic_fetch_add(&downs, 1, __ATOMIC_RELAXED);
}

static const karyon_resource_type tally_type = {"tally", destroy_tally, tally_down, NULL};

static karyon_status result(karyon_call* call, karyon_value value) {
  call->results[call->result_count++] = value;
  return KARYON_OK;
}

static karyon_value number(int64_t i) {
  karyon_value value = {KARYON_I64, 0, {.i64 = i}};
  return value;
}

static struct tally* tally_of(karyon_call* call) {
  void* object = call->arguments[0].as.resource;
  if (host->type_of(object) == &tally_type) return object;
  karyon_fail(call->error, KARYON_INVALID_ARGUMENT, "this is no tally");
  return NULL;
}

/* new(name) -> tally */
static karyon_status new_tally(karyon_call* call) {
  const karyon_view name = call->arguments[0].as.view;
  struct tally* t = host->allocate(host, &tally_type, sizeof(struct tally) + name.length);
  if (t == NULL) return karyon_fail(call->error, KARYON_OUT_OF_MEMORY, "no memory for a tally");
  t->sum = 0;
  t->name_bytes = name.length;
  if (name.length > 0) memcpy(t->name, name.data, name.length);
  __atomic_fetch_add(&living, 1, __ATOMIC_RELAXED);
  karyon_value value = {KARYON_RESOURCE, 0, {.resource = t}};
  return result(call, value);
}

/* add(tally, amount) -> sum */
static karyon_status add(karyon_call* call) {
  struct tally* t = tally_of(call);
  if (t == NULL) return KARYON_INVALID_ARGUMENT;
  return result(call, number(__atomic_add_fetch(&t->sum, call->arguments[1].as.i64, __ATOMIC_RELAXED)));
}

/* name(tally) -> view of it */
static karyon_status name(karyon_call* call) {
  struct tally* t = tally_of(call);
  if (t == NULL) return KARYON_INVALID_ARGUMENT;
  host->keep(t);
  karyon_value value = {KARYON_VIEW, 0, {.view = {t->name, t->name_bytes, t}}};
  return result(call, value);
}

/* watch(tally): it hears of the end of the calling cell */
static karyon_status watch(karyon_call* call) {
  struct tally* t = tally_of(call);
  if (t == NULL) return KARYON_INVALID_ARGUMENT;
  return host->monitor(call, t);
}

/* unwatch(tally) */
static karyon_status unwatch(karyon_call* call) {
  struct tally* t = tally_of(call);
  if (t == NULL) return KARYON_INVALID_ARGUMENT;
  host->demonitor(t);
  return KARYON_OK;
}

/* ---- Work of any length ------------------------------------------------------------------------------------------------------ */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* spin(ns, claimed ns) -> ns: computes for so long; its cost model believes the second number. spin_here, spin_away and spin_io are the
 * same, bound to a place. */
static karyon_status spin(karyon_call* call) {
  const uint64_t begin = now_ns();
  while (now_ns() - begin < call->arguments[0].as.u64) {
  }
  return result(call, number((int64_t)call->arguments[0].as.u64));
}

/* wait() -> never but when it is cancelled */
static karyon_status wait_for_cancel(karyon_call* call) {
  while (!karyon_cancelled(call)) {
  }
  __atomic_fetch_add(&cancelled, 1, __ATOMIC_RELAXED);
  return karyon_fail(call->error, KARYON_CANCELLED, "nobody waits any more");
}

/* watch_and_wait(tally): both of them */
static karyon_status watch_and_wait(karyon_call* call) {
  const karyon_status watched = watch(call);
  return watched == KARYON_OK ? wait_for_cancel(call) : watched;
}

/* count(n, each) -> parts: the numbers below n in steps of `each` for each call, whatever its budget: n / each batches. */
struct counting {
  uint64_t next;
};
static void destroy_counting(void* object) {
  (void)object;
  __atomic_fetch_sub(&living, 1, __ATOMIC_RELAXED);
}
static const karyon_resource_type counting_type = {"tally.count", destroy_counting, NULL, NULL};

static karyon_status count(karyon_call* call) {
  struct counting* c = call->cursor;
  if (c == NULL) {
    c = host->allocate(host, &counting_type, sizeof *c);
    if (c == NULL) return karyon_fail(call->error, KARYON_OUT_OF_MEMORY, "no memory for a cursor");
    c->next = 0;
    __atomic_fetch_add(&living, 1, __ATOMIC_RELAXED);
    call->cursor = c;
  }
  c->next += call->arguments[1].as.u64;
  result(call, number((int64_t)c->next));
  return c->next < call->arguments[0].as.u64 ? KARYON_MORE : KARYON_OK;
}

/* ---- Columns ----------------------------------------------------------------------------------------------------------------- */

/* squares(n) -> columns: one of 64-bit integers */
struct squares {
  struct ArrowSchema schema;
  struct ArrowArray array;
  const void* buffers[2];
  int64_t numbers[];
};
static void release_schema(struct ArrowSchema* schema) { schema->release = NULL; }
static void release_array(struct ArrowArray* array) { array->release = NULL; }
static void destroy_squares(void* object) {
  struct squares* s = object;
  s->schema.release(&s->schema);
  s->array.release(&s->array);
  __atomic_fetch_sub(&living, 1, __ATOMIC_RELAXED);
}
static const karyon_resource_type squares_type = {"tally.squares", destroy_squares, NULL, NULL};

static karyon_status squares(karyon_call* call) {
  const uint64_t n = call->arguments[0].as.u64;
  if (n > 1000000) return karyon_fail(call->error, KARYON_LIMIT, "too many squares");
  struct squares* s = host->allocate(host, &squares_type, sizeof *s + n * sizeof(int64_t));
  if (s == NULL) return karyon_fail(call->error, KARYON_OUT_OF_MEMORY, "no memory for squares");
  memset(s, 0, sizeof *s);
  for (uint64_t i = 0; i < n; ++i) s->numbers[i] = (int64_t)(i * i);
  s->buffers[1] = s->numbers;
  s->schema.format = "l";
  s->schema.name = "square";
  s->schema.release = release_schema;
  s->array.length = (int64_t)n;
  s->array.n_buffers = 2;
  s->array.buffers = s->buffers;
  s->array.release = release_array;
  __atomic_fetch_add(&living, 1, __ATOMIC_RELAXED);
  karyon_value value = {KARYON_COLUMNS, 0, {.columns = {&s->schema, &s->array, s}}};
  return result(call, value);
}

/* ---- What the tests ask for ------------------------------------------------------------------------------------------------- */

/* seen() -> living objects, downs, cancelled calls */
static karyon_status seen(karyon_call* call) {
  result(call, number(__atomic_load_n(&living, __ATOMIC_RELAXED)));
  result(call, number(__atomic_load_n(&downs, __ATOMIC_RELAXED)));
  return result(call, number(__atomic_load_n(&cancelled, __ATOMIC_RELAXED)));
}

/* fail(status): does, in words */
static karyon_status fail(karyon_call* call) {
  return karyon_fail(call->error, (karyon_status)call->arguments[0].as.i64, "as you wish");
}

/* many(n) -> n numbers, with a letter each for up to ten */
static karyon_status many(karyon_call* call) {
  for (int64_t i = 0; i < call->arguments[0].as.i64; ++i) result(call, number(i));
  return KARYON_OK;
}

/* stuck(): says that there is more, without a cursor */
static karyon_status stuck(karyon_call* call) {
  (void)call;
  return KARYON_MORE;
}

#define NO_COST \
  { 0, 0, KARYON_NO_ARGUMENT, 0, NULL }
#define CHEAP \
  { 50, 0, KARYON_NO_ARGUMENT, 0, NULL }
/* One nanosecond for each unit of the argument. */
#define CLAIMED(argument) \
  { 0, 1000, argument, 0, NULL }

static const karyon_function functions[] = {
    {"new", "v", "r", new_tally, CHEAP, KARYON_RUN_INLINE, 0},
    {"add", "ri", "i", add, CHEAP, KARYON_RUN_INLINE, 0},
    {"add_auto", "ri", "i", add, CHEAP, KARYON_RUN_AUTO, 0},
    {"add_away", "ri", "i", add, CHEAP, KARYON_RUN_DIRTY_CPU, 0},
    {"name", "r", "v", name, CHEAP, KARYON_RUN_INLINE, 0},
    {"name_of", "rV", "v", name, CHEAP, KARYON_RUN_DIRTY_IO, 0},
    {"new_away", "v", "r", new_tally, NO_COST, KARYON_RUN_DIRTY_CPU, 0},
    {"watch", "r", "", watch, CHEAP, KARYON_RUN_INLINE, 0},
    {"watch_away", "r", "", watch, CHEAP, KARYON_RUN_DIRTY_CPU, 0},
    {"unwatch", "r", "", unwatch, CHEAP, KARYON_RUN_INLINE, 0},
    {"spin", "uu", "i", spin, CLAIMED(1), KARYON_RUN_AUTO, 0},
    {"spin_here", "uu", "i", spin, CLAIMED(1), KARYON_RUN_INLINE, 0},
    {"spin_away", "uu", "i", spin, CLAIMED(1), KARYON_RUN_DIRTY_CPU, 0},
    {"wait", "", "", wait_for_cancel, NO_COST, KARYON_RUN_DIRTY_CPU, 0},
    {"watch_and_wait", "r", "", watch_and_wait, NO_COST, KARYON_RUN_DIRTY_CPU, 0},
    {"count", "uu", "i", count, CLAIMED(0), KARYON_RUN_AUTO, KARYON_RESUMABLE},
    {"count_here", "uu", "i", count, CLAIMED(0), KARYON_RUN_INLINE, KARYON_RESUMABLE},
    {"count_away", "uu", "i", count, CLAIMED(0), KARYON_RUN_DIRTY_CPU, KARYON_RESUMABLE},
    {"squares", "u", "c", squares, CLAIMED(0), KARYON_RUN_INLINE, 0},
    {"seen", "", "iii", seen, CHEAP, KARYON_RUN_INLINE, 0},
    {"fail", "i", "", fail, CHEAP, KARYON_RUN_INLINE, 0},
    {"many", "i", "iiiiiiiiii", many, CHEAP, KARYON_RUN_INLINE, 0},
    {TALLY_LAST, "", "", stuck, CHEAP, KARYON_RUN_INLINE, KARYON_RESUMABLE},
};

static void close_tallies(void) { setenv("TALLY_CLOSED", TALLY_VERSION, 1); }

static const karyon_organelle table = {
    KARYON_TABLE_HEAD(karyon_organelle, 5),
    "tally",
    TALLY_VERSION,
    TALLY_NEEDS,
    functions,
    sizeof functions / sizeof functions[0],
    sizeof(karyon_function),
    close_tallies,
};

karyon_status karyon_organelle_open(uint32_t host_major, uint32_t host_minor, const karyon_host* given,
                                    const karyon_organelle** out, karyon_error* error) {
  (void)host_minor;
  if (host_major != KARYON_ABI_MAJOR || !KARYON_HAS(given, karyon_host, now_ns)) {
    return karyon_fail(error, KARYON_WRONG_VERSION, "this host is not of the ABI that tallies were built for");
  }
  if (getenv("TALLY_REFUSES") != NULL) return karyon_fail(error, KARYON_CLOSED, "not today");
  host = given;
  *out = &table;
  return KARYON_OK;
}
