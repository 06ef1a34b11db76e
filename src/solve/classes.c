/* SPDX-License-Identifier: Apache-2.0 */
#include "solve/classes.h"
#include "base/memory.h"
#include <inttypes.h>

ntk_status ntk_classes_read(ntk_data *data, int64_t first, int64_t count,
                            int64_t *classes) {
  ntk_status status = NTK_SUCCESS;
  double *numbers = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, count, sizeof *numbers, &numbers));
  NTK_TRY(ntk_data_slice(data, first, count, NTK_F64, numbers));
  ntk_convert(NTK_F64, numbers, NTK_I64, classes, count);
done:
  ntk_free(&numbers);
  return status;
}

/* Does a class stand for each output of the network, or is this a selection of them? */
static bool is_selection(int64_t O, const int64_t *output) {
  for (int64_t o = 0; output && o < O; o++)
    if (output[o] != o)
      return true;
  return false;
}

/* Number among the outputs; -1: none of them. */
static int64_t find_output(int64_t O, const int64_t *output, int64_t class) {
  for (int64_t o = 0; o < O; o++)
    if ((output ? output[o] : o) == class)
      return o;
  return -1;
}

ntk_status ntk_classes_encode(const char *path, int64_t first, int64_t count, int64_t O,
                              const int64_t *output, int64_t *classes, double *targets) {
  ntk_status status = NTK_SUCCESS;
  const bool selection = is_selection(O, output);
  for (int64_t n = 0; n < count; n++) {
    const int64_t found = find_output(O, output, classes[n]);
    NTK_REQUIRE(classes[n] >= 0 && (found >= 0 || selection), NTK_ERR_SHAPE,
                "%s: class %" PRId64 " of sample %" PRId64 ", the kernel has %" PRId64
                " outputs",
                path, classes[n], first + n, O);
    for (int64_t o = 0; o < O; o++)
      targets[n * O + o] = (o == found) - 1.0 / (double)O;
    classes[n] = found;
  }
done:
  return status;
}
