/* SPDX-License-Identifier: Apache-2.0 */
/* simulate FILE: runs the loop of src/job under SimGrid's SMPI for the kernel and machine
 * that FILE describes in lines "name value", and prints lines of the same kind. Ends with 1
 * where a pair was not contracted exactly once. */
#include "simulate.h"
#include "base/context.h"
#include "machine.h"
#include <stdio.h>

static const char *read_text(const char *path) {
  static char text[1 << 14];
  FILE *file = fopen(path, "r");
  if (file) {
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
  }
  return text;
}

/* Bytes of the loop on a rank, 0 where they cannot be told. */
static int64_t bytes_of(const machine *m, const ntk_layout *layout,
                        const ntk_worker *worker) {
  ntk_job_memory b;
  if (ntk_job_bytes(&m->shape, layout, worker, &b) != NTK_SUCCESS)
    return 0;
  return b.panel + b.columns + b.tiles + b.parts + b.books;
}

/* As the program chooses without depth, or as given, with the largest panel that fits into
 * the memory; panel 0: none does. One rank does it for all. */
static const ntk_layout *layout_of(const char *text, const machine *m,
                                   const ntk_worker *worker, int size) {
  static ntk_layout layout;
  const int64_t blocks = ntk_job_blocks(m->shape.rows, m->shape.block);
  const int64_t parts = ntk_job_blocks(m->shape.outputs, m->shape.outputs_block);
  const double memory = machine_number(text, "memory");
  if (layout.grid_depth)
    return &layout;
  layout.grid_rows = (int)machine_number(text, "grid-rows");
  layout.grid_columns = (int)machine_number(text, "grid-columns");
  layout.grid_depth = 1;
  if (layout.grid_rows == 0)
    ntk_grid_choose(size, blocks, blocks, true, &layout.grid_rows, &layout.grid_columns);
  layout.panel = parts * ntk_grid_dealt(blocks, 0, layout.grid_rows);
  while (layout.panel > 0 && (double)bytes_of(m, &layout, worker) > memory)
    layout.panel -= parts;
  return &layout;
}

/* Every row block goes along its grid row and, as a column block, along its grid column,
 * with one line behind it: the bytes that all ranks send while one panel holds all of a
 * grid row; 0: there are several panels. */
static double due_bytes(const machine *m, const ntk_layout *l, const ntk_worker *worker) {
  const ntk_job_shape *s = &m->shape;
  const int64_t parts = ntk_job_blocks(s->outputs, s->outputs_block);
  const int64_t blocks = ntk_job_blocks(s->rows, s->block) * parts;
  const int64_t bytes = worker->block_bytes(worker->self, 0, s->block, s->outputs_block);
  const int64_t slot = (bytes + 63) / 64 * 64 + 64;
  if (l->panel < ntk_grid_dealt(blocks / parts, 0, l->grid_rows) * parts)
    return 0;
  return (double)blocks * (double)slot * (l->grid_rows + l->grid_columns - 2);
}

/* What came of a run, over all ranks. */
typedef struct outcome {
  double seconds;                            /* of the slowest */
  double sent, sent_most, travelled, waited; /* as ntk_job_traffic */
  ntk_phase_row phases[NTK_PHASES];
} outcome;

static ntk_status reduce(ntk_context *context, double seconds, const ntk_job_traffic *t,
                         outcome *out) {
  ntk_status status = NTK_SUCCESS;
  double most[] = {seconds, t->bytes}, sum[] = {t->bytes, t->travelled, t->waited};
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_DOUBLE, MPI_MAX, context->comm));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, sum, 3, MPI_DOUBLE, MPI_SUM, context->comm));
  NTK_TRY(ntk_phase_reduce(context, out->phases));
  out->seconds = most[0];
  out->sent_most = most[1];
  out->sent = sum[0];
  out->travelled = sum[1];
  out->waited = sum[2];
done:
  return status;
}

static void print(const machine *m, const ntk_layout *layout, const ntk_worker *worker,
                  int size, const outcome *o) {
  const tally counted = machine_tally();
  const double work = counted.rank_seconds + machine_sweep_seconds(m);
  int64_t peak = 0;
  for (int rank = 0; rank < size; rank++)
    if (simulate_memory_peak(rank) > peak)
      peak = simulate_memory_peak(rank);
  (void)printf("ranks %d\ngrid-rows %d\ngrid-columns %d\npanel %lld\n", size,
               layout->grid_rows, layout->grid_columns, (long long)layout->panel);
  (void)printf("seconds %.9g\nwork-seconds %.9g\nefficiency %.9g\n", o->seconds, work,
               work / (size * o->seconds));
  (void)printf("sent %.17g\nsent-most %.17g\nsent-due %.17g\n", o->sent, o->sent_most,
               due_bytes(m, layout, worker));
  (void)printf("travelled %.9g\nwaited %.9g\n", o->travelled, o->waited);
  (void)printf("memory-peak %lld\nmemory-due %lld\n", (long long)peak,
               (long long)bytes_of(m, layout, worker));
  (void)printf("elements %.17g\npairs %lld\n", counted.elements,
               (long long)counted.contracted);
  for (int p = 0; p < NTK_PHASES; p++)
    (void)printf("phase %.9g %.9g %.9g %s\n", o->phases[p].min, o->phases[p].mean,
                 o->phases[p].max, ntk_phase_name((ntk_phase)p));
}

static ntk_status check(const machine *m) {
  ntk_status status = NTK_SUCCESS;
  const tally counted = machine_tally(), due = machine_due(m);
  NTK_REQUIRE(counted.contracted == due.contracted &&
                  counted.fingerprint == due.fingerprint,
              NTK_ERR_ARGUMENT, "%lld pairs were contracted, %lld are due, each once",
              (long long)counted.contracted, (long long)due.contracted);
  NTK_REQUIRE(counted.elements == due.elements, NTK_ERR_ARGUMENT,
              "%.17g elements were written, %.17g are due", counted.elements, due.elements);
done:
  return status;
}

static ntk_status run(const char *text) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = NULL;
  ntk_job_traffic traffic;
  outcome o;
  machine m = machine_parse(text);
  const ntk_worker worker = machine_worker(&m);
  const ntk_sink sink = machine_sink(&m);
  NTK_TRY(ntk_context_create(MPI_COMM_WORLD, NULL, &context));
  const ntk_layout *layout = layout_of(text, &m, &worker, context->size);
  NTK_REQUIRE(layout->panel > 0, NTK_ERR_MEMORY, "one row block takes more than --memory");
  simulate_memory_create(bytes_of(&m, layout, &worker));
  NTK_TRY_MPI(MPI_Barrier(context->comm));
  const double start = ntk_seconds();
  NTK_TRY(ntk_job_run(context, &m.shape, layout, &worker, &sink, &traffic));
  NTK_TRY(reduce(context, ntk_seconds() - start, &traffic, &o));
  if (context->rank == 0) {
    print(&m, layout, &worker, context->size, &o);
    status = check(&m);
  }
done:
  if (status != NTK_SUCCESS && (!context || context->rank == 0))
    (void)fprintf(stderr, "simulate: %s\n", ntk_fail_message());
  ntk_context_destroy(&context);
  return status;
}

int main(int count, char **words) {
  if (count != 2 || MPI_Init(&count, &words) != MPI_SUCCESS)
    return 2;
  const ntk_status status = run(read_text(words[1]));
  (void)MPI_Finalize();
  return status == NTK_SUCCESS ? 0 : 1;
}
