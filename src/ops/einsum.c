/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "ops/dense.h"

#include <ctype.h>
#include <string.h>

/* ---- the equation ---------------------------------------------------------------------
 */

/* Labels are letters; the axes of an ellipsis are '0' (the last one), '1', ... One term of
 * the equation: before and behind its ellipsis. */
typedef struct term {
  int count, ellipsis; /* letters; how many stand before the ellipsis, -1: there is none */
  char letter[NTK_MAX_DIMS];
} term;
typedef struct equation {
  int count; /* operands */
  bool has_result;
  term term[NTK_EINSUM_OPERANDS], result;
} equation;

/* Reads a term up to a comma, an arrow or the end; *text stands there afterwards. */
static ntk_status read_term(const char **text, term *t) {
  ntk_status status = NTK_SUCCESS;
  const char *p = *text;
  *t = (term){.ellipsis = -1};
  for (; *p && *p != ',' && *p != '-'; p++) {
    if (*p == ' ')
      continue;
    if (strncmp(p, "...", 3) == 0 && t->ellipsis < 0) {
      t->ellipsis = t->count;
      p += 2;
      continue;
    }
    NTK_REQUIRE(isalpha((unsigned char)*p), NTK_ERR_UNSUPPORTED,
                "the equation has '%c' where a letter should be", *p);
    NTK_REQUIRE(t->count < NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "more than %d axes",
                NTK_MAX_DIMS);
    t->letter[t->count++] = *p;
  }
  *text = p;
done:
  return status;
}

static ntk_status read_equation(const ntk_node *node, equation *q) {
  ntk_status status = NTK_SUCCESS;
  const char *p = ntk_node_string(node, "equation", "");
  *q = (equation){0};
  for (bool more = true; more; q->count++) {
    NTK_REQUIRE(q->count < NTK_EINSUM_OPERANDS, NTK_ERR_UNSUPPORTED,
                "more than %d operands", NTK_EINSUM_OPERANDS);
    NTK_TRY(read_term(&p, &q->term[q->count]));
    more = *p == ',';
    p += more;
  }
  NTK_REQUIRE(q->count == node->input_count, NTK_ERR_SHAPE,
              "the equation has %d terms for %d operands", q->count, node->input_count);
  q->has_result = *p == '-';
  if (q->has_result) {
    NTK_REQUIRE(p[1] == '>', NTK_ERR_UNSUPPORTED, "the equation has a '-' without '>'");
    p += 2;
    NTK_TRY(read_term(&p, &q->result));
  }
  NTK_REQUIRE(!*p, NTK_ERR_UNSUPPORTED, "the equation ends with '%s'", p);
done:
  return status;
}

/* Names the axes of a term whose ellipsis has `hidden` axes. */
static ntk_status name_axes(const term *t, int hidden, int *ndim, char *name) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(hidden >= 0 && t->count + hidden <= NTK_MAX_DIMS &&
                  (t->ellipsis >= 0 || !hidden),
              NTK_ERR_SHAPE, "an operand has not as many axes as its term");
  const int before = t->ellipsis < 0 ? t->count : t->ellipsis;
  *ndim = t->count + hidden;
  for (int i = 0; i < before; i++)
    name[i] = t->letter[i];
  for (int i = 0; i < hidden; i++)
    name[before + i] = (char)('0' + hidden - 1 - i);
  for (int i = before; i < t->count; i++)
    name[hidden + i] = t->letter[i];
done:
  return status;
}

/* Without an arrow: the ellipsis, then the letters that stand once, in their order. */
static ntk_status implied_result(const equation *q, term *result) {
  ntk_status status = NTK_SUCCESS;
  *result = (term){.ellipsis = 0};
  for (int letter = 'A'; letter <= 'z'; letter++) {
    int found = 0;
    for (int i = 0; i < q->count; i++)
      for (int k = 0; k < q->term[i].count; k++)
        found += q->term[i].letter[k] == letter;
    if (found != 1)
      continue;
    NTK_REQUIRE(result->count < NTK_MAX_DIMS, NTK_ERR_UNSUPPORTED, "more than %d axes",
                NTK_MAX_DIMS);
    result->letter[result->count++] = (char)letter;
  }
done:
  return status;
}

static ntk_status name_all(const ntk_graph *graph, const ntk_node *node, ntk_einsum *e) {
  ntk_status status = NTK_SUCCESS;
  equation q;
  int most = 0;
  NTK_TRY(read_equation(node, &q));
  e->operands = q.count;
  for (int i = 0; i < q.count; i++) {
    const int hidden = ntk_dense_shape(graph, node, i)->ndim - q.term[i].count;
    NTK_TRY(name_axes(&q.term[i], hidden, &e->ndim[i], e->name[i]));
    most = hidden > most ? hidden : most;
  }
  if (!q.has_result)
    NTK_TRY(implied_result(&q, &q.result));
  NTK_TRY(name_axes(&q.result, q.result.ellipsis < 0 ? 0 : most,
                    &e->ndim[NTK_EINSUM_OPERANDS], e->name[NTK_EINSUM_OPERANDS]));
done:
  return status;
}

/* ---- loops ----------------------------------------------------------------------------
 */

/* Number of the loop over a label; extents that differ must be 1. */
static ntk_status take_label(ntk_einsum *e, char *loops, char name, int64_t extent,
                             int *label) {
  ntk_status status = NTK_SUCCESS;
  const char *at = e->labels ? memchr(loops, name, (size_t)e->labels) : NULL;
  *label = at ? (int)(at - loops) : e->labels;
  if (!at) {
    NTK_REQUIRE(e->labels < NTK_EINSUM_LABELS, NTK_ERR_UNSUPPORTED, "more than %d labels",
                NTK_EINSUM_LABELS);
    loops[e->labels] = name;
    e->extent[e->labels++] = extent;
  }
  int64_t *known = &e->extent[*label];
  NTK_REQUIRE(extent == *known || extent == 1 || *known == 1, NTK_ERR_SHAPE,
              "axes of %lld and %lld elements have the same label", (long long)extent,
              (long long)*known);
  *known = *known == 1 ? extent : *known;
done:
  return status;
}

static ntk_status add_operand(ntk_einsum *e, int i, const ntk_shape *x, char *loops) {
  ntk_status status = NTK_SUCCESS;
  int64_t stride[NTK_MAX_DIMS];
  int label;
  ntk_shape_strides(x, stride);
  e->size[i] = ntk_shape_size(x);
  for (int d = 0; d < x->ndim; d++) {
    NTK_TRY(take_label(e, loops, e->name[i][d], x->dim[d], &label));
    e->stride[i][label] += x->dim[d] == 1 ? 0 : stride[d];
  }
done:
  return status;
}

static ntk_status add_result(ntk_einsum *e, char *loops, ntk_shape *y) {
  ntk_status status = NTK_SUCCESS;
  const int r = NTK_EINSUM_OPERANDS;
  int label[NTK_MAX_DIMS];
  int64_t stride[NTK_MAX_DIMS];
  *y = (ntk_shape){.ndim = e->ndim[r]};
  for (int d = 0; d < y->ndim; d++) {
    const char *at = e->labels ? memchr(loops, e->name[r][d], (size_t)e->labels) : NULL;
    NTK_REQUIRE(at && !memchr(e->name[r], e->name[r][d], (size_t)d), NTK_ERR_UNSUPPORTED,
                "label '%c' of the result stands there twice, or in no operand",
                e->name[r][d]);
    label[d] = (int)(at - loops);
    y->dim[d] = e->extent[label[d]];
  }
  ntk_shape_strides(y, stride);
  e->size[r] = ntk_shape_size(y);
  for (int d = 0; d < y->ndim; d++)
    e->stride[r][label[d]] = stride[d];
done:
  return status;
}

static void drop_label(ntk_einsum *e, int label) {
  e->labels--;
  for (int k = label; k < e->labels; k++) {
    e->extent[k] = e->extent[k + 1];
    for (int i = 0; i <= NTK_EINSUM_OPERANDS; i++)
      e->stride[i][k] = e->stride[i][k + 1];
  }
}

/* Is a loop over `outer` and `inner` one over both, in all operands? */
static bool continues(const ntk_einsum *e, int outer, int inner) {
  for (int i = 0; i <= NTK_EINSUM_OPERANDS; i++)
    if (e->stride[i][outer] != e->stride[i][inner] * e->extent[inner])
      return false;
  return outer != inner;
}

static bool merge_any(ntk_einsum *e) {
  for (int a = 0; a < e->labels; a++)
    for (int b = 0; b < e->labels; b++)
      if (continues(e, a, b)) {
        e->extent[b] *= e->extent[a];
        drop_label(e, a);
        return true;
      }
  return false;
}

static ntk_status einsum_infer(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  char loops[NTK_EINSUM_LABELS];
  ntk_einsum *e;
  ntk_shape y;
  NTK_TRY(ntk_dense_begin(graph, node, node->input_count, sizeof *e, &e));
  NTK_TRY(name_all(graph, node, e));
  for (int i = 0; i < e->operands; i++)
    NTK_TRY(add_operand(e, i, ntk_dense_shape(graph, node, i), loops));
  NTK_TRY(add_result(e, loops, &y));
  for (int k = 0; k < e->labels; k++)
    NTK_REQUIRE(e->extent[k] > 0, NTK_ERR_UNSUPPORTED, "an axis is empty");
  for (int k = e->labels - 1; k >= 0; k--)
    if (e->extent[k] == 1)
      drop_label(e, k);
  while (merge_any(e))
    ;
  ntk_dense_output(graph, node, &y);
done:
  return status;
}

/* The label of the batch stands once in each operand that carries it, and in the result. */
static bool einsum_keeps_batch(const ntk_graph *graph, const ntk_node *node,
                               const int *axis, int output_axis) {
  const ntk_einsum *e = node->detail;
  const char name = e->name[NTK_EINSUM_OPERANDS][output_axis];
  (void)graph;
  for (int i = 0; i < e->operands; i++)
    for (int d = 0; d < e->ndim[i]; d++)
      if (axis[i] != NTK_BATCH_NONE && (e->name[i][d] == name) != (d == axis[i]))
        return false;
  return true;
}

/* ---- factors --------------------------------------------------------------------------
 */

/* A loop of the factor description: its count, its stride in weight, X and D. */
typedef struct loop {
  int64_t *count, *w, *x, *d;
} loop;

/* The product of two that it is: each label is one of a group, of a sum (k), a channel (c)
 * or a position (t); one loop of each kind, two of positions, can be described. */
static bool einsum_use(const ntk_graph *graph, const ntk_node *node, int operand,
                       ntk_use *use) {
  const ntk_einsum *e = node->detail;
  int64_t none;
  (void)graph;
  if (e->operands != 2)
    return false;
  const int64_t *w = e->stride[operand], *x = e->stride[1 - operand];
  const int64_t *y = e->stride[NTK_EINSUM_OPERANDS];
  *use = (ntk_use){.G = 1, .T1 = 1, .T2 = 1, .K = 1, .C = 1, .scale = 1};
  use->x_operand = 1 - operand;
  const loop group = {&use->G, &use->wg, &use->xg, &use->dg};
  const loop sum = {&use->K, &use->wk, &use->xk, &none};
  const loop channel = {&use->C, &use->wc, &none, &use->dc};
  const loop place = {&use->T2, &none, &use->xt2, &use->dt2};
  const loop outer = {&use->T1, &none, &use->xt1, &use->dt1};
  for (int k = 0; k < e->labels; k++) {
    if (!x[k] + !y[k] + !w[k] > 1) /* one operand is to be summed alone */
      return false;
    const loop to = !y[k]          ? sum
                    : !x[k]        ? channel
                    : w[k]         ? group
                    : use->T2 == 1 ? place
                                   : outer;
    if (*to.count != 1)
      return false;
    *to.count = e->extent[k];
    *to.w = w[k];
    *to.x = x[k];
    *to.d = y[k];
  }
  return use->G * use->K * use->C == e->size[operand]; /* all its elements, once */
}

static double einsum_flops(const ntk_graph *graph, const ntk_node *node) {
  const ntk_einsum *e = node->detail;
  double flops = e->operands;
  (void)graph;
  for (int k = 0; k < e->labels; k++)
    flops *= (double)e->extent[k];
  return flops;
}

const ntk_op ntk_op_einsum = {
    .name = "Einsum",
    .first = 12,
    .last = 22,
    .min_in = 1,
    .max_in = NTK_EINSUM_OPERANDS,
    .max_out = 1,
    .flags = NTK_OP_MULTILINEAR,
    .infer = einsum_infer,
    .keeps_batch = einsum_keeps_batch,
    .use = einsum_use,
    .flops = einsum_flops,
    .parameter_slot = 1u << 0 | 1u << 1 | 1u << 2,
    .kernels = {&ntk_einsum_kernels_f32, &ntk_einsum_kernels_f64},
};
