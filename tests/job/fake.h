/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TESTS_JOB_FAKE_H
#define NTK_TESTS_JOB_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "job/job.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A simulator for the loop: its factors say which row block they are, its kernel is a known
 * function, its sink keeps every element and how often it was written. */

typedef enum fake_place { IN_SWEEP, IN_CONTRACT, IN_WRITE, PLACES } fake_place;

typedef struct fake {
  ntk_context *context;
  const ntk_job_shape *shape;
  int64_t calls[PLACES], sweeps[2]; /* of this rank */
  int depth, my_depth, passes;      /* of the layout in hand */
  int pass;
  int64_t completed;  /* tiles that were contracted to the end */
  int64_t due_writes; /* of those of them that are mine */
  int64_t most_memory;
  int wrong;                   /* blocks, tiles or values that were not as due */
  fake_place place;            /* at this call on this rank: */
  int64_t call;                /*   -1: never */
  ntk_status failure;          /*   this failure, or with success */
  bool stops;                  /*   a wish to stop */
  int64_t bad_row, bad_column; /* samples whose kernel is bad_value; -1: none */
  double bad_value;
  bool fired;
  int64_t kept; /* about one of so many tiles is there before the run; 0: none */
  ntk_job_traffic traffic;
  void *kernel;          /* [elements] in the job's type, zero where unwritten */
  unsigned char *writes; /* [elements] */
} fake;

static bool is_summed_over_outputs(const ntk_job_shape *s) {
  return s->reduction == NTK_REDUCE_TRACE;
}
static int64_t fake_elements(const ntk_job_shape *s) {
  const int64_t samples = s->rows * s->columns;
  return s->reduction == NTK_REDUCE_NONE       ? samples * s->outputs * s->outputs
         : s->reduction == NTK_REDUCE_DIAGONAL ? samples * s->outputs
                                               : samples;
}

/* ---- the function ---------------------------------------------------------------------
 */

/* One entry; symmetric where the job is. */
static double entry(const ntk_job_shape *s, int64_t n, int64_t o, int64_t m, int64_t p) {
  const double a = (double)(n * s->outputs + o + 1), b = (double)(m * s->outputs + p + 1);
  return sqrt(a * b) + 1 / (s->symmetric ? a + b : a + 3 * b);
}

/* An element of the result. */
static double due(const ntk_job_shape *s, int64_t n, int64_t o, int64_t m, int64_t p) {
  if (!is_summed_over_outputs(s))
    return entry(s, n, o, m, p);
  double sum = 0;
  for (int64_t k = 0; k < s->outputs; k++)
    sum += entry(s, n, k, m, k);
  return sum;
}

/* Something happens at the call-th call in a place. */
static ntk_status fire(fake *f, fake_place place) {
  const int64_t call = f->calls[place]++;
  if (f->place != place || f->call != call)
    return NTK_SUCCESS;
  f->fired = true;
  if (f->stops)
    ntk_context_stop(f->context);
  if (f->failure == NTK_SUCCESS)
    return NTK_SUCCESS;
  return ntk_fail(f->failure, "rank %d failed in %d", f->context->rank, (int)place);
}

/* ---- the worker -----------------------------------------------------------------------
 */

enum { HEAD = 6 };
static int64_t fake_block_bytes(void *self, int d, int64_t n, int64_t o) {
  const fake *f = self;
  return (HEAD + n * o) * (int64_t)sizeof(int64_t) + 3 + 61 * d +
         150 * (f->pass % 2); /* no round number */
}

/* Of which share and pass the factors are. */
static int64_t fake_part(const fake *f, int d) { return d + 16 * f->pass; }

static void fake_begin_pass(void *self, int pass) {
  fake *f = self;
  f->pass = pass;
}

static void fill_block(int64_t *block, const int64_t head[HEAD]) {
  memcpy(block, head, HEAD * sizeof *head);
  for (int64_t i = 0; i < head[2] * head[4]; i++)
    block[HEAD + i] = 1000 * (head[1] + i / head[4]) + head[3] + i % head[4] +
                      7000000 * head[0] + 70000000 * head[5];
}

static int64_t fake_packed_bytes(void *self, int d, int64_t n, int64_t o) {
  return fake_block_bytes(self, d, n, o);
}
static void fake_pack(void *self, int64_t n, int64_t o, const void *column, void *packed) {
  memcpy(packed, column, (size_t)fake_block_bytes(self, ((fake *)self)->my_depth, n, o));
}
static ntk_status fake_sweep(void *self, int side, int64_t first, int64_t n, int64_t output,
                             int64_t o, void *const *shares) {
  fake *f = self;
  const ntk_status status = fire(f, IN_SWEEP);
  f->sweeps[side]++;
  for (int d = 0; d < f->depth; d++) {
    const int64_t head[HEAD] = {
        f->shape->symmetric ? 0 : side, first, n, output, o, fake_part(f, d)};
    if (status == NTK_SUCCESS)
      fill_block(shares[d], head);
    else
      memset(shares[d], 0xff, sizeof(int64_t));
  }
  return status;
}

static bool is_block(const void *block, const int64_t head[HEAD]) {
  int64_t want[HEAD + 256];
  fill_block(want, head);
  return memcmp(block, want, (size_t)(HEAD + head[2] * head[4]) * sizeof *want) == 0;
}

/* Adds one element of a tile, a mirrored half of which is left as rubbish. Of several
 * passes the first has too much, and the others take it back. */
static void add(const fake *f, double *element, bool rubbish, double value, int64_t n,
                int64_t m) {
  if (rubbish)
    value = NAN;
  else if (n == f->bad_row && m == f->bad_column)
    value = f->bad_value;
  value *= f->pass > 0 ? -ldexp(1, f->passes - 1 - f->pass) : ldexp(1, f->passes - 1);
  /* a share of depth d has d + 1 parts of it */
  *element +=
      f->depth == 1 ? value : value * 2 * (f->my_depth + 1) / f->depth / (f->depth + 1);
}

static void add_full(const fake *f, const ntk_tile *t, bool mirror, double *acc) {
  for (int64_t i = 0; i < t->row_count * t->row_outputs; i++)
    for (int64_t j = 0; j < t->column_count * t->column_outputs; j++) {
      const int64_t n = t->row_first + i / t->row_outputs;
      const int64_t m = t->column_first + j / t->column_outputs;
      add(f, acc++, mirror && j > i,
          entry(f->shape, n, t->row_output + i % t->row_outputs, m,
                t->column_output + j % t->column_outputs),
          n, m);
    }
}

static void add_equal_outputs(const fake *f, const ntk_tile *t, bool mirror, double *acc) {
  const int64_t samples = t->row_count * t->column_count;
  for (int64_t o = 0; o < t->row_outputs; o++)
    for (int64_t i = 0; i < t->row_count; i++)
      for (int64_t j = 0; j < t->column_count; j++) {
        const int64_t n = t->row_first + i, m = t->column_first + j;
        double *plane = is_summed_over_outputs(f->shape) ? acc : acc + o * samples;
        add(f, &plane[i * t->column_count + j], mirror && j > i,
            entry(f->shape, n, t->row_output + o, m, t->row_output + o), n, m);
      }
}

/* Writes of a tile to which no more is added. */
static int64_t writes_of(const ntk_job_shape *s, const ntk_tile *t, bool mirror) {
  if (is_summed_over_outputs(s) && t->row_output + t->row_outputs < s->outputs)
    return 0;
  return s->symmetric && !mirror ? 2 : 1;
}

/* Every second time the other work comes last: both are allowed. */
static ntk_status fake_contract(void *self, const ntk_tile *t, const void *row,
                                const void *column, bool mirror, double *acc,
                                ntk_meanwhile meanwhile) {
  ntk_status status = NTK_SUCCESS;
  fake *f = self;
  const ntk_job_shape *s = f->shape;
  const int64_t mine = fake_part(f, f->my_depth);
  const int64_t row_head[] = {
      0, t->row_first, t->row_count, t->row_output, t->row_outputs, mine};
  const int64_t column_head[] = {!s->symmetric,    t->column_first,   t->column_count,
                                 t->column_output, t->column_outputs, mine};
  const bool same =
      s->symmetric && t->row_first == t->column_first && t->row_output == t->column_output;
  const bool equal =
      s->reduction == NTK_REDUCE_TRACE || s->reduction == NTK_REDUCE_DIAGONAL;
  if (ntk_memory_used_total() > f->most_memory)
    f->most_memory = ntk_memory_used_total();
  f->wrong += !is_block(row, row_head) || !is_block(column, column_head);
  f->wrong += (uintptr_t)row % 64 || (uintptr_t)column % 64 || mirror != same;
  f->wrong += equal && t->row_output != t->column_output;
  const bool late = f->calls[IN_CONTRACT] % 2;
  if (!late)
    NTK_TRY(ntk_meanwhile_do(meanwhile));
  (equal ? add_equal_outputs : add_full)(f, t, mirror, acc);
  NTK_TRY(fire(f, IN_CONTRACT));
  if (late)
    NTK_TRY(ntk_meanwhile_do(meanwhile));
  const int64_t writes = f->pass < f->passes - 1 ? 0 : writes_of(s, t, mirror);
  if (writes > 0 && f->completed++ % f->depth == f->my_depth)
    f->due_writes += writes;
done:
  return status;
}

/* ---- the sink -------------------------------------------------------------------------
 */

static void keep(fake *f, const ntk_tile *t, int64_t i, int64_t o, int64_t j, int64_t p,
                 const void *values, int64_t from) {
  const ntk_job_shape *s = f->shape;
  const size_t bytes = ntk_dtype_bytes(s->dtype);
  const int64_t n = t->row_first + i, m = t->column_first + j;
  const int64_t a = t->row_output + o, b = t->column_output + p;
  const int64_t at = s->reduction == NTK_REDUCE_NONE
                         ? ((n * s->outputs + a) * s->columns + m) * s->outputs + b
                     : s->reduction == NTK_REDUCE_DIAGONAL
                         ? (a * s->rows + n) * s->columns + m
                         : n * s->columns + m;
  double value;
  ntk_convert(s->dtype, (const char *)values + (size_t)from * bytes, NTK_F64, &value, 1);
  const double want = due(s, n, a, m, b);
  f->wrong += !(fabs(value - want) <= want * (s->dtype == NTK_F64 ? 1e-14 : 1e-6));
  f->wrong += f->writes[at]++ != 0;
  memcpy((char *)f->kernel + (size_t)at * bytes,
         (const char *)values + (size_t)from * bytes, bytes);
}

static ntk_status fake_write(void *self, const ntk_tile *t, const void *values) {
  fake *f = self;
  const ntk_job_shape *s = f->shape;
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const int64_t outputs = s->reduction == NTK_REDUCE_DIAGONAL || full ? t->row_outputs : 1;
  const int64_t columns = full ? t->column_outputs : 1;
  const ntk_status status = fire(f, IN_WRITE);
  if (status != NTK_SUCCESS)
    return status;
  f->wrong += is_summed_over_outputs(s) &&
              (t->row_output || t->column_output || t->row_outputs != s->outputs ||
               t->column_outputs != s->outputs);
  int64_t from = 0;
  if (full)
    for (int64_t i = 0; i < t->row_count; i++)
      for (int64_t o = 0; o < outputs; o++)
        for (int64_t j = 0; j < t->column_count; j++)
          for (int64_t p = 0; p < columns; p++)
            keep(f, t, i, o, j, p, values, from++);
  else
    for (int64_t o = 0; o < outputs; o++)
      for (int64_t i = 0; i < t->row_count; i++)
        for (int64_t j = 0; j < t->column_count; j++)
          keep(f, t, i, o, j, o, values, from++);
  return NTK_SUCCESS;
}

/* ---- a run ----------------------------------------------------------------------------
 */

static void fake_create(ntk_context *context, const ntk_job_shape *shape, fake *f) {
  *f = (fake){.context = context,
              .shape = shape,
              .passes = 1,
              .call = -1,
              .bad_row = -1,
              .bad_column = -1};
  f->kernel = calloc((size_t)fake_elements(shape), ntk_dtype_bytes(shape->dtype));
  f->writes = calloc((size_t)fake_elements(shape), 1);
  assert_true(f->kernel && f->writes);
}
static void fake_destroy(fake *f) {
  free(f->kernel);
  free(f->writes);
}
static ntk_worker fake_worker(fake *f) {
  return (ntk_worker){f,         fake_block_bytes, fake_sweep,     fake_packed_bytes,
                      fake_pack, fake_contract,    fake_begin_pass};
}
/* Which tiles there are before: at random. Of a sum over outputs all parts or none. */
static bool fake_is_done(void *self, const ntk_tile *t) {
  const fake *f = self;
  const bool sum = is_summed_over_outputs(f->shape);
  const int64_t a = t->row_first * 64 + (sum ? 0 : t->row_output);
  const int64_t b = t->column_first * 64 + (sum ? 0 : t->column_output);
  return f->kept > 0 && (a * 7919 + b * 104729 + 31) % 1000003 % f->kept == 0;
}
static ntk_status fake_run(fake *f, const ntk_layout *layout) {
  const ntk_worker worker = fake_worker(f);
  const ntk_sink sink = {
      .self = f, .write = fake_write, .is_done = f->kept > 0 ? fake_is_done : NULL};
  f->depth = layout->grid_depth;
  f->my_depth = f->context->rank % f->depth;
  f->passes = ntk_layout_passes(layout);
  return ntk_job_run(f->context, f->shape, layout, &worker, &sink, &f->traffic);
}

/* Sum over all ranks. */
static int64_t summed(int64_t mine) {
  int64_t sum;
  assert_int_equal(MPI_Allreduce(&mine, &sum, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD),
                   MPI_SUCCESS);
  return sum;
}

#endif
