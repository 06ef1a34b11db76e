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

/* Attributes of a window over `axes` spatial axes; NULL: missing. */
typedef struct listed {
  int axes;
  const char *auto_pad;
  const int64_t *strides, *dilations, *pads;
} listed;

static ntk_status read_listed(const ntk_node *node, int axes, listed *l) {
  ntk_status status = NTK_SUCCESS;
  l->axes = axes;
  l->auto_pad = ntk_node_string(node, "auto_pad", "NOTSET");
  NTK_REQUIRE(axes >= 1 && axes <= 3, NTK_ERR_UNSUPPORTED,
              "%d spatial axes; 1 to 3 are supported", axes);
  NTK_REQUIRE(known_auto_pad(l->auto_pad), NTK_ERR_UNSUPPORTED, "auto_pad is '%s'",
              l->auto_pad);
  NTK_TRY(integers(node, "strides", axes, 1, &l->strides));
  NTK_TRY(integers(node, "dilations", axes, 1, &l->dilations));
  NTK_TRY(integers(node, "pads", 2 * (int64_t)axes, 0, &l->pads));
  if (strcmp(l->auto_pad, "NOTSET") != 0)
    l->pads = NULL;
done:
  return status;
}

/* Axis a but for what depends on the other side's extent; i: the node's axis, < 0: none. */
static void start_axis(const listed *l, const int64_t *kernel, int i, int a,
                       ntk_window *window) {
  window->kernel[a] = i < 0 ? 1 : kernel[i];
  window->stride[a] = i < 0 || !l->strides ? 1 : l->strides[i];
  window->dilation[a] = i < 0 || !l->dilations ? 1 : l->dilations[i];
  window->pad_begin[a] = i < 0 || !l->pads ? 0 : l->pads[i];
  window->pad_end[a] = i < 0 || !l->pads ? 0 : l->pads[l->axes + i];
}

ntk_status ntk_window_infer(const ntk_node *node, const ntk_shape *x, const int64_t *kernel,
                            bool pooling, ntk_window *window) {
  ntk_status status = NTK_SUCCESS;
  const bool ceil_mode = pooling && ntk_node_int(node, "ceil_mode", 0) != 0;
  listed l;
  NTK_TRY(read_listed(node, x->ndim - 2, &l));
  for (int a = 0; a < 3; a++) {
    const int i = a - (3 - l.axes); /* missing axes lead */
    start_axis(&l, kernel, i, a, window);
    window->input[a] = i < 0 ? 1 : x->dim[2 + i];
    NTK_REQUIRE(window->input[a] > 0 && window->kernel[a] > 0, NTK_ERR_SHAPE,
                "an input axis of %lld with a kernel of %lld", (long long)window->input[a],
                (long long)window->kernel[a]);
    NTK_TRY(finish_axis(window, a, l.auto_pad, ceil_mode));
  }
  if (pooling)
    NTK_TRY(check_pooling(window));
done:
  return status;
}

/* Result and pads of axis a where the node says the result's extent: what is too much is
 * cut off on both sides, what is missing stays empty at the end. */
static void cut_to(ntk_window *w, int a, int64_t whole, int64_t result, bool upper) {
  const int64_t pad = whole > result ? whole - result : 0;
  w->input[a] = result;
  w->pad_begin[a] = upper ? pad / 2 : pad - pad / 2;
  w->pad_end[a] = pad - w->pad_begin[a];
}

ntk_status ntk_window_infer_transposed(const ntk_node *node, const ntk_shape *x,
                                       const int64_t *kernel, ntk_window *window) {
  ntk_status status = NTK_SUCCESS;
  const int64_t *room, *result;
  listed l;
  NTK_TRY(read_listed(node, x->ndim - 2, &l));
  NTK_TRY(integers(node, "output_padding", l.axes, 0, &room));
  NTK_TRY(integers(node, "output_shape", l.axes, 1, &result));
  const bool same = strncmp(l.auto_pad, "SAME_", 5) == 0;
  for (int a = 0; a < 3; a++) {
    const int i = a - (3 - l.axes);
    start_axis(&l, kernel, i, a, window);
    window->output[a] = i < 0 ? 1 : x->dim[2 + i];
    const int64_t whole = (window->output[a] - 1) * window->stride[a] +
                          (window->kernel[a] - 1) * window->dilation[a] + 1 +
                          (i < 0 || !room ? 0 : room[i]);
    window->input[a] = whole - window->pad_begin[a] - window->pad_end[a];
    if (i >= 0 && (result || same))
      cut_to(window, a, whole, result ? result[i] : window->output[a] * window->stride[a],
             strcmp(l.auto_pad, "SAME_UPPER") == 0);
    NTK_REQUIRE(window->output[a] > 0 && window->kernel[a] > 0 && window->input[a] > 0,
                NTK_ERR_SHAPE, "an axis of %lld with a kernel of %lld leaves nothing",
                (long long)window->output[a], (long long)window->kernel[a]);
  }
done:
  return status;
}
