/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "ops/dense.h"
#include "ops/light.h"

#include <math.h>
#include <string.h>

/* Resize and Upsample are a linear map along each axis, whose entries are known at import.
 * The axes from the first to the last that changes are one sparse matrix. */

enum { TAPS = 64, CUBIC_TAPS = 4 };

/* Entries of one output place of an axis; none: outside, the value is filled. */
typedef struct taps {
  int count;
  int64_t at[TAPS];
  double weight[TAPS];
} taps;

typedef enum mode { NEAREST, LINEAR, CUBIC } mode;

/* How the places of the input are found. */
typedef struct rule {
  mode mode;
  const char *coordinate, *nearest;
  bool old; /* operator sets before 11: neither is in the file */
  bool exclude_outside, crops, antialias;
  double a; /* of cubic */
} rule;

typedef struct axis {
  int64_t input, output;
  double scale, begin, end; /* begin, end: of the crop */
  bool changes;
} axis;

typedef struct plan {
  rule rule;
  int ndim;
  axis axis[NTK_MAX_DIMS];
} plan;

/* ---- attributes -----------------------------------------------------------------------
 */

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static bool known(const char *word, const char *const *list, int count) {
  for (int i = 0; i < count; i++)
    if (is(word, list[i]))
      return true;
  return false;
}

static ntk_status read_mode(const ntk_node *node, rule *r) {
  const char *word = ntk_node_string(node, "mode", "nearest");
  if (is(word, "nearest"))
    r->mode = NEAREST;
  else if (is(word, "linear") || is(word, "bilinear"))
    r->mode = LINEAR;
  else if (is(word, "cubic"))
    r->mode = CUBIC;
  else
    return ntk_fail(NTK_ERR_UNSUPPORTED, "mode is '%s'", word);
  return NTK_SUCCESS;
}

static ntk_status read_rule(const ntk_node *node, rule *r) {
  ntk_status status = NTK_SUCCESS;
  static const char *const coordinates[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
      "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
  static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                        "ceil"};
  r->old = node->opset < 11;
  r->coordinate =
      r->old ? "asymmetric"
             : ntk_node_string(node, "coordinate_transformation_mode", "half_pixel");
  r->nearest =
      r->old ? "floor" : ntk_node_string(node, "nearest_mode", "round_prefer_floor");
  r->exclude_outside = ntk_node_int(node, "exclude_outside", 0) != 0;
  r->a = ntk_node_float(node, "cubic_coeff_a", -0.75);
  r->crops = is(r->coordinate, "tf_crop_and_resize");
  NTK_TRY(read_mode(node, r));
  NTK_REQUIRE(known(r->coordinate, coordinates, 7), NTK_ERR_UNSUPPORTED,
              "coordinate_transformation_mode is '%s'", r->coordinate);
  NTK_REQUIRE(known(r->nearest, nearest, 4), NTK_ERR_UNSUPPORTED, "nearest_mode is '%s'",
              r->nearest);
  r->antialias = r->mode != NEAREST && ntk_node_int(node, "antialias", 0) != 0;
done:
  return status;
}

/* Operand i, or an attribute, as reals; *count = 0 where neither is there, or it is empty.
 */
static ntk_status reals_of(const ntk_graph *graph, const ntk_node *node, const char *name,
                           int i, double **list, int64_t *count) {
  ntk_status status = NTK_SUCCESS;
  const ntk_attribute *attribute = ntk_node_attribute(node, name);
  const ntk_value *value = i >= 0 ? ntk_operand(graph, node, i) : NULL;
  *count = 0;
  if (attribute && attribute->kind == NTK_ATTRIBUTE_FLOATS) {
    *count = attribute->count;
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, *count, sizeof **list, list));
    memcpy(*list, attribute->floats, (size_t)*count * sizeof **list);
  } else if (value && ntk_shape_size(&value->shape) > 0) {
    NTK_REQUIRE(value->constant, NTK_ERR_UNSUPPORTED,
                "%s is not known before the network runs", name);
    *count = ntk_shape_size(&value->shape);
    NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, *count, sizeof **list, list));
    ntk_convert(value->constant->dtype, value->constant->data, NTK_F64, *list, *count);
  }
done:
  return status;
}

/* Axes that scales, sizes and roi speak of: all, or those listed. */
static ntk_status named_axes(const ntk_node *node, int ndim, int64_t *count,
                             int axes[NTK_MAX_DIMS]) {
  ntk_status status = NTK_SUCCESS;
  const ntk_attribute *list = ntk_node_attribute(node, "axes");
  bool taken[NTK_MAX_DIMS] = {false};
  *count = list ? list->count : ndim;
  NTK_REQUIRE(*count <= ndim, NTK_ERR_SHAPE, "%lld axes of %d", (long long)*count, ndim);
  for (int i = 0; i < *count; i++) {
    axes[i] = i;
    if (list)
      NTK_TRY(ntk_take_axis(list->ints[i], ndim, taken, &axes[i]));
  }
done:
  return status;
}

/* ---- extents --------------------------------------------------------------------------
 */

static ntk_status by_scales(const double *scales, int64_t count, const int *axes, plan *p) {
  ntk_status status = NTK_SUCCESS;
  for (int64_t i = 0; i < count; i++) {
    axis *x = &p->axis[axes[i]];
    NTK_REQUIRE(scales[i] > 0 && scales[i] * (double)x->input < INT32_MAX, NTK_ERR_SHAPE,
                "a scale of %g", scales[i]);
    x->scale = scales[i];
    x->output = (int64_t)floor(scales[i] * (double)x->input);
  }
done:
  return status;
}

/* keep_aspect_ratio_policy makes the sizes one scale: the least or the greatest. */
static ntk_status by_sizes(const ntk_node *node, const double *sizes, int64_t count,
                           const int *axes, plan *p) {
  ntk_status status = NTK_SUCCESS;
  const char *policy = ntk_node_string(node, "keep_aspect_ratio_policy", "stretch");
  double one = 0;
  NTK_REQUIRE(is(policy, "stretch") || is(policy, "not_larger") ||
                  is(policy, "not_smaller"),
              NTK_ERR_UNSUPPORTED, "keep_aspect_ratio_policy is '%s'", policy);
  for (int64_t i = 0; i < count; i++) {
    axis *x = &p->axis[axes[i]];
    NTK_REQUIRE(sizes[i] >= 1 && sizes[i] < INT32_MAX, NTK_ERR_SHAPE, "a size of %g",
                sizes[i]);
    x->output = (int64_t)sizes[i];
    x->scale = sizes[i] / (double)x->input;
    if (i == 0 || (is(policy, "not_larger") ? x->scale < one : x->scale > one))
      one = x->scale;
  }
  for (int64_t i = 0; i < count && !is(policy, "stretch"); i++) {
    axis *x = &p->axis[axes[i]];
    x->scale = one;
    x->output = (int64_t)floor(one * (double)x->input + 0.5);
  }
done:
  return status;
}

static ntk_status set_crop(const double *roi, int64_t roi_count, int64_t count,
                           const int *axes, plan *p) {
  ntk_status status = NTK_SUCCESS;
  if (!p->rule.crops)
    return NTK_SUCCESS;
  NTK_REQUIRE(roi_count == 2 * count, NTK_ERR_SHAPE, "roi has %lld numbers for %lld axes",
              (long long)roi_count, (long long)count);
  for (int64_t i = 0; i < count; i++) {
    p->axis[axes[i]].begin = roi[i];
    p->axis[axes[i]].end = roi[count + i];
  }
done:
  return status;
}

/* Which axes stay as they are. */
static void mark_changes(plan *p) {
  for (int d = 0; d < p->ndim; d++) {
    axis *x = &p->axis[d];
    const bool whole = !p->rule.crops || (x->begin == 0 && x->end == 1);
    x->changes = x->output != x->input || x->scale != 1 || !whole;
  }
}

static ntk_status read_plan(const ntk_graph *graph, const ntk_node *node, plan *p) {
  ntk_status status = NTK_SUCCESS;
  double *scales = NULL, *sizes = NULL, *roi = NULL;
  int64_t scale_count, size_count, roi_count, count;
  int axes[NTK_MAX_DIMS];
  const bool has_roi = node->opset >= 11;
  const ntk_shape *x = &ntk_operand(graph, node, 0)->shape;
  *p = (plan){.ndim = x->ndim};
  for (int d = 0; d < x->ndim; d++)
    p->axis[d] = (axis){x->dim[d], x->dim[d], 1, 0, 1, false};
  NTK_TRY(read_rule(node, &p->rule));
  NTK_TRY(named_axes(node, x->ndim, &count, axes));
  NTK_TRY(reals_of(graph, node, "scales", has_roi ? 2 : 1, &scales, &scale_count));
  NTK_TRY(reals_of(graph, node, "sizes", has_roi ? 3 : -1, &sizes, &size_count));
  NTK_TRY(reals_of(graph, node, "roi", has_roi ? 1 : -1, &roi, &roi_count));
  NTK_REQUIRE((scale_count == count && size_count == 0) ||
                  (size_count == count && scale_count == 0),
              NTK_ERR_SHAPE, "%lld scales and %lld sizes for %lld axes",
              (long long)scale_count, (long long)size_count, (long long)count);
  NTK_TRY(scale_count ? by_scales(scales, count, axes, p)
                      : by_sizes(node, sizes, count, axes, p));
  NTK_TRY(set_crop(roi, roi_count, count, axes, p));
  mark_changes(p);
done:
  ntk_free(&scales);
  ntk_free(&sizes);
  ntk_free(&roi);
  return status;
}

/* ---- taps -----------------------------------------------------------------------------
 */

/* Where output place i reads, in units of input places. */
static double coordinate(const rule *r, const axis *x, int64_t i) {
  const double at = (double)i, in = (double)x->input, out = (double)x->output;
  if (is(r->coordinate, "asymmetric"))
    return at / x->scale;
  if (is(r->coordinate, "align_corners"))
    return x->output > 1 ? at * (in - 1) / (out - 1) : 0;
  if (is(r->coordinate, "tf_half_pixel_for_nn"))
    return (at + 0.5) / x->scale;
  if (r->crops)
    return x->output > 1 ? (x->begin + at * (x->end - x->begin) / (out - 1)) * (in - 1)
                         : 0.5 * (x->begin + x->end) * (in - 1);
  if (is(r->coordinate, "pytorch_half_pixel") && x->output == 1)
    return 0;
  const double half = (at + 0.5) / x->scale - 0.5;
  if (is(r->coordinate, "half_pixel_symmetric"))
    return half + in / 2 * (1 - out / (x->scale * in));
  return half;
}

/* Scales come as f32: what is a whole number in f32 is meant to be one. */
static int64_t nearest_place(const rule *r, double at) {
  const double meant = (double)(float)at;
  if (is(r->nearest, "floor"))
    return (int64_t)floor(meant);
  if (is(r->nearest, "ceil"))
    return (int64_t)ceil(meant);
  return is(r->nearest, "round_prefer_ceil") ? (int64_t)floor(meant + 0.5)
                                             : (int64_t)ceil(meant - 0.5);
}

static double cubic_weight(double a, double distance) {
  const double d = fabs(distance);
  if (d <= 1)
    return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

static void add_tap(taps *t, int64_t input, int64_t at, double weight) {
  at = at < 0 ? 0 : at >= input ? input - 1 : at;
  for (int i = 0; i < t->count; i++)
    if (t->at[i] == at) {
      t->weight[i] += weight;
      return;
    }
  t->at[t->count] = at;
  t->weight[t->count++] = weight;
}

static taps cubic_taps(const rule *r, const axis *x, double at) {
  const int64_t low = (int64_t)floor(at) - 1;
  taps t = {0};
  double sum = 0;
  for (int64_t i = low; i < low + CUBIC_TAPS; i++) {
    const bool outside = i < 0 || i >= x->input;
    const double weight =
        r->exclude_outside && outside ? 0 : cubic_weight(r->a, at - (double)i);
    sum += weight;
    if (!(r->exclude_outside && outside))
      add_tap(&t, x->input, i, weight);
  }
  for (int i = 0; i < t.count && r->exclude_outside; i++)
    t.weight[i] /= sum;
  return t;
}

/* How much further a kernel reaches that is stretched over an axis that shrinks. */
static double reach(const rule *r, const axis *x) {
  const double own = r->mode == CUBIC ? 2 : 1;
  return r->antialias && x->scale < 1 ? own / x->scale : own;
}

/* With antialias: weights that are stretched sum to 1 again. */
static taps stretched_taps(const rule *r, const axis *x, double at) {
  const double scale = x->scale < 1 ? x->scale : 1, far = reach(r, x);
  taps t = {0};
  double sum = 0;
  for (int64_t i = (int64_t)floor(at - far) + 1; (double)i < at + far; i++) {
    const double d = fabs(at - (double)i) * scale;
    const double weight = r->mode == CUBIC ? cubic_weight(r->a, d) : d < 1 ? 1 - d : 0;
    if (r->exclude_outside && (i < 0 || i >= x->input))
      continue;
    sum += weight;
    add_tap(&t, x->input, i, weight);
  }
  for (int i = 0; i < t.count; i++)
    t.weight[i] /= sum;
  return t;
}

static taps taps_at(const rule *r, const axis *x, int64_t i) {
  taps t = {0};
  if (!x->changes) {
    add_tap(&t, x->input, i, 1);
    return t;
  }
  const double at = coordinate(r, x, i);
  if (r->crops && (at < 0 || at > (double)(x->input - 1)))
    return t;
  if (r->antialias)
    return stretched_taps(r, x, at);
  if (r->mode == CUBIC)
    return cubic_taps(r, x, at);
  if (r->mode == NEAREST) {
    add_tap(&t, x->input, nearest_place(r, at), 1);
    return t;
  }
  const double low = floor(at);
  add_tap(&t, x->input, (int64_t)low, 1 - (at - low));
  if (at > low)
    add_tap(&t, x->input, (int64_t)low + 1, at - low);
  return t;
}

/* What programs disagree about: before operator set 11, places between two when they
 * shrink; which length's ends align where scales give no whole number. */
static ntk_status check_meaning(const plan *p) {
  for (int d = 0; d < p->ndim; d++) {
    const axis *x = &p->axis[d];
    const double length = x->scale * (double)x->input;
    if (x->changes && 2 * reach(&p->rule, x) + 1 > TAPS)
      return ntk_fail(NTK_ERR_UNSUPPORTED,
                      "antialias with a scale of %g: more than %d elements for one",
                      x->scale, TAPS);
    if (is(p->rule.coordinate, "align_corners") &&
        fabs(length - (double)x->output) > 1e-6 * length)
      return ntk_fail(NTK_ERR_UNSUPPORTED,
                      "align_corners with a scale of %g for %lld elements: it is not said "
                      "which length is meant; give sizes",
                      x->scale, (long long)x->input);
    for (int64_t i = 0;
         p->rule.old && p->rule.mode == NEAREST && x->scale < 1 && i < x->output; i++) {
      const double at = (double)(float)coordinate(&p->rule, x, i);
      if (at != floor(at))
        return ntk_fail(
            NTK_ERR_UNSUPPORTED,
            "nearest, a scale of %g: before operator set 11 it is not said which "
            "place is taken",
            x->scale);
    }
  }
  return NTK_SUCCESS;
}

/* ---- the matrix -----------------------------------------------------------------------
 */

/* The axes first .. last, together one matrix. */
typedef struct span {
  const plan *plan;
  int first, last;
} span;

static span changing(const plan *p) {
  span s = {p, 0, -1};
  while (s.first < p->ndim && !p->axis[s.first].changes)
    s.first++;
  for (int d = s.first; d < p->ndim; d++)
    if (p->axis[d].changes)
      s.last = d;
  return s;
}

/* Entries of a row, to column and weight where they are not NULL; returns their number. */
static int64_t make_row(const span *s, int64_t row, int64_t *column, double *weight) {
  int64_t count = 1;
  taps t[NTK_MAX_DIMS];
  for (int d = s->last; d >= s->first; d--) {
    const axis *x = &s->plan->axis[d];
    t[d] = taps_at(&s->plan->rule, x, row % x->output);
    row /= x->output;
    count *= t[d].count;
  }
  for (int64_t e = 0; e < count && column; e++) {
    int64_t rest = e, step = 1;
    column[e] = 0;
    weight[e] = 1;
    for (int d = s->last; d >= s->first; d--) {
      column[e] += t[d].at[rest % t[d].count] * step;
      weight[e] *= t[d].weight[rest % t[d].count];
      rest /= t[d].count;
      step *= s->plan->axis[d].input;
    }
  }
  return count;
}

static ntk_status make_matrix(ntk_node *node, const span *s, ntk_sparse sizes) {
  ntk_status status = NTK_SUCCESS;
  int64_t entries = 0;
  ntk_sparse *m;
  for (int64_t r = 0; r < sizes.rows && entries <= NTK_MOST_ENTRIES; r++)
    entries += make_row(s, r, NULL, NULL);
  NTK_TRY(ntk_sparse_create(node, sizes, entries, &m));
  for (int64_t r = 0, at = 0; r < m->rows; r++) {
    at += make_row(s, r, m->column + at, m->weight + at);
    m->start[r + 1] = at;
  }
done:
  return status;
}

static ntk_status resize_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  plan p;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  const ntk_value *x = ntk_operand(graph, node, 0);
  NTK_REQUIRE(ntk_dtype_is_real(x->dtype), NTK_ERR_UNSUPPORTED, "the data are %s",
              ntk_dtype_name(x->dtype));
  NTK_TRY(read_plan(graph, node, &p));
  NTK_TRY(check_meaning(&p));
  const span s = changing(&p);
  ntk_sparse sizes = {.outer = 1, .rows = 1, .columns = 1, .inner = 1};
  ntk_shape y = {.ndim = p.ndim};
  for (int d = 0; d < p.ndim; d++) {
    const axis *a = &p.axis[d];
    NTK_REQUIRE(a->output > 0 && a->input > 0, NTK_ERR_SHAPE, "axis %d is empty", d);
    y.dim[d] = a->output;
    if (d < s.first || d > s.last) {
      *(d < s.first ? &sizes.outer : &sizes.inner) *= a->input;
    } else {
      sizes.rows *= a->output;
      sizes.columns *= a->input;
    }
  }
  sizes.fill = ntk_node_float(node, "extrapolation_value", 0);
  NTK_TRY(ntk_check_size(&y));
  NTK_TRY(make_matrix(node, &s, sizes));
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, &y);
done:
  return status;
}

/* Axes that stay as they are keep their samples apart. */
static bool resize_keeps_batch(const ntk_graph *graph, const ntk_node *node,
                               const int *operand_axis, int output_axis) {
  plan p;
  for (int i = 1; i < node->input_count; i++)
    if (operand_axis[i] != NTK_BATCH_NONE)
      return false;
  return operand_axis[0] == output_axis && read_plan(graph, node, &p) == NTK_SUCCESS &&
         !p.axis[output_axis].changes;
}

static double resize_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_sparse *m = node->detail;
  (void)graph;
  return 2.0 * (double)(m->outer * m->inner) * (double)m->start[m->rows];
}

#define RESIZE_ROW(row, onnx, since, until, inputs, never)                                 \
  const ntk_op ntk_op_##row = {                                                            \
      .name = onnx,                                                                        \
      .first = since,                                                                      \
      .last = until,                                                                       \
      .min_in = 1,                                                                         \
      .max_in = inputs,                                                                    \
      .max_out = 1,                                                                        \
      .flags = NTK_OP_ADDITIVE,                                                            \
      .infer = resize_infer,                                                               \
      .keeps_batch = resize_keeps_batch,                                                   \
      .flops = resize_flops,                                                               \
      .not_parameter = never,                                                              \
      .kernels = {&ntk_sparse_kernels_f32, &ntk_sparse_kernels_f64}};
RESIZE_ROW(resize, "Resize", 10, 22, 4, 1u << 1 | 1u << 2 | 1u << 3)
RESIZE_ROW(upsample, "Upsample", 7, 9, 2, 1u << 1)
