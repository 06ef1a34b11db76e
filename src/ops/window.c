/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dense.h"

#include <string.h>

/* Entries of an attribute of `count` integers, each at least `least`; NULL where it is
 * missing. */
static ntk_status integers(const ntk_node *node, const char *name, int64_t count,
                           int64_t least, const int64_t **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_attribute *attribute = ntk_node_attribute(node, name);
  *out = NULL;
  if (!attribute)
    return NTK_SUCCESS;
  NTK_REQUIRE(attribute->kind == NTK_ATTRIBUTE_INTS && attribute->count == count,
              NTK_ERR_SHAPE, "attribute %s must hold %lld integers", name,
              (long long)count);
  for (int64_t i = 0; i < count; i++)
    NTK_REQUIRE(attribute->ints[i] >= least && attribute->ints[i] < INT32_MAX,
                NTK_ERR_UNSUPPORTED, "attribute %s holds %lld, out of its range", name,
                (long long)attribute->ints[i]);
  *out = attribute->ints;
done:
  return status;
}

static int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The last window of ceil_mode starts inside the input or the leading padding, as in
 * PyTorch and in operator set 22. */
static int64_t explicit_output(const ntk_window *w, int a, int64_t extent, bool ceil_mode) {
  const int64_t room = w->input[a] + w->pad_begin[a] + w->pad_end[a] - extent;
  if (room < 0)
    return 0;
  if (!ceil_mode)
    return room / w->stride[a] + 1;
  const int64_t last = round_up(room, w->stride[a]);
  return last * w->stride[a] >= w->input[a] + w->pad_begin[a] ? last : last + 1;
}

/* Pads and output of axis a, the window's other fields being set. */
static ntk_status finish_axis(ntk_window *w, int a, const char *auto_pad, bool ceil_mode) {
  ntk_status status = NTK_SUCCESS;
  const int64_t extent = (w->kernel[a] - 1) * w->dilation[a] + 1;
  if (strncmp(auto_pad, "SAME_", 5) == 0) {
    w->output[a] = round_up(w->input[a], w->stride[a]);
    int64_t pad = (w->output[a] - 1) * w->stride[a] + extent - w->input[a];
    pad = pad < 0 ? 0 : pad;
    w->pad_begin[a] = strcmp(auto_pad, "SAME_UPPER") == 0 ? pad / 2 : pad - pad / 2;
    w->pad_end[a] = pad - w->pad_begin[a];
  } else {
    w->output[a] = explicit_output(w, a, extent, ceil_mode);
  }
  NTK_REQUIRE(w->output[a] > 0, NTK_ERR_SHAPE,
              "a window of %lld does not fit an axis of %lld with padding %lld + %lld",
              (long long)extent, (long long)w->input[a], (long long)w->pad_begin[a],
              (long long)w->pad_end[a]);
done:
  return status;
}

/* Pooling a window that touches no input has no value. */
static ntk_status check_pooling(const ntk_window *w) {
  for (int a = 0; a < 3; a++)
    for (int64_t i = 0; i < w->output[a]; i++) {
      const ntk_span s = ntk_window_span(w, a, i);
      if (s.low == s.high)
        return ntk_fail(NTK_ERR_UNSUPPORTED, "a pooling window lies in the padding alone");
    }
  return NTK_SUCCESS;
}

static bool known_auto_pad(const char *auto_pad) {
  static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
  for (int i = 0; i < 4; i++)
    if (strcmp(auto_pad, names[i]) == 0)
      return true;
  return false;
}

ntk_status ntk_window_infer(const ntk_node *node, const ntk_shape *x, const int64_t *kernel,
                            bool pooling, ntk_window *window) {
  ntk_status status = NTK_SUCCESS;
  const int axes = x->ndim - 2;
  const char *auto_pad = ntk_node_string(node, "auto_pad", "NOTSET");
  const bool ceil_mode = pooling && ntk_node_int(node, "ceil_mode", 0) != 0;
  const int64_t *strides, *dilations, *pads;
  NTK_REQUIRE(axes >= 1 && axes <= 3, NTK_ERR_UNSUPPORTED,
              "%d spatial axes; 1 to 3 are supported", axes);
  NTK_REQUIRE(known_auto_pad(auto_pad), NTK_ERR_UNSUPPORTED, "auto_pad is '%s'", auto_pad);
  NTK_TRY(integers(node, "strides", axes, 1, &strides));
  NTK_TRY(integers(node, "dilations", axes, 1, &dilations));
  NTK_TRY(integers(node, "pads", 2 * (int64_t)axes, 0, &pads));
  if (strcmp(auto_pad, "NOTSET") != 0)
    pads = NULL;
  for (int a = 0; a < 3; a++) {
    const int i = a - (3 - axes); /* the node's axis; missing ones lead */
    window->input[a] = i < 0 ? 1 : x->dim[2 + i];
    window->kernel[a] = i < 0 ? 1 : kernel[i];
    window->stride[a] = i < 0 || !strides ? 1 : strides[i];
    window->dilation[a] = i < 0 || !dilations ? 1 : dilations[i];
    window->pad_begin[a] = i < 0 || !pads ? 0 : pads[i];
    window->pad_end[a] = i < 0 || !pads ? 0 : pads[axes + i];
    NTK_REQUIRE(window->input[a] > 0 && window->kernel[a] > 0, NTK_ERR_SHAPE,
                "an input axis of %lld with a kernel of %lld", (long long)window->input[a],
                (long long)window->kernel[a]);
    NTK_TRY(finish_axis(window, a, auto_pad, ceil_mode));
  }
  if (pooling)
    NTK_TRY(check_pooling(window));
done:
  return status;
}
