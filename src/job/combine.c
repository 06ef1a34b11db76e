/* SPDX-License-Identifier: Apache-2.0 */
/* Mean and variance of an ensemble's kernels: a kernel file laid out as the first one. */
#include "base/memory.h"
#include "io/kernel_check.h"
#include "io/source.h"
#include "io/store.h"
#include "job/identity.h"
#include <inttypes.h>
#include <math.h>
#include <scantk/kernel.h>
#include <scantk/version.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 4096 }; /* of outputs at a time */

/* Samples of a side of the first file, which are there by their labels alone. */
typedef struct side {
  ntk_data_source source;
  ntk_data data;
  const ntk_kernel_file *file;
  int which;
} side;

typedef struct combiner {
  ntk_context *context;
  int count;
  ntk_kernel_file **files;       /* [count] */
  char **identities;             /* [count] */
  const ntk_kernel_facts *facts; /* of the first */
  ntk_dtype dtype;
  side sides[2];
  uint64_t (*digests[2])[2]; /* this rank's share */
  int64_t *outputs;          /* original numbers */
  ntk_text identity, provenance;
  ntk_store *store;
  double *mean, *squares, *x; /* a tile: mean, squared deviations, one kernel's */
  char *out;
} combiner;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- do they belong together? ---------------------------------------------------------
 */

static ntk_status compare_line(const combiner *c, int i, const char *name) {
  ntk_status status = NTK_SUCCESS;
  const char *path = ntk_kernel_get_facts(c->files[i])->path;
  char *first = NULL, *other = NULL;
  NTK_TRY(ntk_identity_value(c->facts->path, c->identities[0], name, &first));
  NTK_TRY(ntk_identity_value(path, c->identities[i], name, &other));
  NTK_REQUIRE(strcmp(first, other) == 0, NTK_ERR_SHAPE,
              "%s does not go with %s: %s%.80s, there %.80s", path, c->facts->path, name,
              other, first);
done:
  ntk_free(&first);
  ntk_free(&other);
  return status;
}

static ntk_status compare_facts(const combiner *c, int i) {
  ntk_status status = NTK_SUCCESS;
  static const char *const lines[] = {"reduction: ", "trace-scale: ", "outputs: "};
  const ntk_kernel_facts *k = ntk_kernel_get_facts(c->files[i]);
  NTK_REQUIRE(k->rows == c->facts->rows && k->columns == c->facts->columns &&
                  k->outputs == c->facts->outputs &&
                  k->network_outputs == c->facts->network_outputs &&
                  k->symmetric == c->facts->symmetric,
              NTK_ERR_SHAPE,
              "%s does not go with %s: %" PRId64 " x %" PRId64 " samples, %" PRId64
              " outputs%s; there %" PRId64 " x %" PRId64 ", %" PRId64 "%s",
              k->path, c->facts->path, k->rows, k->columns, k->outputs,
              k->symmetric ? ", symmetric" : "", c->facts->rows, c->facts->columns,
              c->facts->outputs, c->facts->symmetric ? ", symmetric" : "");
  for (int l = 0; l < 3; l++)
    NTK_TRY(compare_line(c, i, lines[l]));
done:
  return status;
}

static ntk_digest_share share_of(const combiner *c, int which) {
  const int64_t n = which == 0 ? c->facts->rows : c->facts->columns;
  const int64_t rank = c->context->rank, size = c->context->size;
  const int64_t first = n * rank / size;
  return (ntk_digest_share){first, n * (rank + 1) / size - first, c->digests[which]};
}

/* The same samples by their digests, where these are of the same type, else by number. */
static ntk_status compare_samples(const combiner *c, int i, int which) {
  ntk_status status = NTK_SUCCESS;
  const ntk_digest_share share = share_of(c, which);
  const ntk_kernel_facts *k = ntk_kernel_get_facts(c->files[i]);
  uint64_t(*theirs)[2] = NULL;
  int64_t first[2], bad = -1;
  NTK_TRY(ntk_kernel_read_side(c->files[0], "sample", which, 0, 1, NTK_I64, &first[0]));
  NTK_TRY(ntk_kernel_read_side(c->files[i], "sample", which, 0, 1, NTK_I64, &first[1]));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, share.count, sizeof *theirs, &theirs));
  NTK_TRY(ntk_kernel_read_side(c->files[i], "digest", which, share.first, share.count,
                               NTK_U64, theirs));
  for (int64_t s = 0; k->dtype == c->facts->dtype && s < share.count && bad < 0; s++)
    if (memcmp(theirs[s], share.values[s], sizeof *theirs) != 0)
      bad = share.first + s;
  if (first[0] != first[1])
    bad = 0;
  NTK_REQUIRE(bad < 0, NTK_ERR_SHAPE,
              "%s does not go with %s: sample %" PRId64 " of its %s is another one",
              k->path, c->facts->path, first[1] + bad, which == 0 ? "rows" : "columns");
done:
  ntk_free(&theirs);
  return status;
}

static ntk_status open_file(combiner *c, int i, const char *path) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_kernel_open(path, NULL, &c->files[i]));
  NTK_TRY(ntk_kernel_require_complete(c->files[i]));
  NTK_TRY(ntk_store_read_text(path, "/identity", &c->identities[i]));
done:
  return status;
}

static ntk_status read_digests(combiner *c, int which) {
  ntk_status status = NTK_SUCCESS;
  const ntk_digest_share share = share_of(c, which);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, share.count, sizeof *c->digests[which],
                     &c->digests[which]));
  NTK_TRY(ntk_kernel_read_side(c->files[0], "digest", which, share.first, share.count,
                               NTK_U64, c->digests[which]));
done:
  return status;
}

static ntk_status open_files(combiner *c, const char *const paths[]) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, c->count, sizeof(void *), &c->files));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, c->count, sizeof(void *), &c->identities));
  for (int i = 0; i < c->count; i++) {
    NTK_TRY(open_file(c, i, paths[i]));
    c->facts = ntk_kernel_get_facts(c->files[0]);
    if (i == 0) {
      NTK_TRY(read_digests(c, 0));
      NTK_TRY(read_digests(c, 1));
    }
    NTK_TRY(compare_facts(c, i));
    NTK_TRY(compare_samples(c, i, 0));
    NTK_TRY(compare_samples(c, i, 1));
    if (ntk_kernel_get_facts(c->files[i])->dtype == NTK_F64)
      c->dtype = NTK_F64;
  }
done:
  return status;
}

/* ---- the new file ---------------------------------------------------------------------
 */

static ntk_status read_labels(ntk_data_source *source, int64_t first, int64_t count,
                              void *out) {
  const side *s = (const side *)source;
  return ntk_kernel_read_side(s->file, "labels", s->which, first - s->data.first, count,
                              source->labels == NTK_LABELS_CLASSES ? NTK_I64 : NTK_F64,
                              out);
}

static ntk_status make_side(combiner *c, int which) {
  ntk_status status = NTK_SUCCESS;
  side *s = &c->sides[which];
  ntk_shape shape;
  ntk_dtype dtype = NTK_F64;
  s->file = c->files[0];
  s->which = which;
  s->data.samples = which == 0 ? c->facts->rows : c->facts->columns;
  NTK_TRY(ntk_kernel_read_side(s->file, "sample", which, 0, 1, NTK_I64, &s->data.first));
  NTK_TRY(ntk_kernel_side_shape(s->file, "labels", which, &shape));
  NTK_TRY(ntk_kernel_side_dtype(s->file, "labels", which, &dtype));
  s->source.labels = shape.ndim == 0    ? NTK_LABELS_NONE
                     : dtype == NTK_F64 ? NTK_LABELS_TARGETS
                                        : NTK_LABELS_CLASSES;
  for (int i = 1; i < shape.ndim; i++)
    s->data.target_shape.dim[s->data.target_shape.ndim++] = shape.dim[i];
  s->source.read_labels = read_labels;
  s->data.labels = s->source.labels;
  s->data.source = &s->source;
done:
  return status;
}

static ntk_status write_provenance(combiner *c, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  ntk_text *text = &c->provenance;
  char date[32];
  NTK_TRY(ntk_text_add(text, "{\n  \"format\": \"scantk-kernel 1\",\n  \"program\": "));
  NTK_TRY(ntk_text_add_json(text, ntk_version()));
  NTK_TRY(ntk_text_add(text, ",\n  \"command\": "));
  NTK_TRY(ntk_text_add_json(text, command_line ? command_line : ""));
  NTK_TRY(ntk_text_add(text, ",\n  \"date\": \"%s\",\n  \"ranks\": %d,\n  \"combined\": [",
                       ntk_utc_now(date), c->context->size));
  for (int i = 0; i < c->count; i++) {
    NTK_TRY(ntk_text_add(text, i > 0 ? ", " : ""));
    NTK_TRY(ntk_text_add_json(text, ntk_kernel_get_facts(c->files[i])->path));
  }
  NTK_TRY(ntk_text_add(text, "]\n}\n"));
done:
  return status;
}

static ntk_status prepare(combiner *c, const char *const paths[],
                          const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(open_files(c, paths));
  NTK_TRY(make_side(c, 0));
  NTK_TRY(make_side(c, 1));
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_GENERAL, c->facts->outputs, sizeof *c->outputs, &c->outputs));
  NTK_TRY(ntk_kernel_read_side(c->files[0], "output", 0, 0, c->facts->outputs, NTK_I64,
                               c->outputs));
  NTK_TRY(ntk_identity_combine(c->count, c->identities, &c->identity));
  NTK_TRY(write_provenance(c, command_line));
  const int64_t most = ntk_kernel_most(c->facts);
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof *c->mean, &c->mean));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof *c->squares, &c->squares));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof *c->x, &c->x));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, ntk_dtype_bytes(c->dtype), &c->out));
done:
  return status;
}

static ntk_status create_file(combiner *c, const char *output) {
  ntk_status status = NTK_SUCCESS;
  static char variance[] = "variance";
  char *const names[] = {variance};
  const ntk_kernel_facts *k = c->facts;
  const bool pair = k->reduction == NTK_REDUCE_TRACE || k->reduction == NTK_REDUCE_PSEUDO;
  const ntk_store_spec spec = {.path = output,
                               .dtype = c->dtype,
                               .reduction = k->reduction,
                               .symmetric = k->symmetric,
                               .half = k->half,
                               .rows = k->rows,
                               .columns = k->columns,
                               .outputs = k->outputs,
                               .network_outputs = k->network_outputs,
                               .of_cotangents = k->network_outputs != k->outputs,
                               .block = k->block,
                               .outputs_block = pair ? k->outputs : k->part,
                               .output_index = c->outputs,
                               .row_data = &c->sides[0].data,
                               .column_data = k->symmetric ? NULL : &c->sides[1].data,
                               .combined = c->count,
                               .groups = 1,
                               .group_names = names,
                               .plan = "mean of several kernels\n",
                               .provenance = c->provenance.data,
                               .identity = c->identity.data,
                               .digests = {share_of(c, 0), share_of(c, 1)}};
  NTK_TRY(ntk_store_check(c->context, output, ntk_store_file_bytes(&spec)));
  NTK_TRY(ntk_store_create(c->context, &spec, &c->store));
done:
  return status;
}

/* ---- values ---------------------------------------------------------------------------
 */

/* Mean and squared deviations of n numbers from each kernel, one after the other (Welford
 * 1962). */
static void add_kernel(combiner *c, int i, int64_t n) {
  for (int64_t k = 0; k < n; k++) {
    const double before = c->x[k] - c->mean[k];
    c->mean[k] += before / (i + 1);
    c->squares[k] += before * (c->x[k] - c->mean[k]);
  }
}

/* One of the two, and for the other side of the diagonal its transpose. */
static ntk_status write_values(combiner *c, const ntk_tile *tile, int group,
                               const double *values) {
  ntk_status status = NTK_SUCCESS;
  const ntk_kernel_view v = ntk_kernel_view_of(c->facts, tile);
  const ntk_tile mirrored = ntk_kernel_transpose(tile);
  const int64_t size = v.rows * v.columns;
  const bool both = c->facts->symmetric && !c->facts->half && !ntk_kernel_is_diagonal(tile);
  ntk_convert(NTK_F64, values, c->dtype, c->out, v.planes * size);
  NTK_TRY(group == 0 ? ntk_store_write(c->store, tile, c->out)
                     : ntk_store_write_group(c->store, 0, tile, c->out));
  if (!both)
    goto done;
  for (int64_t m = 0; m < v.planes; m++)
    for (int64_t i = 0; i < v.rows; i++)
      for (int64_t j = 0; j < v.columns; j++)
        c->x[m * size + j * v.rows + i] = values[m * size + i * v.columns + j];
  ntk_convert(NTK_F64, c->x, c->dtype, c->out, v.planes * size);
  NTK_TRY(group == 0 ? ntk_store_write(c->store, &mirrored, c->out)
                     : ntk_store_write_group(c->store, 0, &mirrored, c->out));
done:
  return status;
}

static ntk_status combine_tile(combiner *c, const ntk_tile *tile) {
  ntk_status status = NTK_SUCCESS;
  char place[NTK_KERNEL_PLACE];
  const int64_t n = ntk_kernel_box_size(c->facts, tile);
  const int64_t number = ntk_kernel_tile_of(c->files[0], tile->row_first, tile->row_output,
                                            tile->column_first, tile->column_output);
  memset(c->mean, 0, (size_t)n * sizeof *c->mean);
  memset(c->squares, 0, (size_t)n * sizeof *c->squares);
  for (int i = 0; i < c->count; i++) {
    NTK_TRY(ntk_kernel_read(c->files[i], tile, c->x));
    NTK_REQUIRE(ntk_find_nonfinite(NTK_F64, c->x, n) < 0, NTK_ERR_NONFINITE,
                "%s: NaN or infinity in what is tile %s of %s",
                ntk_kernel_get_facts(c->files[i])->path,
                ntk_kernel_place(c->files[0], number, place), c->facts->path);
    add_kernel(c, i, n);
  }
  for (int64_t k = 0; k < n; k++)
    c->squares[k] /= c->count - 1;
  NTK_TRY(write_values(c, tile, 0, c->mean));
  NTK_TRY(write_values(c, tile, 1, c->squares));
done:
  return status;
}

/* Rows first .. first + n of a side's outputs. */
static ntk_status combine_rows(combiner *c, int which, int64_t first, int64_t n,
                               double *mean, double *x) {
  ntk_status status = NTK_SUCCESS;
  const int64_t size = n * c->facts->network_outputs;
  memset(mean, 0, (size_t)size * sizeof *mean);
  for (int i = 0; i < c->count; i++) {
    NTK_TRY(ntk_kernel_read_side(c->files[i], "outputs", which, first, n, NTK_F64, x));
    for (int64_t k = 0; k < size; k++)
      mean[k] += x[k] / c->count;
  }
  NTK_TRY(ntk_store_write_outputs(c->store, which, first, n, mean));
done:
  return status;
}

static ntk_status combine_outputs(combiner *c) {
  ntk_status status = NTK_SUCCESS;
  const int64_t O = c->facts->network_outputs, step = (int64_t)ROWS * c->context->size;
  double *mean = NULL, *x = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ROWS * O, sizeof *mean, &mean));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ROWS * O, sizeof *x, &x));
  for (int which = 0; which < 2; which++) {
    const int64_t n = c->sides[which].data.samples;
    for (int64_t i = (int64_t)ROWS * c->context->rank; i < n; i += step)
      NTK_TRY(combine_rows(c, which, i, least(ROWS, n - i), mean, x));
  }
done:
  ntk_free(&mean);
  ntk_free(&x);
  return status;
}

static ntk_status combine_share(combiner *c) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(combine_outputs(c));
  for (int64_t k = c->context->rank; k < ntk_kernel_boxes(c->files[0]);
       k += c->context->size) {
    const ntk_tile tile = ntk_kernel_box(c->files[0], k);
    NTK_TRY(combine_tile(c, &tile));
  }
done:
  return status;
}

/* ---- all ------------------------------------------------------------------------------
 */

static void clear(combiner *c) {
  for (int i = 0; c->files && i < c->count; i++)
    ntk_kernel_close(&c->files[i]);
  for (int i = 0; c->identities && i < c->count; i++)
    ntk_free(&c->identities[i]);
  ntk_free(&c->files);
  ntk_free(&c->identities);
  ntk_free(&c->digests[0]);
  ntk_free(&c->digests[1]);
  ntk_free(&c->outputs);
  ntk_free(&c->mean);
  ntk_free(&c->squares);
  ntk_free(&c->x);
  ntk_free(&c->out);
  ntk_text_clear(&c->identity);
  ntk_text_clear(&c->provenance);
}

/* Nothing goes on in a file that is not complete. */
static ntk_status abandon(combiner *c, const char *output, ntk_status failure) {
  ntk_text part = {0};
  const ntk_status status = ntk_store_abandon(&c->store, failure);
  if (c->context->rank == 0 && ntk_text_add(&part, "%s.part", output) == NTK_SUCCESS)
    (void)unlink(part.data);
  ntk_text_clear(&part);
  return status;
}

ntk_status ntk_kernel_combine(ntk_context *context, int count, const char *const paths[],
                              const char *output, const char *command_line) {
  ntk_status status = NTK_SUCCESS;
  combiner c = {.context = context, .count = count, .dtype = NTK_F32};
  NTK_REQUIRE(count > 1, NTK_ERR_ARGUMENT, "combine: at least two kernel files are needed");
  NTK_TRY(ntk_agree(context->comm, prepare(&c, paths, command_line)));
  NTK_TRY(create_file(&c, output));
  status = ntk_agree(context->comm, combine_share(&c));
  if (status != NTK_SUCCESS)
    status = abandon(&c, output, status);
  else
    status = ntk_store_close(&c.store, true, NULL);
done:
  clear(&c);
  return status;
}
