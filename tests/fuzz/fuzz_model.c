/* SPDX-License-Identifier: Apache-2.0 */
/* timeout: 3600 */
/* Import of damaged models: an error of one line or a model, never a crash, a hang, a lost
 * byte. Files of libonnx-testdata and tests/golden are changed at random, each round from
 * its own number alone.
 *
 *   SCANTK_FUZZ_SECONDS  how long (default 5)
 *   SCANTK_FUZZ_SEED     another sequence (default 1)
 *   SCANTK_FUZZ_ONLY     this round alone, as a failure names it
 *   SCANTK_FUZZ_SAVE     file to write the model of that round to
 *
 * Exits 77 where there are no files. */
#define _DEFAULT_SOURCE
#include "autodiff/sweep.h"
#include "base/memory.h"
#include "job/weights.h"
#include "onnx/model.h"
#include <glob.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 16, ROOM = 4 * MOST_BYTES, HANG_SECONDS = 60 };

typedef struct bytes {
  uint8_t *data;
  size_t size;
} bytes;

typedef struct corpus {
  size_t count, good; /* the good ones first: they are models as they stand */
  bytes *files;
} corpus;

/* What the child that imports and its parent share. */
typedef struct progress {
  volatile int64_t round;
  volatile int64_t models; /* that were read in spite of all */
  volatile bool is_failure;
  char message[512];
} progress;

static int64_t number_of(const char *name, int64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoll(text, NULL, 10) : otherwise;
}

/* ---- files ----------------------------------------------------------------------------
 */

static void add_file(corpus *c, const char *path) {
  static uint8_t content[MOST_BYTES];
  FILE *file = fopen(path, "rb");
  if (!file)
    return;
  const size_t size = fread(content, 1, sizeof content, file);
  (void)fclose(file);
  if (size == 0 || size == sizeof content)
    return;
  bytes *grown = realloc(c->files, (c->count + 1) * sizeof *grown);
  uint8_t *data = malloc(size);
  if (!grown || !data)
    abort();
  memcpy(data, content, size);
  c->files = grown;
  c->files[c->count++] = (bytes){data, size};
}

static void add_files(corpus *c, const char *folder, const char *pattern) {
  char path[1024];
  glob_t found;
  (void)snprintf(path, sizeof path, "%s/%s", folder, pattern);
  if (glob(path, 0, NULL, &found) != 0)
    return;
  for (size_t i = 0; i < found.gl_pathc; i++)
    add_file(c, found.gl_pathv[i]);
  globfree(&found);
}

/* ---- changes --------------------------------------------------------------------------
 */

/* Random numbers of one round. */
typedef struct dice {
  uint64_t state;
} dice;

static uint64_t next(dice *d) { /* splitmix64 */
  uint64_t x = d->state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static size_t below(dice *d, size_t n) { return n ? (size_t)(next(d) % n) : 0; }

/* Mostly short. */
static size_t some_length(dice *d, size_t most) {
  const size_t bound = (size_t)1 << below(d, 12);
  return below(d, (most < bound ? most : bound) + 1);
}

static void insert(bytes *b, size_t at, const uint8_t *from, size_t length) {
  if (b->size + length > ROOM)
    return;
  memmove(b->data + at + length, b->data + at, b->size - at);
  memcpy(b->data + at, from, length);
  b->size += length;
}

static void erase(bytes *b, size_t at, size_t length) {
  memmove(b->data + at, b->data + at + length, b->size - at - length);
  b->size -= length;
}

/* A copy of a piece, so that it may come from the file that it goes to. */
static void splice(bytes *b, size_t at, const bytes *from, dice *d) {
  static uint8_t piece[ROOM];
  const size_t start = below(d, from->size);
  const size_t length = some_length(d, from->size - start);
  memcpy(piece, from->data + start, length);
  if (next(d) % 2) {
    const size_t rest = b->size - at;
    erase(b, at, length < rest ? length : rest);
  }
  insert(b, at, piece, length);
}

/* Numbers at which arithmetic breaks, as varints, in place of what stands there. */
static void put_number(bytes *b, size_t at, dice *d) {
  static const uint64_t numbers[] = {0,
                                     1,
                                     2,
                                     127,
                                     128,
                                     255,
                                     65535,
                                     INT32_MAX,
                                     (uint64_t)INT32_MAX + 1,
                                     UINT32_MAX,
                                     (uint64_t)1 << 40,
                                     INT64_MAX,
                                     (uint64_t)INT64_MAX + 1,
                                     UINT64_MAX,
                                     UINT64_MAX - 1};
  uint64_t number = numbers[below(d, sizeof numbers / sizeof *numbers)];
  uint8_t varint[10];
  size_t length = 0, old = at;
  do
    varint[length++] = (uint8_t)((number & 127) | (number > 127 ? 128 : 0));
  while (number >>= 7);
  while (old < b->size - 1 && b->data[old] & 128)
    old++;
  erase(b, at, old - at + (old < b->size));
  insert(b, at, varint, length);
}

static void change(bytes *b, const corpus *c, dice *d) {
  const size_t at = below(d, b->size);
  if (b->size == 0)
    return;
  switch (below(d, 9)) {
  case 0:
  case 1:
    b->data[at] ^= (uint8_t)(1u << below(d, 8));
    break;
  case 2:
    b->data[at] = (uint8_t)next(d);
    break;
  case 3: /* lengths and counts */
    b->data[at] = (uint8_t)(b->data[at] + below(d, 7) - 3);
    break;
  case 4:
    erase(b, at, some_length(d, b->size - at));
    break;
  case 5:
    splice(b, at, b, d);
    break;
  case 6:
    splice(b, at, &c->files[below(d, c->count)], d);
    break;
  case 7:
    put_number(b, at, d);
    break;
  default:
    if (below(d, 8) == 0)
      b->size = at;
  }
}

static void make_round(const corpus *c, int64_t seed, int64_t round, bytes *b) {
  dice d = {(uint64_t)seed << 40 ^ (uint64_t)round};
  const bool any = c->good == 0 || below(&d, 4) == 0;
  const bytes *from = &c->files[below(&d, any ? c->count : c->good)];
  const size_t changes = 1 + below(&d, 1 + below(&d, 5));
  memcpy(b->data, from->data, from->size);
  b->size = from->size;
  for (size_t i = 0; i < changes; i++)
    change(b, c, &d);
}

/* ---- rounds ---------------------------------------------------------------------------
 */

/* What is wrong with an outcome; NULL: nothing. */
static const char *fault(ntk_status status, const ntk_model *model, const char *message) {
  switch (status) {
  case NTK_SUCCESS:
    return ntk_model_get_info(model).outputs > 0 ? NULL : "a model without outputs";
  case NTK_ERR_FORMAT:
  case NTK_ERR_UNSUPPORTED:
  case NTK_ERR_SHAPE:
  case NTK_ERR_ARGUMENT:
  case NTK_ERR_NONFINITE:
  case NTK_ERR_MEMORY:
    return !*message                        ? "no message"
           : strpbrk(message, "\n\r\t\033") ? "a message of several lines"
                                            : NULL;
  default:
    return "a status that it must not have";
  }
}

static void drop(void *user, int value, ntk_array cotangent) {
  (void)user;
  (void)value;
  (void)cotangent;
}

static bool is_small(const ntk_graph *graph) {
  int64_t size = 0;
  for (int v = 0; v < graph->value_count; v++)
    if (__builtin_add_overflow(size, ntk_graph_size(graph, v), &size) || size > 100000)
      return false;
  return true;
}

/* Forward and backward over two samples of zeros, whose outcome may be NaN. */
static ntk_status sweep_once(ntk_context *context, const ntk_graph *graph) {
  ntk_status status = NTK_SUCCESS;
  const ntk_sweep_limits limits = {.samples = 2, .cotangents = 1};
  ntk_weights weights = {0};
  ntk_sweep *sweep = NULL;
  bool *wanted = NULL;
  double *rows = NULL, *seeds = NULL;
  NTK_TRY(ntk_weights_create(context, graph, NTK_F64, &weights));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof *wanted, &wanted));
  for (int i = 0; i < graph->parameter_count; i++)
    wanted[graph->parameters[i]] = true;
  NTK_TRY(ntk_sweep_create(weights.net, limits, wanted, &sweep));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 2 * ntk_graph_inputs(graph), sizeof *rows, &rows));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, ntk_graph_outputs(graph), sizeof *seeds, &seeds));
  NTK_TRY(ntk_sweep_forward_rows(sweep, 2, rows, 0));
  ntk_sweep_backward(sweep, 1, (ntk_seeds){seeds, 0}, false, drop, NULL);
done:
  ntk_free(&rows);
  ntk_free(&seeds);
  ntk_free(&wanted);
  ntk_sweep_destroy(&sweep);
  ntk_weights_destroy(&weights);
  return status;
}

/* What else is wrong with a model that was read. */
static const char *fault_of_model(ntk_context *context, const ntk_model *model, bool json) {
  ntk_text text = {0};
  const ntk_status described = ntk_model_describe(model, json, &text);
  ntk_text_clear(&text);
  if (described != NTK_SUCCESS)
    return "no description";
  const ntk_status swept =
      is_small(model->graph) ? sweep_once(context, model->graph) : NTK_SUCCESS;
  return swept == NTK_SUCCESS || swept == NTK_ERR_NONFINITE || swept == NTK_ERR_MEMORY
             ? NULL
             : "sweeps fail";
}

/* In a block of its own, so that a read past the end is seen. */
static bool try_round(ntk_context *context, const bytes *b, progress *p) {
  const int64_t before = ntk_memory_used_total();
  uint8_t *copy = malloc(b->size ? b->size : 1);
  ntk_model *model = NULL;
  if (!copy)
    abort();
  memcpy(copy, b->data, b->size);
  const ntk_status status = ntk_model_from_memory(context, copy, b->size, NULL, &model);
  const char *what = fault(status, model, ntk_context_error(context));
  if (status == NTK_SUCCESS && !what)
    what = fault_of_model(context, model, p->round % 2 == 0);
  p->models += status == NTK_SUCCESS;
  ntk_model_destroy(&model);
  free(copy);
  if (!what && ntk_memory_used_total() != before)
    what = "memory is lost";
  if (what)
    (void)snprintf(p->message, sizeof p->message, "%s (status %d: %s)", what, (int)status,
                   ntk_context_error(context));
  return !what;
}

static void save(const bytes *b, const char *path) {
  FILE *file = path ? fopen(path, "wb") : NULL;
  if (file) {
    (void)fwrite(b->data, 1, b->size, file);
    (void)fclose(file);
  }
}

static void find_good(ntk_context *context, corpus *c) {
  for (size_t i = 0; i < c->count; i++) {
    const bytes file = c->files[i];
    ntk_model *model = NULL;
    if (ntk_model_from_memory(context, file.data, file.size, NULL, &model) == NTK_SUCCESS) {
      c->files[i] = c->files[c->good];
      c->files[c->good++] = file;
    }
    ntk_model_destroy(&model);
  }
}

static void run_rounds(corpus *c, progress *p) {
  const int64_t seed = number_of("SCANTK_FUZZ_SEED", 1);
  const int64_t only = number_of("SCANTK_FUZZ_ONLY", -1);
  const time_t end = time(NULL) + number_of("SCANTK_FUZZ_SECONDS", 5);
  static uint8_t room[ROOM];
  bytes b = {.data = room};
  ntk_context *context = NULL;
  MPI_Init(NULL, NULL);
  if (ntk_context_create(MPI_COMM_WORLD, NULL, &context) != NTK_SUCCESS)
    abort();
  (void)ntk_memory_set_cap((int64_t)1 << 30);
  find_good(context, c);
  for (p->round = only < 0 ? 0 : only; !p->is_failure; p->round++) {
    make_round(c, seed, p->round, &b);
    if (only >= 0)
      save(&b, getenv("SCANTK_FUZZ_SAVE"));
    p->is_failure = !try_round(context, &b, p);
    if (p->is_failure || only >= 0 || time(NULL) >= end)
      break;
  }
  ntk_context_destroy(&context);
  MPI_Finalize();
}

/* Waits for the child; kills it where a round does not end. */
static int watch(pid_t child, progress *p) {
  int64_t last = -1;
  int state = 0, still = 0;
  while (waitpid(child, &state, WNOHANG) == 0) {
    (void)usleep(100000);
    still = p->round == last ? still + 1 : 0;
    last = p->round;
    if (still > HANG_SECONDS * 10) {
      (void)kill(child, SIGKILL);
      (void)waitpid(child, &state, 0);
      (void)snprintf(p->message, sizeof p->message, "it does not end");
      break;
    }
  }
  return state;
}

/* The rounds in a child, so that a crash leaves someone to name it. */
static int fuzz(corpus *c, progress *p) {
  const pid_t child = fork();
  if (child == 0) {
    run_rounds(c, p);
    exit(p->is_failure);
  }
  if (child < 0 || watch(child, p) != 0) {
    (void)printf("round %lld: %s; again with SCANTK_FUZZ_ONLY=%lld\n", (long long)p->round,
                 *p->message ? p->message : "it crashes", (long long)p->round);
    return 1;
  }
  (void)printf("%lld rounds over %zu files, %lld of them models\n", (long long)p->round + 1,
               c->count, (long long)p->models);
  return 0;
}

int main(void) {
  const char *source = getenv("SOURCE_DIR");
  corpus c = {0};
  progress *p =
      mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return 1;
  add_files(&c, "/usr/share/libonnx-testdata/data", "*/*/model.onnx");
  add_files(&c, source ? source : ".", "tests/golden/*.onnx");
  const int code = c.count > 0 ? fuzz(&c, p) : 77;
  for (size_t i = 0; i < c.count; i++)
    free(c.files[i].data);
  free(c.files);
  return code;
}
