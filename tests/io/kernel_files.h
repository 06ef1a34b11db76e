/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_TESTS_IO_KERNEL_FILES_H
#define NTK_TESTS_IO_KERNEL_FILES_H

#include "io/files.h"
#include "io/source.h"
#include "io/store.h"

/* Kernel files of a known function: what they are made from, and all of their tiles dealt
 * to the ranks. */

enum { MOST_SAMPLES = 64, MOST_OUTPUTS = 8, MOST_TILE = 65536 };
static const char *const plan_text = "plan of this test\nwith two lines\n";
static const char *const provenance_text = "{\"program\": \"test \xc3\xa9\"}";

static const char *const identity_text = "model: m\nrange: 10:20\n";

static int64_t labels_of[2][MOST_SAMPLES];
static uint64_t digests_of[2][MOST_SAMPLES][2];
static const int64_t output_index[MOST_OUTPUTS] = {1, 3, 4, 8, 11, 12, 20, 21};
static double targets_of[2 * MOST_SAMPLES];
static ntk_data sides[2];

/* Labels of samples that are nowhere else. */
static inline ntk_status give_labels(ntk_data_source *source, int64_t first, int64_t count,
                                     void *out) {
  const int side = first >= 100;
  first -= 10 + 90 * side; /* where the sides' ranges begin */
  if (source->labels == NTK_LABELS_CLASSES)
    memcpy(out, labels_of[side] + first, sizeof **labels_of * (size_t)count);
  else
    memcpy(out, targets_of + 2 * first, sizeof *targets_of * 2 * (size_t)count);
  return NTK_SUCCESS;
}
static ntk_data_source classes_source = {.labels = NTK_LABELS_CLASSES,
                                         .read_labels = give_labels};

/* This rank's share of the digests, of different sizes. */
static inline ntk_digest_share share_of(int side, int64_t n) {
  const int64_t rank = ntk_context_rank(context), size = ntk_context_size(context);
  const int64_t first = n * rank * rank / (size * size);
  const int64_t last = n * (rank + 1) * (rank + 1) / (size * size);
  return (ntk_digest_share){first, last - first, digests_of[side] + first};
}

static inline ntk_store_spec spec_of(ntk_reduction reduction, bool symmetric,
                                     ntk_dtype dtype, int64_t n1, int64_t n2, int64_t o,
                                     int64_t block, int64_t outputs_block) {
  static char path[384];
  (void)snprintf(path, sizeof path, "%s", path_of("K.h5"));
  for (int side = 0; side < 2; side++) {
    sides[side] = (ntk_data){.first = 10 + 90 * side,
                             .samples = side ? n2 : n1,
                             .labels = NTK_LABELS_CLASSES,
                             .source = &classes_source};
    for (int64_t i = 0; i < MOST_SAMPLES; i++) {
      labels_of[side][i] = i * 7 % 10 + side;
      digests_of[side][i][0] = (uint64_t)i * 0x9e3779b97f4a7c15;
      digests_of[side][i][1] = (uint64_t)(i + side) * 0xbf58476d1ce4e5b9;
    }
  }
  return (ntk_store_spec){.path = path,
                          .dtype = dtype,
                          .reduction = reduction,
                          .symmetric = symmetric,
                          .rows = n1,
                          .columns = symmetric ? n1 : n2,
                          .outputs = o,
                          .network_outputs = o,
                          .block = block,
                          .outputs_block = outputs_block,
                          .output_index = output_index,
                          .row_data = &sides[0],
                          .column_data = symmetric ? NULL : &sides[1],
                          .plan = plan_text,
                          .provenance = provenance_text,
                          .identity = identity_text,
                          .digests = {share_of(0, n1), share_of(1, n2)}};
}
static inline int side_of(const ntk_store_spec *s, int side) {
  return s->symmetric ? 0 : side;
}

/* ---- values ---------------------------------------------------------------------------
 */

/* One element, exact in both types; symmetric where the kernel is. Reduced kernels ask with
 * equal or zero outputs. */
static inline double entry(const ntk_store_spec *s, int64_t n, int64_t o, int64_t m,
                           int64_t p) {
  const int64_t a = n * MOST_OUTPUTS + o + 1, b = m * MOST_OUTPUTS + p + 1;
  return (double)((a * b * 37 + a + (s->symmetric ? b : 3 * b)) % 1009) / 8 - 20;
}
static inline double output_of(int side, int64_t n, int64_t o) {
  return (double)(side * 1000 + n * 10 + o) / 4;
}

static inline int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t blocks_of(int64_t n, int64_t block) {
  return (n + block - 1) / block;
}

/* The tile's elements as it is handed to the store; returns their number. */
static inline int64_t fill_tile(const ntk_store_spec *s, const ntk_tile *t, void *values) {
  static double wide[MOST_TILE];
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const bool diagonal = s->reduction == NTK_REDUCE_DIAGONAL;
  int64_t k = 0;
  for (int64_t d = 0; d < (diagonal ? t->row_outputs : 1); d++)
    for (int64_t i = 0; i < t->row_count; i++)
      for (int64_t o = 0; o < (full ? t->row_outputs : 1); o++)
        for (int64_t j = 0; j < t->column_count; j++)
          for (int64_t p = 0; p < (full ? t->column_outputs : 1); p++)
            wide[k++] = entry(s, t->row_first + i,
                              full       ? t->row_output + o
                              : diagonal ? t->row_output + d
                                         : 0,
                              t->column_first + j,
                              full       ? t->column_output + p
                              : diagonal ? t->row_output + d
                                         : 0);
  assert_true(k <= MOST_TILE);
  ntk_convert(NTK_F64, wide, s->dtype, values, k);
  return k;
}

/* Tile number k of a file, in any order that names each once; false behind the last. */
static inline bool tile_at(const ntk_store_spec *s, int64_t k, ntk_tile *out) {
  const bool full = s->reduction == NTK_REDUCE_NONE;
  const bool diagonal = s->reduction == NTK_REDUCE_DIAGONAL;
  const int64_t n1 = blocks_of(s->rows, s->block), n2 = blocks_of(s->columns, s->block);
  const int64_t parts = full || diagonal ? blocks_of(s->outputs, s->outputs_block) : 1;
  const int64_t Q = full || diagonal ? s->outputs_block : s->outputs;
  const int64_t J = k % n2, I = k / n2 % n1, q = k / n2 / n1 % parts;
  const int64_t p = full ? k / n2 / n1 / parts : q;
  if (k >= n1 * n2 * parts * (full ? parts : 1))
    return false;
  *out = (ntk_tile){.row_first = I * s->block,
                    .row_count = least_of(s->block, s->rows - I * s->block),
                    .row_output = q * Q,
                    .row_outputs = least_of(Q, s->outputs - q * Q),
                    .column_first = J * s->block,
                    .column_count = least_of(s->block, s->columns - J * s->block),
                    .column_output = p * Q,
                    .column_outputs = least_of(Q, s->outputs - p * Q)};
  return true;
}

/* ---- writing --------------------------------------------------------------------------
 */

/* Every `step`-th tile, dealt to the ranks in turn. */
static inline ntk_status write_tiles(ntk_store *store, const ntk_store_spec *s,
                                     int64_t step) {
  static double values[MOST_TILE];
  ntk_status status = NTK_SUCCESS;
  ntk_tile t;
  for (int64_t k = 0; status == NTK_SUCCESS && tile_at(s, k * step, &t); k++)
    if ((k * 5 + 1) % ntk_context_size(context) == ntk_context_rank(context)) {
      (void)fill_tile(s, &t, values);
      status = ntk_store_write(store, &t, values);
    }
  return status;
}

/* Rows of both outputs, dealt likewise in pairs. */
static inline ntk_status write_outputs(ntk_store *store, const ntk_store_spec *s) {
  double values[2 * MOST_OUTPUTS];
  ntk_status status = NTK_SUCCESS;
  for (int side = 0; side < 2; side++) {
    const int64_t rows = side ? s->columns : s->rows;
    for (int64_t n = 0; n < rows && status == NTK_SUCCESS; n += 2) {
      const int64_t count = least_of(2, rows - n);
      if ((n / 2 + side) % ntk_context_size(context) != ntk_context_rank(context))
        continue;
      for (int64_t i = 0; i < count * s->outputs; i++)
        values[i] = output_of(side, n + i / s->outputs, i % s->outputs);
      status = ntk_store_write_outputs(store, side, n, count, values);
    }
  }
  return status;
}

static inline void barrier(void) {
  assert_int_equal(MPI_Barrier(context->comm), MPI_SUCCESS);
}
/* What is in the folder, looked at by all before it changes again. */
static inline void check_files(bool output, bool part) {
  barrier();
  assert_int_equal(is_there("K.h5"), output);
  assert_int_equal(is_there("K.h5.part"), part);
  assert_false(is_there("K.h5.new"));
  barrier();
}

/* A whole file, complete. */
static inline void make_file(const ntk_store_spec *s, const ntk_store_facts *facts) {
  ntk_store *store = NULL;
  check_success(ntk_store_check(context, s->path, ntk_store_file_bytes(s)));
  check_files(false, false);
  check_success(ntk_store_create(context, s, &store));
  check_files(false, true);
  check_success(write_tiles(store, s, 1));
  check_success(write_outputs(store, s));
  check_files(false, true);
  check_success(ntk_store_close(&store, true, facts));
  assert_null(store);
  check_files(true, false);
  check_hdf5();
}
static inline void remove_file(const char *name) {
  barrier();
  if (ntk_context_rank(context) == 0)
    (void)remove(path_of(name));
  barrier();
}

static inline int begin(void **state) {
  (void)state;
  make_folder();
  return 0;
}
static inline int end(void **state) {
  (void)state;
  check_hdf5();
  remove_folder();
  return 0;
}

static inline int with_ranks(int (*run)(void)) {
  (void)MPI_Init(NULL, NULL);
  (void)alarm(60); /* a failure on one rank leaves the others waiting */
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    return 1;
  watch_hdf5();
  const int failed = run();
  ntk_context_destroy(&context);
  (void)MPI_Finalize();
  return failed;
}

#endif
