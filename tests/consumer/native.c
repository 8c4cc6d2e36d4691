/* An organelle outside Karyon's tree: one function, which says how long a text is. */
#include <karyon/organelle/abi.h>

KARYON_ORGANELLE_NOTE("0.1.0");

static karyon_status length(karyon_call* call) {
  call->results[0].kind = KARYON_U64;
  call->results[0].as.u64 = call->arguments[0].as.view.length;
  call->result_count = 1;
  return KARYON_OK;
}

static const karyon_function functions[] = {
    {"length", "v", "u", length, {10, 0, KARYON_NO_ARGUMENT, 0, NULL}, KARYON_RUN_AUTO, 0},
};
static const karyon_organelle table = {
    KARYON_TABLE_HEAD(karyon_organelle, 0), "length", "0.1.0", 0, functions, 1, sizeof(karyon_function), NULL,
};

karyon_status karyon_organelle_open(uint32_t host_major, uint32_t host_minor, const karyon_host* host,
                                    const karyon_organelle** out, karyon_error* error) {
  (void)host_minor;
  (void)host;
  if (host_major != KARYON_ABI_MAJOR) return karyon_fail(error, KARYON_WRONG_VERSION, "built for another host");
  *out = &table;
  return KARYON_OK;
}
