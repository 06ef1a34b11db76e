/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_OPS_HARNESS_H
#define TESTS_OPS_HARNESS_H

/* One node over free-standing operands, and arrays of samples of all layouts, for the tests
 * of the operators. Numbers are kept in doubles; the f32 kernels are compared with the f64
 * ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"
#include "graph/op.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of cases end where the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define S(...)                                                                             \
  {                                                                                        \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), { __VA_ARGS__ }             \
  }
#define NONE                                                                               \
  {                                                                                        \
    -1, {                                                                                  \
      0                                                                                    \
    }                                                                                      \
  }

enum { OPERANDS = 5 };
typedef struct op_case {
  const ntk_op *op;
  const char *attributes;    /* "alpha=0.5 transB=1 pads=1,0, auto_pad=VALID" */
  ntk_shape shape[OPERANDS]; /* ndim -1: left out */
  int operands;
  const char *value[OPERANDS]; /* elements of a constant: "1,-2," integers, "0.5," reals */
  double shift[OPERANDS];      /* the elements lie around it, at most 1 away */
  int opset;                   /* 0: 17 */
} op_case;

typedef struct op_test {
  const op_case *origin;
  ntk_graph *graph;
  ntk_node *node;
  int operands;
  int64_t size[OPERANDS], y_size;
} op_test;

/* ---- the node ---- */

/* Elements from text; those that are left out are zero. */
static inline ntk_tensor *op_constant(const char *text, const ntk_shape *shape) {
  ntk_tensor *tensor;
  const ntk_dtype dtype = strchr(text, '.') ? NTK_F64 : NTK_I64;
  assert_int_equal(ntk_tensor_create(dtype, shape, &tensor), NTK_SUCCESS);
  for (int64_t i = 0; *text; i++) {
    char *end;
    assert_true(i < ntk_shape_size(shape));
    if (dtype == NTK_F64)
      ((double *)tensor->data)[i] = strtod(text, &end);
    else
      ((int64_t *)tensor->data)[i] = strtoll(text, &end, 10);
    text = end + strspn(end, ",]");
  }
  return tensor;
}

static inline void op_attribute_list(ntk_attribute *a, const char *value) {
  const bool reals = strchr(value, '.');
  a->kind = reals ? NTK_ATTRIBUTE_FLOATS : NTK_ATTRIBUTE_INTS;
  assert_int_equal(ntk_malloc(NTK_MEMORY_GENERAL, 8, sizeof(int64_t), &a->ints), 0);
  assert_int_equal(ntk_malloc(NTK_MEMORY_GENERAL, 8, sizeof(double), &a->floats), 0);
  for (const char *p = value; *p; p += strcspn(p, ","), p += *p == ',') {
    a->ints[a->count] = strtol(p, NULL, 10);
    a->floats[a->count++] = strtod(p, NULL);
  }
}

/* "1,2," are integers, "0.5," floats, "0.5" a float, "1" an integer, "[1]" a tensor of one
 * element, anything else a string. */
static inline void op_attribute(ntk_attribute *a, const char *name, const char *value) {
  assert_int_equal(ntk_strdup(name, &a->name), NTK_SUCCESS);
  if (*value == '[') {
    a->kind = NTK_ATTRIBUTE_TENSOR;
    a->tensor = op_constant(value + 1, &(ntk_shape)S(1));
  } else if (strchr(value, ',') && strspn(value, "-.,0123456789e") == strlen(value)) {
    op_attribute_list(a, value);
  } else if (strspn(value, "-0123456789") == strlen(value)) {
    a->kind = NTK_ATTRIBUTE_INT;
    a->i = strtol(value, NULL, 10);
  } else if (strspn(value, "-.0123456789") == strlen(value)) {
    a->kind = NTK_ATTRIBUTE_FLOAT;
    a->f = strtod(value, NULL);
  } else {
    a->kind = NTK_ATTRIBUTE_STRING;
    assert_int_equal(ntk_strdup(value, &a->s), NTK_SUCCESS);
  }
}

static inline void op_attributes(ntk_node *node, const char *text) {
  char name[64], value[64];
  int used = 0;
  assert_int_equal(
      ntk_calloc(NTK_MEMORY_GENERAL, 8, sizeof(ntk_attribute), &node->attributes), 0);
  while (sscanf(text, " %63[^=]=%63s%n", name, value, &used) == 2) {
    op_attribute(&node->attributes[node->attribute_count++], name, value);
    text += used;
  }
}

static inline op_test op_open(const op_case *c) {
  op_test h = {.origin = c, .operands = c->operands};
  int value, node;
  assert_int_equal(ntk_graph_create(&h.graph), NTK_SUCCESS);
  assert_int_equal(ntk_graph_add_node(h.graph, "node", c->op, c->operands, 1, &node), 0);
  for (int i = 0; i < c->operands; i++) {
    if (c->shape[i].ndim < 0)
      continue;
    assert_int_equal(ntk_graph_add_value(h.graph, "operand", &value), NTK_SUCCESS);
    ntk_value *v = &h.graph->values[value];
    v->shape = c->shape[i];
    v->dtype = NTK_F64;
    v->role = NTK_DATA;
    if (c->value[i]) {
      v->role = NTK_CONSTANT;
      v->constant = op_constant(c->value[i], &v->shape);
      v->dtype = v->constant->dtype;
    }
    h.graph->nodes[node].inputs[i] = value;
    h.size[i] = ntk_shape_size(&c->shape[i]);
  }
  assert_int_equal(ntk_graph_add_value(h.graph, "y", &value), NTK_SUCCESS);
  h.node = &h.graph->nodes[node];
  h.node->outputs[0] = value;
  h.node->opset = c->opset ? c->opset : 17;
  op_attributes(h.node, c->attributes);
  return h;
}

/* What is being tested, for the message. */
static const op_case *op_at_work;

/* With the shapes inferred, which must succeed. */
static inline op_test op_make(const op_case *c) {
  op_test h = op_open(c);
  if (c->op->infer(h.graph, h.node) != NTK_SUCCESS)
    fail_msg("%s %s: %s", c->op->name, c->attributes, ntk_fail_message());
  h.y_size = ntk_graph_size(h.graph, h.node->outputs[0]);
  assert_true(h.y_size > 0);
  op_at_work = c;
  return h;
}

static inline void op_free(op_test *h) { ntk_graph_destroy(&h->graph); }

/* Is operand i there, and not a constant? */
static inline bool op_varies(const op_test *h, int i) {
  return h->node->inputs[i] >= 0 && !h->origin->value[i];
}

/* ---- numbers ---- */

static inline double op_number(uint64_t seed, uint64_t i) { /* in (-1, 1) */
  uint64_t z = (seed << 32 | i) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (double)(int64_t)(z ^ (z >> 31)) / 0x1p63;
}

/* Elements [p, q, size] with gaps between the samples, or none; a count of 0 shares. */
typedef struct op_block {
  ntk_array a;
  int64_t count;
} op_block;

static inline op_block block_make(int64_t p, int64_t q, int64_t size, int64_t gap,
                                  uint64_t seed) {
  op_block b;
  b.a.inner = q ? size + gap : 0;
  b.a.outer = p ? (q ? q : 1) * (size + gap) + gap : 0;
  b.count = (p ? p : 1) * ((q ? q : 1) * (size + gap) + gap);
  double *data = malloc((size_t)(b.count + 1) * sizeof *data);
  assert_non_null(data);
  for (int64_t i = 0; i < b.count; i++)
    data[i] = op_number(seed, (uint64_t)i);
  b.a.data = data;
  return b;
}

static inline double *at(ntk_array a, int64_t i, int64_t j) {
  return (double *)a.data + i * a.outer + j * a.inner;
}

/* A constant as the kernels get it. */
static inline ntk_array op_held(const op_test *h, int i) {
  const ntk_tensor *constant = h->graph->values[h->node->inputs[i]].constant;
  double *data = malloc((size_t)(h->size[i] + 1) * sizeof *data);
  assert_non_null(data);
  ntk_convert(constant->dtype, constant->data, NTK_F64, data, h->size[i]);
  return (ntk_array){data, 0, 0};
}

/* The operands of n samples: bit i of `shared` makes operand i one for all. Reals are such
 * that f32 holds them. */
static inline void operands_make(const op_test *h, int64_t n, unsigned shared, int64_t gap,
                                 ntk_array in[OPERANDS]) {
  for (int i = 0; i < h->operands; i++) {
    in[i] = (ntk_array){NULL, 0, 0};
    if (h->node->inputs[i] < 0)
      continue;
    if (!op_varies(h, i)) {
      in[i] = op_held(h, i);
      continue;
    }
    const op_block b =
        block_make(shared >> i & 1 ? 0 : n, 0, h->size[i], gap, 10 + (uint64_t)i);
    for (int64_t k = 0; k < b.count; k++)
      ((double *)b.a.data)[k] =
          (double)(float)(((double *)b.a.data)[k] + h->origin->shift[i]);
    in[i] = b.a;
  }
}

static inline void arrays_free(int count, ntk_array *arrays) {
  for (int i = 0; i < count; i++)
    free(arrays[i].data);
}

static inline void *work_make(const op_test *h, int64_t n, int64_t o) {
  const int64_t count =
      h->node->op->workspace ? h->node->op->workspace(h->graph, h->node, n, o) : 0;
  void *work = malloc((size_t)(count + 1) * sizeof(double));
  assert_non_null(work);
  return work;
}

/* ---- calls of the f64 kernels ---- */

static inline void op_forward(const op_test *h, int64_t n, const ntk_array *in,
                              ntk_array y) {
  void *work = work_make(h, n, 1);
  h->node->op->kernels[NTK_F64]->forward(h->node, n, in, &y, work);
  free(work);
}

static inline void op_vjp(const op_test *h, int operand, int64_t n, int64_t o,
                          const ntk_array *in, ntk_array y, ntk_array dy, ntk_array dx,
                          bool add) {
  void *work = work_make(h, n, o);
  h->node->op->kernels[NTK_F64]->vjp(h->node, operand, n, o, in, &y, dy, dx, add, work);
  free(work);
}

static inline void op_jvp(const op_test *h, int64_t d, int64_t n, const ntk_array *in,
                          ntk_array y, const ntk_array *dx, ntk_array dy) {
  void *work = work_make(h, n, d);
  h->node->op->kernels[NTK_F64]->jvp(h->node, d, n, in, &y, dx, dy, work);
  free(work);
}

static inline void near(double a, double b, double tolerance) {
  if (!(fabs(a - b) <= tolerance * (1 + fabs(a) + fabs(b))))
    fail_msg("%s %s: %.17g is not %.17g", op_at_work->op->name, op_at_work->attributes, a,
             b);
}

/* Where samples would mix: the axis that carries the batch, of each operand (-1: none) and
 * of the output. */
typedef struct batch_rule {
  op_case c;
  int axis[OPERANDS], output_axis;
  bool keeps;
} batch_rule;

static inline void check_batch_rules(size_t count, const batch_rule *rows) {
  for (size_t i = 0; i < count; i++) {
    op_test h = op_make(&rows[i].c);
    if (h.node->op->keeps_batch(h.graph, h.node, rows[i].axis, rows[i].output_axis) !=
        rows[i].keeps)
      fail_msg("%s (row %zu)", rows[i].c.op->name, i);
    op_free(&h);
  }
}

#endif
