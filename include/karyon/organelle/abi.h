/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KARYON_ORGANELLE_ABI_H
#define KARYON_ORGANELLE_ABI_H

/* The boundary between a host (a program with a karyon::runtime) and an organelle: a native library that it loads, verified, and
 * calls from its cells. This header is all that both sides share. It is C11, and C++ as well.
 *
 * An organelle is an ELF library that
 *   - exports one function, karyon_organelle_open, which returns the table of its functions;
 *   - carries a note (KARYON_ORGANELLE_NOTE), which the host reads from the file's bytes before it loads anything of it.
 *
 * Rules that hold for every function on either side:
 *   - no exception and no longjmp crosses, and no thread-local state is relied on: cells move between threads;
 *   - who allocates frees: memory crosses as resources (below), or is lent for the length of a call;
 *   - errors are a status and a slot that the caller gives (karyon_error);
 *   - functions may be called from any thread, by any number of them at once, unless they say otherwise.
 *
 * Versions. Tables start with a karyon_table_head. Within a major version new entries are added at the end of the tables, of
 * karyon_function and of karyon_call, and nowhere else: whoever reads a table looks at its size before it uses an entry that its own
 * first version did not have (KARYON_HAS). What was there from the start is covered by KARYON_ABI_LAYOUT_HASH. A different major
 * version or layout hash is refused. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KARYON_ABI_MAJOR 1u
#define KARYON_ABI_MINOR 0u

#define KARYON_ABI_EXPORT __attribute__((visibility("default")))

/* What each table starts with. */
typedef struct karyon_table_head {
  uint32_t size; /* bytes of the whole table in the version that its side was compiled with */
  uint32_t major;
  uint32_t minor;
  uint32_t reserved; /* 0 */
  uint64_t layout_hash;
  uint64_t features; /* what that side offers: KARYON_HOST_... or the organelle's own bits */
} karyon_table_head;

/* Whether the table or struct that `pointer` points at (its first member, or its head's, is its size) has `member`. */
#define KARYON_HAS(pointer, type, member) \
  (*(const uint32_t*)(const void*)(pointer) >= offsetof(type, member) + sizeof((pointer)->member))

/* ---- Errors ------------------------------------------------------------------------------------------------------------------ */

typedef int32_t karyon_status;
enum {
  KARYON_OK = 0,
  KARYON_MORE = 1, /* not finished within its budget: call again with the cursor (karyon_call) */
  KARYON_INVALID_ARGUMENT = -1,
  KARYON_NOT_FOUND = -2,
  KARYON_ALREADY_THERE = -3,
  KARYON_CONFLICT = -4, /* another one changed the same thing first: begin again */
  KARYON_TRIMMED = -5,  /* asks for what is no longer kept */
  KARYON_LIMIT = -6,    /* a configured bound is reached */
  KARYON_OUT_OF_MEMORY = -7,
  KARYON_IO = -8,
  KARYON_NO_SPACE = -9,
  KARYON_CORRUPT = -10,
  KARYON_WRONG_VERSION = -11,
  KARYON_READ_ONLY = -12,
  KARYON_CANCELLED = -13,
  KARYON_UNSUPPORTED = -14,
  KARYON_CLOSED = -15,
  KARYON_INTERNAL = -16 /* a fault of the organelle itself */
};

/* The caller's slot for what went wrong: filled in only when a status below 0 is returned. */
typedef struct karyon_error {
  karyon_status status;
  int32_t detail; /* errno, or a number of the organelle's own; 0: none */
  char text[248]; /* one sentence, UTF-8, ends with 0 */
} karyon_error;

/* Fills in a slot (which may be NULL) and returns the status: `return karyon_fail(call->error, KARYON_NOT_FOUND, "...");` */
static inline karyon_status karyon_fail(karyon_error* error, karyon_status status, const char* text) {
  if (error != NULL) {
    size_t i = 0;
    error->status = status;
    error->detail = 0;
    for (; text != NULL && text[i] != '\0' && i + 1 < sizeof error->text; ++i) error->text[i] = text[i];
    error->text[i] = '\0';
  }
  return status;
}

/* ---- Resources --------------------------------------------------------------------------------------------------------------- */

/* A resource is an object of the organelle in memory that the host allocates and counts the references of. A cell holds it as a
 * handle, a plain value that may travel in signals; what is behind it is changed in place and never copied. Pointers to resources
 * are pointers to the object itself, aligned to 64 bytes. */

/* One kind of resource: static data of the organelle, and the identity of the kind. */
typedef struct karyon_resource_type {
  const char* name;
  /* The last reference is gone. Any thread; must not block. The memory is the host's to free. May be NULL. */
  void (*destroy)(void* object);
  /* A cell that `object` monitors (karyon_host.monitor) has ended: once for each. Any thread, also while functions run on the
   * object; must not block. Not called once destroy has begun. May be NULL. */
  void (*down)(void* object, uint64_t caller);
  void* reserved; /* NULL */
} karyon_resource_type;

/* ---- Values ------------------------------------------------------------------------------------------------------------------ */

/* Bytes, and the resource that keeps them alive and unchanged. `owner` is NULL where they are lent: an argument's last until the
 * call returns. A slice is a view with another pointer and length and the same owner, kept once more. */
typedef struct karyon_view {
  const void* data;
  uint64_t length; /* bytes */
  void* owner;
} karyon_view;

/* Arrow's C data interface: https://arrow.apache.org/docs/format/CDataInterface.html */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4
struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema** children;
  struct ArrowSchema* dictionary;
  void (*release)(struct ArrowSchema*);
  void* private_data;
};
struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  struct ArrowArray** children;
  struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*);
  void* private_data;
};
#endif

/* Columns in Arrow's layout, for reading. Both structs belong to `owner`, whose destructor calls their `release`: a reader keeps the
 * owner, and neither releases nor changes them. */
typedef struct karyon_columns {
  const struct ArrowSchema* schema;
  const struct ArrowArray* array;
  void* owner;
} karyon_columns;

enum {
  KARYON_NONE = 0,
  KARYON_BOOLEAN = 1, /* as.u64: 0 or 1 */
  KARYON_I64 = 2,
  KARYON_U64 = 3,
  KARYON_F64 = 4,
  KARYON_RESOURCE = 5,
  KARYON_VIEW = 6,
  KARYON_COLUMNS = 7
};

typedef struct karyon_value {
  uint32_t kind;
  uint32_t reserved; /* 0 */
  union {
    int64_t i64;
    uint64_t u64;
    double f64;
    void* resource;
    karyon_view view;
    karyon_columns columns;
  } as;
} karyon_value;

/* ---- Calls ------------------------------------------------------------------------------------------------------------------- */

/* One call of a function.
 *
 * Arguments are lent until the call returns, the resources in them as well: what is kept longer is kept with karyon_host.keep.
 * Results are given: each resource, and each owner of a view or of columns, comes with one reference, which is the host's to release.
 * After a status below 0 there are no results, and the function has released what it had put there.
 *
 * A function with KARYON_RESUMABLE looks at its budget now and then. When that is spent it puts all that it needs to go on into a
 * resource, its cursor, sets `cursor` to it with one reference for the host, and returns KARYON_MORE. The host calls again with the
 * same arguments and that cursor (whose reference stays the host's; the function does not release it, and leaves `cursor` as it is
 * when it returns KARYON_MORE again). No two calls with one cursor run at once. A cursor whose call is given up is released.
 * Results that come with KARYON_MORE are a part: the next ones follow them. */
typedef struct karyon_call {
  uint32_t size; /* bytes of this struct in the host's version */
  uint32_t argument_count;
  const karyon_value* arguments;
  karyon_value* results; /* result_capacity of them, at least as many as karyon_function.results names */
  uint32_t result_capacity;
  uint32_t result_count;    /* 0 at the call; set by the function */
  uint64_t budget_ns;       /* of this call, 0: unbounded */
  const int32_t* cancelled; /* read with karyon_cancelled */
  void* cursor;             /* NULL at the first call */
  karyon_error* error;      /* never NULL */
  uint64_t caller;          /* names the calling cell for karyon_resource_type.down; 0: no cell */
  void* host_data;          /* the host's own */
} karyon_call;

/* Whether nobody waits for this call any more (its cell has ended, or gave it up): a long function asks now and then, and returns
 * KARYON_CANCELLED. */
static inline int karyon_cancelled(const karyon_call* call) {
  return __atomic_load_n(call->cancelled, __ATOMIC_RELAXED) != 0;
}

/* ---- Functions --------------------------------------------------------------------------------------------------------------- */

/* What a call is expected to take, on an ordinary core: fixed_ns + units * per_unit_ps / 1000. The host corrects it by what calls
 * took. The units are those of an argument (an integer's value, a view's length in bytes, the rows of columns), or what `units`
 * says, which must be quick, and must not block or change anything. */
#define KARYON_NO_ARGUMENT 0xffffffffu
typedef struct karyon_cost {
  uint64_t fixed_ns;
  uint64_t per_unit_ps;
  uint32_t unit_argument;                     /* its index, or KARYON_NO_ARGUMENT */
  uint32_t reserved;                          /* 0 */
  uint64_t (*units)(const karyon_call* call); /* NULL: unit_argument decides */
} karyon_cost;

/* Where a function runs. */
enum {
  KARYON_RUN_AUTO = 0,      /* where its cost makes it cheaper: inline, or on the dirty CPU pool */
  KARYON_RUN_INLINE = 1,    /* in the cell's handler, always: well under a millisecond */
  KARYON_RUN_DIRTY_CPU = 2, /* on a thread for computation */
  KARYON_RUN_DIRTY_IO = 3   /* on a thread for what blocks: files, sockets, fsync */
};

/* karyon_function.flags */
#define KARYON_RESUMABLE 1u /* keeps to karyon_call.budget_ns, with a cursor */

typedef struct karyon_function {
  const char* name;
  /* One letter an argument, checked by the host before each call: b boolean, i i64, u u64, f f64, r resource, v view, c columns;
   * in capitals: that or none. `...` at the end: any more. */
  const char* parameters;
  const char* results; /* likewise; not checked. Its letters are the least capacity a call has for results. */
  karyon_status (*call)(karyon_call* call);
  karyon_cost cost;
  uint32_t run; /* KARYON_RUN_... */
  uint32_t flags;
} karyon_function;

/* ---- The two tables ---------------------------------------------------------------------------------------------------------- */

#define KARYON_HOST_MONITORS 1u /* karyon_host.monitor works for calls that come from cells */

typedef struct karyon_host karyon_host;
struct karyon_host {
  karyon_table_head head;
  /* A new resource of `bytes`, uninitialised, with one reference, the caller's. NULL if memory can not be had. A resource keeps the
   * library loaded. Whoever can not complete the object calls `discard`. */
  void* (*allocate)(const karyon_host* self, const karyon_resource_type* type, uint64_t bytes);
  /* Frees a resource that nobody else has seen, without its destructor. */
  void (*discard)(void* object);
  void (*keep)(void* object);
  void (*release)(void* object);
  /* The kind of a resource, of this organelle or another one: compare it with &yours before you use an argument. */
  const karyon_resource_type* (*type_of)(const void* object);
  /* From now on `object` gets `down` when the cell that makes this call ends, once, however often it was asked for; at once if it
   * has ended. It keeps nothing alive. KARYON_UNSUPPORTED for a call that no cell makes. */
  karyon_status (*monitor)(karyon_call* call, void* object);
  /* No monitor of `object` is left; one `down` may be running. */
  void (*demonitor)(void* object);
  /* To the host's log: 0 debug, 1 info, 2 warning, 3 error. The text ends with 0 and is copied. */
  void (*log)(const karyon_host* self, int32_t level, const char* text);
  /* A monotonic clock, for budgets. */
  uint64_t (*now_ns)(void);
};

typedef struct karyon_organelle {
  karyon_table_head head;
  const char* name;
  const char* version;           /* the note's */
  uint64_t host_features_needed; /* KARYON_HOST_...: a host that lacks one refuses the organelle */
  const karyon_function* functions;
  uint32_t function_count;
  uint32_t function_size; /* sizeof(karyon_function) in the organelle's version: the distance from one to the next */
  /* The last call: no function runs, no resource is left. It ends the organelle's threads. May be NULL. */
  void (*close)(void);
} karyon_organelle;

/* What an organelle exports: called once, by one thread, after loading. `host` and the table last until `close` has returned. On
 * anything but KARYON_OK the library is unloaded again. */
KARYON_ABI_EXPORT karyon_status karyon_organelle_open(uint32_t host_major, uint32_t host_minor, const karyon_host* host,
                                                      const karyon_organelle** table, karyon_error* error);
typedef karyon_status (*karyon_organelle_open_function)(uint32_t, uint32_t, const karyon_host*,
                                                        const karyon_organelle**, karyon_error*);
#define KARYON_ORGANELLE_OPEN_NAME "karyon_organelle_open"

/* ---- The layout hash --------------------------------------------------------------------------------------------------------- */

/* FNV-1a over where everything lies that version 1.0 has, as a constant expression. */
#define KARYON_MIX_(hash, number) (((hash) ^ (uint64_t)(number)) * UINT64_C(0x100000001b3))
#define KARYON_MIX2_(hash, a, b) KARYON_MIX_(KARYON_MIX_(hash, a), b)
#define KARYON_MIX4_(hash, a, b, c, d) KARYON_MIX2_(KARYON_MIX2_(hash, a, b), c, d)
#define KARYON_LAYOUT_HEAD_(hash)                                                   \
  KARYON_MIX4_(hash, sizeof(karyon_table_head), offsetof(karyon_table_head, minor), \
               offsetof(karyon_table_head, layout_hash), offsetof(karyon_table_head, features))
#define KARYON_LAYOUT_DATA_(hash)                                                                                 \
  KARYON_MIX4_(                                                                                                   \
      KARYON_MIX4_(KARYON_MIX4_(KARYON_MIX4_(hash, sizeof(karyon_error), offsetof(karyon_error, text),            \
                                             sizeof(karyon_resource_type), offsetof(karyon_resource_type, down)), \
                                sizeof(karyon_view), offsetof(karyon_view, owner), sizeof(karyon_columns),        \
                                offsetof(karyon_columns, owner)),                                                 \
                   sizeof(karyon_value), offsetof(karyon_value, as), sizeof(struct ArrowSchema),                  \
                   sizeof(struct ArrowArray)),                                                                    \
      sizeof(karyon_cost), offsetof(karyon_cost, unit_argument), offsetof(karyon_cost, units),                    \
      offsetof(struct ArrowArray, release))
#define KARYON_LAYOUT_CALL_(hash)                                                                                    \
  KARYON_MIX4_(KARYON_MIX4_(KARYON_MIX4_(hash, offsetof(karyon_call, arguments), offsetof(karyon_call, results),     \
                                         offsetof(karyon_call, result_count), offsetof(karyon_call, budget_ns)),     \
                            offsetof(karyon_call, cancelled), offsetof(karyon_call, cursor),                         \
                            offsetof(karyon_call, error), offsetof(karyon_call, host_data)),                         \
               offsetof(karyon_function, results), offsetof(karyon_function, call), offsetof(karyon_function, cost), \
               offsetof(karyon_function, flags))
#define KARYON_LAYOUT_TABLES_(hash)                                                                             \
  KARYON_MIX4_(KARYON_MIX4_(KARYON_MIX4_(hash, offsetof(karyon_host, allocate), offsetof(karyon_host, discard), \
                                         offsetof(karyon_host, keep), offsetof(karyon_host, release)),          \
                            offsetof(karyon_host, type_of), offsetof(karyon_host, monitor),                     \
                            offsetof(karyon_host, log), offsetof(karyon_host, now_ns)),                         \
               offsetof(karyon_organelle, name), offsetof(karyon_organelle, host_features_needed),              \
               offsetof(karyon_organelle, functions), offsetof(karyon_organelle, close))
#define KARYON_ABI_LAYOUT_HASH \
  KARYON_LAYOUT_TABLES_(KARYON_LAYOUT_CALL_(KARYON_LAYOUT_DATA_(KARYON_LAYOUT_HEAD_(UINT64_C(0xcbf29ce484222325)))))

/* A head for the table `type` with these features. */
#define KARYON_TABLE_HEAD(type, features_) \
  { sizeof(type), KARYON_ABI_MAJOR, KARYON_ABI_MINOR, 0, KARYON_ABI_LAYOUT_HASH, (features_) }

/* ---- The note ---------------------------------------------------------------------------------------------------------------- */

/* An ELF note, in the section .note.karyon: owner "Karyon", type 1, all numbers little-endian.
 *   offset of the descriptor   0  ABI major
 *                              4  ABI minor
 *                              8  layout hash, low half
 *                             12  layout hash, high half
 *                             16  version of the organelle, text, padded with zeros, the last byte is one */
#define KARYON_NOTE_TYPE 1u
#define KARYON_NOTE_VERSION_BYTES 32
typedef struct karyon_note {
  uint32_t name_bytes;
  uint32_t descriptor_bytes;
  uint32_t type;
  char name[8];
  uint32_t major;
  uint32_t minor;
  uint32_t layout_low;
  uint32_t layout_high;
  char version[KARYON_NOTE_VERSION_BYTES];
} karyon_note;

/* Once, in one source of the organelle: KARYON_ORGANELLE_NOTE("1.2.0"); */
#define KARYON_ORGANELLE_NOTE(version_text)                                                                           \
  static const karyon_note karyon_organelle_note                                                                      \
      __attribute__((section(".note.karyon"), used, aligned(4))) = {7u,                                               \
                                                                    16u + KARYON_NOTE_VERSION_BYTES,                  \
                                                                    KARYON_NOTE_TYPE,                                 \
                                                                    "Karyon",                                         \
                                                                    KARYON_ABI_MAJOR,                                 \
                                                                    KARYON_ABI_MINOR,                                 \
                                                                    (uint32_t)(KARYON_ABI_LAYOUT_HASH & 0xffffffffu), \
                                                                    (uint32_t)(KARYON_ABI_LAYOUT_HASH >> 32),         \
                                                                    version_text}

#ifdef __cplusplus
}
#endif

#endif
