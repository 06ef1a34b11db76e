/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/random.h"
#include "dist/grid.h"
#include "io/data.h"
#include "job/tile.h"
#include "ntk/check.h"
#include <math.h>
#include <scantk/plan.h>
#include <scantk/selftest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  SAMPLES = 11,
  OUTPUTS = 3,
  SIDE = SAMPLES * OUTPUTS,
  PATH_BYTES = 1024,
  ENTRIES = SIDE * SIDE
};

/* A small network; its kernel in f64 by small blocks, as rows and columns in memory. */
typedef struct subject {
  const char *family, *options;
  ntk_shape shape;
} subject;
static const subject dense = {
    "fcn", "--input 13 --width 24 --depth 2 --outputs 3", {1, {13}}};
static const subject image = {
    "cnn", "--input 2x7x6 --width 5 --depth 2 --outputs 3", {3, {2, 7, 6}}};

typedef struct selftest {
  ntk_context *context; /* of the caller */
  ntk_context *quiet;   /* the same ranks, without reports */
  char folder[PATH_BYTES];
  int checks, failures;
} selftest;

/* A check: collective, with the same outcome on all ranks; what it found, in words. */
typedef ntk_status (*check)(selftest *t, ntk_text *found);

static ntk_status run_check(selftest *t, const char *name, check run) {
  ntk_text found = {0};
  const ntk_status outcome = ntk_agree(t->context->comm, run(t, &found));
  const bool good = outcome == NTK_SUCCESS;
  t->checks++;
  t->failures += !good;
  ntk_say(t->context, NTK_REPORT_RESULT, "%s  %-20s %s", good ? "PASS" : "FAIL", name,
          !good        ? ntk_fail_message()
          : found.data ? found.data
                       : "");
  ntk_text_clear(&found);
  return outcome == NTK_ERR_MPI ? outcome : NTK_SUCCESS; /* the next one may pass */
}

/* ---- products and messages ------------------------------------------------------------
 */

static ntk_status check_products_f32(selftest *t, ntk_text *found) {
  (void)t;
  return ntk_check_products(NTK_F32, found);
}
static ntk_status check_products_f64(selftest *t, ntk_text *found) {
  (void)t;
  return ntk_check_products(NTK_F64, found);
}

enum { WORDS = 100003 };

static void fill(uint64_t *words, int rank) {
  for (uint64_t i = 0; i < WORDS; i++)
    words[i] = ntk_random_bits(1, (uint64_t)rank, i);
}
static ntk_status compare(const uint64_t *got, uint64_t *room, int rank) {
  fill(room, rank);
  if (memcmp(got, room, WORDS * sizeof *got) == 0)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_NUMERICAL, "a message of rank %d arrived changed", rank);
}

/* Around the ring, and from the last rank to all in pieces. */
static ntk_status exchange(MPI_Comm comm, int rank, int size, uint64_t *mine,
                           uint64_t *got) {
  ntk_status status = NTK_SUCCESS;
  fill(mine, rank);
  NTK_TRY_MPI(MPI_Sendrecv(mine, WORDS, MPI_UINT64_T, (rank + 1) % size, 0, got, WORDS,
                           MPI_UINT64_T, (rank + size - 1) % size, 0, comm,
                           MPI_STATUS_IGNORE));
  NTK_TRY(ntk_agree(comm, compare(got, mine, (rank + size - 1) % size)));
  fill(got, rank);
  NTK_TRY(ntk_bcast_pieces(got, WORDS * sizeof *got, size - 1, comm, 65521));
  NTK_TRY(ntk_agree(comm, compare(got, mine, size - 1)));
done:
  return status;
}

static ntk_status check_messages(selftest *t, ntk_text *found) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *c = t->context;
  int64_t sum = c->rank + 1;
  uint64_t *words = NULL;
  NTK_TRY(ntk_agree(
      c->comm, ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)2 * WORDS, sizeof *words, &words)));
  NTK_TRY(exchange(c->comm, c->rank, c->size, words, words + WORDS));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_INT64_T, MPI_SUM, c->comm));
  NTK_REQUIRE(sum == (int64_t)c->size * (c->size + 1) / 2, NTK_ERR_NUMERICAL,
              "a sum over ranks is wrong");
  NTK_TRY(ntk_text_add(found, "%d rank%s, %d on rank 0's host", c->size,
                       c->size > 1 ? "s" : "", c->ranks_on_node));
done:
  ntk_free(&words);
  return status;
}

/* ---- kernels --------------------------------------------------------------------------
 */

static ntk_status add_tile(const ntk_tile *t, const void *values, void *matrix) {
  ntk_tile_add(t, values, OUTPUTS, SIDE, matrix);
  return NTK_SUCCESS;
}

/* Model and samples on the ranks of a context. */
static ntk_status make_inputs(ntk_context *context, const selftest *t, const subject *s,
                              ntk_model **model, ntk_data **data) {
  ntk_status status = NTK_SUCCESS;
  char path[PATH_BYTES + 8];
  (void)snprintf(path, sizeof path, "%s/%s", t->folder, s->family);
  if (context == t->quiet)
    NTK_TRY(ntk_model_generate(context, s->family, s->options, path));
  NTK_TRY(ntk_model_read(context, path, NULL, model));
  NTK_TRY(ntk_data_random(context, SAMPLES, &s->shape, data));
done:
  return status;
}

/* The whole matrix on all ranks. */
static ntk_status compute(ntk_model *model, ntk_data *data, const char *algorithm,
                          double *matrix) {
  ntk_status status = NTK_SUCCESS;
  ntk_plan *plan = NULL;
  char options[80];
  (void)snprintf(options, sizeof options, "--dtype f64 --block 4x2 --algorithm %s",
                 algorithm);
  memset(matrix, 0, ENTRIES * sizeof *matrix);
  NTK_TRY(ntk_plan_create(model, data, NULL, options, &plan));
  NTK_TRY(ntk_plan_to_tiles(plan, add_tile, matrix));
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, matrix, ENTRIES, MPI_DOUBLE, MPI_SUM,
                            data->context->comm));
done:
  ntk_plan_destroy(&plan);
  return status;
}

/* Largest difference by largest element. */
static double error_of(const double *a, const double *b) {
  double most = 0, largest = 0;
  for (int i = 0; i < ENTRIES; i++) {
    const double difference = fabs(a[i] - b[i]);
    most = difference <= most ? most : difference; /* NaN is most */
    largest = fabs(a[i]) > largest ? fabs(a[i]) : largest;
  }
  return most / largest;
}

static ntk_status compare_kernels(const double *a, const double *b, const char *what,
                                  ntk_text *found) {
  ntk_status status = NTK_SUCCESS;
  const double error = error_of(a, b);
  NTK_REQUIRE(error < 1e-10, NTK_ERR_NUMERICAL, "%s is off by %.1e", what, error);
  NTK_TRY(ntk_text_add(found, "%s%s %.1e", found->length ? ", " : "", what, error));
done:
  return status;
}

static ntk_status compare_algorithms(selftest *t, const subject *s, ntk_text *found) {
  static const char *const others[] = {"structured", "ntvp"};
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  ntk_data *data = NULL;
  double *a = NULL, *b = NULL;
  status = ntk_malloc(NTK_MEMORY_GENERAL, ENTRIES, sizeof *a, &a);
  if (status == NTK_SUCCESS)
    status = ntk_malloc(NTK_MEMORY_GENERAL, ENTRIES, sizeof *b, &b);
  NTK_TRY(ntk_agree(t->quiet->comm, status));
  NTK_TRY(make_inputs(t->quiet, t, s, &model, &data));
  NTK_TRY(compute(model, data, "jacobian", a));
  for (int i = 0; i < 2; i++) {
    NTK_TRY(compute(model, data, others[i], b));
    NTK_TRY(ntk_agree(t->quiet->comm, compare_kernels(a, b, others[i], found)));
  }
done:
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  ntk_free(&a);
  ntk_free(&b);
  return status;
}

static ntk_status check_dense(selftest *t, ntk_text *found) {
  return compare_algorithms(t, &dense, found);
}
static ntk_status check_image(selftest *t, ntk_text *found) {
  return compare_algorithms(t, &image, found);
}

/* ---- the kernel file ------------------------------------------------------------------
 */

/* On ranks that share the folder: a kernel into a file, and back on each of them. */
static ntk_status write_and_read(ntk_context *context, const selftest *t, double *a,
                                 double *b) {
  ntk_status status = NTK_SUCCESS;
  ntk_model *model = NULL;
  ntk_data *data = NULL, *file = NULL;
  ntk_plan *plan = NULL;
  char path[PATH_BYTES + 8];
  (void)snprintf(path, sizeof path, "%s/K.h5", t->folder);
  NTK_TRY(make_inputs(context, t, &dense, &model, &data));
  NTK_TRY(compute(model, data, "structured", a));
  NTK_TRY(ntk_plan_create(model, data, NULL,
                          "--dtype f64 --block 4x2 --algorithm structured", &plan));
  NTK_TRY(ntk_plan_to_file(plan, path, NULL, NULL));
  NTK_TRY(ntk_data_open(context, path, "/kernel", &file));
  NTK_TRY(ntk_agree(context->comm, ntk_data_slice(file, 0, SAMPLES, NTK_F64, b)));
  NTK_REQUIRE(error_of(a, b) == 0, NTK_ERR_NUMERICAL,
              "what was read is not what was written: off by %.1e", error_of(a, b));
done:
  ntk_data_destroy(&file);
  ntk_plan_destroy(&plan);
  ntk_data_destroy(&data);
  ntk_model_destroy(&model);
  return status;
}

static ntk_status write_on(MPI_Comm comm, const selftest *t) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = NULL;
  double *matrices = NULL;
  NTK_TRY(ntk_context_create(comm, NULL, &context));
  NTK_TRY(ntk_agree(comm, ntk_malloc(NTK_MEMORY_GENERAL, (int64_t)2 * ENTRIES,
                                     sizeof *matrices, &matrices)));
  NTK_TRY(write_and_read(context, t, matrices, matrices + ENTRIES));
done:
  ntk_free(&matrices);
  ntk_context_destroy(&context);
  return status;
}

static ntk_status check_file(selftest *t, ntk_text *found) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *c = t->context;
  MPI_Comm comm = MPI_COMM_NULL;
  int sees = access(t->folder, W_OK) == 0, all;
  NTK_TRY_MPI(MPI_Comm_split(c->comm, sees ? 0 : MPI_UNDEFINED, c->rank, &comm));
  NTK_TRY_MPI(MPI_Allreduce(&sees, &all, 1, MPI_INT, MPI_SUM, c->comm));
  NTK_REQUIRE(all > 0, NTK_ERR_FILE, "%s cannot be written", t->folder);
  NTK_TRY(ntk_agree(c->comm, sees ? write_on(comm, t) : NTK_SUCCESS));
  NTK_TRY(
      ntk_text_add(found, "by %d of %d ranks, which share %s", all, c->size, t->folder));
done:
  if (comm != MPI_COMM_NULL)
    (void)MPI_Comm_free(&comm);
  return status;
}

/* ---- the folder -----------------------------------------------------------------------
 */

/* Made by rank 0, named by all; where that fails, the checks that need it do. */
static ntk_status make_folder(selftest *t) {
  const char *parent = getenv("TMPDIR");
  if (t->context->rank == 0) {
    (void)snprintf(t->folder, sizeof t->folder, "%s/scantk-selftest-XXXXXX",
                   parent && *parent ? parent : "/tmp");
    (void)mkdtemp(t->folder);
  }
  return ntk_bcast(t->folder, sizeof t->folder, 0, t->context->comm);
}

static void remove_folder(const selftest *t) {
  static const char *const names[] = {"fcn", "cnn", "K.h5", "K.h5.part"};
  char path[PATH_BYTES + 16];
  if (t->context->rank != 0 || !*t->folder)
    return;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", t->folder, names[i]);
    (void)unlink(path);
  }
  (void)rmdir(t->folder);
}

ntk_status ntk_selftest(ntk_context *context) {
  static const struct {
    const char *name;
    check run;
  } all[] = {{"products in f32", check_products_f32},
             {"products in f64", check_products_f64},
             {"messages", check_messages},
             {"algorithms: fcn", check_dense},
             {"algorithms: cnn", check_image},
             {"kernel file", check_file}};
  ntk_status status = NTK_SUCCESS;
  selftest t = {.context = context};
  NTK_TRY(ntk_context_create(context->comm, NULL, &t.quiet));
  NTK_TRY(make_folder(&t));
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    NTK_TRY(run_check(&t, all[i].name, all[i].run));
  NTK_REQUIRE(t.failures == 0, NTK_ERR_INTERNAL, "selftest: %d of %d checks failed",
              t.failures, t.checks);
done:
  remove_folder(&t);
  ntk_context_destroy(&t.quiet);
  return status;
}
