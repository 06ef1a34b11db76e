/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"
#include "base/context.h"
#include "job/tile.h"
#include "simulate.h"
#include <math.h>
#include <simgrid/actor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tally counted; /* of all ranks: one process */

/* ---- numbers --------------------------------------------------------------------------
 */

double machine_number(const char *text, const char *name) {
  const size_t length = strlen(name);
  for (const char *line = text; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, name, length) == 0 && line[length] == ' ')
      return strtod(line + length, NULL);
  }
  (void)fprintf(stderr, "simulate: '%s' is not given\n", name);
  exit(2);
}

static growth growth_in(const char *text, const char *name) {
  char key[64];
  growth g;
  (void)snprintf(key, sizeof key, "%s-sample", name);
  g.sample = machine_number(text, key);
  (void)snprintf(key, sizeof key, "%s-output", name);
  g.output = machine_number(text, key);
  return g;
}

machine machine_parse(const char *text) {
  const int64_t samples = (int64_t)machine_number(text, "samples");
  return (machine){
      .shape = {.reduction = (ntk_reduction)machine_number(text, "reduction"),
                .dtype = NTK_F32,
                .symmetric = true,
                .rows = samples,
                .columns = samples,
                .outputs = (int64_t)machine_number(text, "outputs"),
                .block = (int64_t)machine_number(text, "block"),
                .outputs_block = (int64_t)machine_number(text, "outputs-block")},
      .block = growth_in(text, "block-bytes"),
      .packed = growth_in(text, "packed-bytes"),
      .sweep_flops = machine_number(text, "sweep-flops"),
      .pair_flops = machine_number(text, "pair-flops"),
      .flops = machine_number(text, "flops"),
      .copy_bytes = machine_number(text, "copy-bytes"),
      .threads = machine_number(text, "threads"),
      .copies = machine_number(text, "copies"),
      .link_bytes = machine_number(text, "link-bytes"),
      .disk_bytes = machine_number(text, "disk-bytes"),
      .ranks_per_node = (int)machine_number(text, "ranks-per-node")};
}

static double grown(growth g, int64_t n, int64_t o) {
  return (double)n * (g.sample + g.output * (double)o);
}

/* ---- worker ---------------------------------------------------------------------------
 */

/* All threads of a rank at work. */
static void compute(const machine *m, double seconds) {
  if (seconds > 0)
    smpi_execute_flops(seconds * m->flops);
}

static int64_t block_bytes(void *self, int d, int64_t n, int64_t o) {
  (void)d;
  return (int64_t)grown(((const machine *)self)->block, n, o);
}

static int64_t packed_bytes(void *self, int d, int64_t n, int64_t o) {
  (void)d;
  return (int64_t)grown(((const machine *)self)->packed, n, o);
}

static ntk_status sweep(void *self, int side, int64_t first, int64_t n, int64_t output,
                        int64_t o, void *const *shares) {
  const machine *m = self;
  (void)side, (void)first, (void)output, (void)shares;
  compute(m, (double)(n * o) * m->sweep_flops / m->flops);
  return NTK_SUCCESS;
}

static void pack(void *self, int64_t n, int64_t o, const void *column, void *packed) {
  const machine *m = self;
  (void)column, (void)packed;
  compute(m, grown(m->packed, n, o) / m->copy_bytes / m->threads);
}

/* Elements of a tile, or multiply-adds of outputs by outputs. */
static double entries(const ntk_job_shape *s, const ntk_tile *t, bool summed) {
  const double samples = (double)t->row_count * (double)t->column_count;
  if (s->reduction == NTK_REDUCE_NONE)
    return samples * (double)t->row_outputs * (double)t->column_outputs;
  return samples *
         (s->reduction == NTK_REDUCE_DIAGONAL || summed ? (double)t->row_outputs : 1);
}

/* A number of the pair of row blocks a and b, in either order: bits of both well mixed
 * (splitmix64). */
static uint64_t print_of(int64_t a, int64_t b) {
  uint64_t x = ((uint64_t)(a < b ? a : b) << 32) + (uint64_t)(a < b ? b : a);
  x = (x + 0x9e3779b97f4a7c15U) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 30)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

static int64_t number_of(const ntk_job_shape *s, int64_t first, int64_t output) {
  return first / s->block * ntk_job_blocks(s->outputs, s->outputs_block) +
         output / s->outputs_block;
}

/* While one thread does the other work, the others contract. */
static ntk_status contract(void *self, const ntk_tile *t, const void *row,
                           const void *packed, bool mirror, double *acc,
                           ntk_meanwhile meanwhile) {
  const machine *m = self;
  const ntk_job_shape *s = &m->shape;
  const double seconds =
      entries(s, t, true) * m->pair_flops / m->flops * (mirror ? 0.5 : 1);
  const double start = ntk_seconds();
  (void)row, (void)packed, (void)acc;
  const ntk_status status = ntk_meanwhile_do(meanwhile);
  compute(m, seconds - (ntk_seconds() - start) * (1 - 1 / m->threads));
  counted.contracted++;
  counted.fingerprint += print_of(number_of(s, t->row_first, t->row_output),
                                  number_of(s, t->column_first, t->column_output));
  counted.rank_seconds += seconds;
  return status;
}

/* ---- sink -----------------------------------------------------------------------------
 */

/* Writes go one after the other through the node's link, and through the file system. */
static void wait_for_disks(const machine *m, double bytes) {
  static double link_free[SIMULATE_RANKS], disks_free;
  const double now = ntk_seconds();
  int rank = 0;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  double *link = &link_free[rank / m->ranks_per_node];
  *link = fmax(*link, now) + bytes / m->link_bytes;
  disks_free = fmax(*link, fmax(disks_free, now) + bytes / m->disk_bytes);
  sg_actor_sleep_for(disks_free - now);
}

/* By one thread of the rank, so that its seconds are the thread's. */
static ntk_status write_tile(void *self, const ntk_tile *t, const void *values) {
  const machine *m = self;
  const double elements = entries(&m->shape, t, false), bytes = elements * sizeof(float);
  const double seconds = bytes * m->copies / m->copy_bytes;
  (void)values;
  compute(m, seconds);
  wait_for_disks(m, bytes);
  counted.elements += elements;
  counted.rank_seconds += seconds / m->threads;
  return NTK_SUCCESS;
}

ntk_worker machine_worker(machine *m) {
  return (ntk_worker){m, block_bytes, sweep, packed_bytes, pack, contract, NULL};
}
ntk_sink machine_sink(machine *m) { return (ntk_sink){.self = m, .write = write_tile}; }

/* ---- what must come out ---------------------------------------------------------------
 */

double machine_sweep_seconds(const machine *m) {
  const ntk_job_shape *s = &m->shape;
  return (double)(s->rows * s->outputs) * m->sweep_flops / m->flops;
}

tally machine_tally(void) { return counted; }

tally machine_due(const machine *m) {
  const ntk_job_shape *s = &m->shape;
  const int64_t parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const int64_t blocks = ntk_job_blocks(s->rows, s->block) * parts;
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const ntk_tile all = {.row_count = s->rows,
                        .row_outputs = s->outputs,
                        .column_count = s->columns,
                        .column_outputs = s->outputs};
  tally due = {.elements = entries(s, &all, false)};
  for (int64_t a = 0; a < blocks; a++)
    for (int64_t b = a; b < blocks; b++)
      if (full || a % parts == b % parts) {
        due.contracted++;
        due.fingerprint += print_of(a, b);
      }
  return due;
}

/* ---- arithmetic of tiles --------------------------------------------------------------
 */

/* The sink counts what this costs. */
bool ntk_tile_round_f32(const ntk_tile_rounding *rounding, int64_t strip) {
  return rounding && strip >= 0;
}
bool ntk_tile_round_f64(const ntk_tile_rounding *rounding, int64_t strip) {
  return rounding && strip >= 0;
}
