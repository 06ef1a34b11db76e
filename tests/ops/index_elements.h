/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OPS_INDEX_ELEMENTS_H
#define TESTS_OPS_INDEX_ELEMENTS_H

/* Definitions of the operators that index and rearrange, for one element of the result:
 * mostly by asking each element of an operand where it goes. */
#include "ops/light_cases.h"
#include "ops/lookup.h"

static const ntk_shape *shape_of(const op_test *h, int operand) {
  return &h->graph->values[h->node->inputs[operand]].shape;
}

static const ntk_shape *y_shape(const op_test *h) {
  return &h->graph->values[h->node->outputs[0]].shape;
}

static void index_of(const ntk_shape *s, int64_t e, int64_t index[NTK_MAX_DIMS]) {
  for (int d = s->ndim - 1; d >= 0; e /= s->dim[d--])
    index[d] = e % s->dim[d];
}

/* Element of an operand at an index of `ndim` axes, as broadcasting aligns them. */
static int64_t place_of(const ntk_shape *s, const int64_t *index, int ndim) {
  int64_t place = 0;
  for (int d = 0; d < s->ndim; d++)
    place = place * s->dim[d] + (s->dim[d] == 1 ? 0 : index[d + ndim - s->ndim]);
  return place;
}

static int axis_of(const op_test *h, int64_t axis, int ndim) {
  (void)h;
  return (int)(axis < 0 ? axis + ndim : axis);
}

static double tile_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  int64_t index[NTK_MAX_DIMS];
  index_of(y_shape(h), e, index);
  for (int d = 0; d < s->ndim; d++)
    while (index[d] >= s->dim[d])
      index[d] -= s->dim[d];
  return x[0][place_of(s, index, s->ndim)];
}

/* Where element k of the image goes. */
static int64_t block_place(const op_test *h, int64_t k) {
  const ntk_shape *s = shape_of(h, 0), *y = y_shape(h);
  const int64_t b = ntk_node_int(h->node, "blocksize", 0);
  int64_t i[NTK_MAX_DIMS], to[4];
  index_of(s, k, i);
  to[0] = i[0];
  const bool crd = strcmp(ntk_node_string(h->node, "mode", "DCR"), "CRD") == 0;
  if (h->node->op == &ntk_op_spacetodepth) {
    const int64_t place = i[2] % b * b + i[3] % b;
    to[1] = crd ? i[1] * b * b + place : place * s->dim[1] + i[1];
    to[2] = i[2] / b;
    to[3] = i[3] / b;
    return place_of(y, to, 4);
  }
  const int64_t place = crd ? i[1] % (b * b) : i[1] / y->dim[1];
  to[1] = crd ? i[1] / (b * b) : i[1] % y->dim[1];
  to[2] = i[2] * b + place / b;
  to[3] = i[3] * b + place % b;
  return place_of(y, to, 4);
}

/* Where element k of sequences goes. */
static int64_t reversed_place(const op_test *h, const double *lengths, int64_t k) {
  const ntk_shape *s = shape_of(h, 0);
  const int time = axis_of(h, ntk_node_int(h->node, "time_axis", 0), s->ndim);
  const int batch = axis_of(h, ntk_node_int(h->node, "batch_axis", 1), s->ndim);
  int64_t i[NTK_MAX_DIMS];
  index_of(s, k, i);
  const int64_t length = (int64_t)lengths[i[batch]];
  if (i[time] < length)
    i[time] = length - 1 - i[time];
  return place_of(s, i, s->ndim);
}

static double trilu_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const double k = h->operands > 1 ? x[1][0] : 0;
  const bool upper = ntk_node_int(h->node, "upper", 1);
  int64_t i[NTK_MAX_DIMS];
  index_of(s, e, i);
  const double row = (double)i[s->ndim - 2] + k, column = (double)i[s->ndim - 1];
  return (upper ? row <= column : row >= column) ? x[0][e] : 0;
}

static double compress_element(const op_test *h, const double *const x[OPERANDS],
                               int64_t e) {
  const ntk_shape *s = shape_of(h, 0);
  const bool flat = !ntk_node_attribute(h->node, "axis");
  const int axis = flat ? 0 : axis_of(h, ntk_node_int(h->node, "axis", 0), s->ndim);
  int64_t i[NTK_MAX_DIMS], k = 0;
  index_of(y_shape(h), e, i);
  for (int64_t left = i[axis]; left > 0 || x[1][k] == 0; k++)
    left -= x[1][k] != 0;
  i[axis] = k;
  return x[0][flat ? k : place_of(s, i, s->ndim)];
}

/* Place in the data that element k of the indices means. */
static int64_t along_axis(const op_test *h, const double *const x[OPERANDS], int64_t k) {
  const ntk_shape *s = shape_of(h, 0);
  const int axis = axis_of(h, ntk_node_int(h->node, "axis", 0), s->ndim);
  int64_t i[NTK_MAX_DIMS];
  index_of(shape_of(h, 1), k, i);
  i[axis] = axis_of(h, (int64_t)x[1][k], (int)s->dim[axis]);
  return place_of(s, i, s->ndim);
}

/* Place in the data of element `e` of what the rows of indices choose. */
static int64_t by_rows(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_shape *s = shape_of(h, 0), *i = shape_of(h, 1);
  const int batch = (int)ntk_node_int(h->node, "batch_dims", 0);
  const int length = (int)i->dim[i->ndim - 1];
  int64_t slice = 1, at = 0;
  for (int d = batch + length; d < s->ndim; d++)
    slice *= s->dim[d];
  const int64_t row = e / slice;
  int64_t batches = 1;
  for (int d = 0; d < batch; d++)
    batches *= s->dim[d];
  at = row / (ntk_shape_size(i) / length / batches);
  for (int d = 0; d < length; d++)
    at = at * s->dim[batch + d] +
         axis_of(h, (int64_t)x[1][row * length + d], (int)s->dim[batch + d]);
  return at * slice + e % slice;
}

static double index_element(const op_test *h, const double *const x[OPERANDS], int64_t e) {
  const ntk_op *op = h->node->op;
  const bool by_axis = op == &ntk_op_scatterelements || op == &ntk_op_scatter;
  if (op == &ntk_op_gatherelements || op == &ntk_op_lookup_elements)
    return x[0][along_axis(h, x, e)];
  if (op == &ntk_op_gathernd)
    return x[0][by_rows(h, x, e)];
  if (by_axis || op == &ntk_op_scatternd) {
    const bool adds = strcmp(ntk_node_string(h->node, "reduction", "none"), "add") == 0;
    double v = x[0][e];
    for (int64_t k = 0; k < h->size[2]; k++)
      if ((by_axis ? along_axis(h, x, k) : by_rows(h, x, k)) == e)
        v = (adds ? v : 0) + x[2][k];
    return v;
  }
  for (int64_t k = 0; k < h->size[0]; k++)
    if ((op == &ntk_op_reversesequence ? reversed_place(h, x[1], k) : block_place(h, k)) ==
        e)
      return x[0][k];
  return NAN;
}

#endif
