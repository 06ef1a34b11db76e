/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv_pass.h"
#include "tensor/panel.h"

#include <omp.h>
#include <string.h>

/* A product of weights and patches, which are never stored: a panel of them at a time is
 * made from the padded input of a task, in slices of NTK_CONV_CHAIN terms, and multiplied
 * while it is in cache. */

typedef NTK_REAL(ntk_panel) panel_kernels;

typedef struct job {
  const ntk_conv *conv;
  const panel_kernels *kernels;
  ntk_conv_cut cut;
  int64_t passes, splits; /* a task is split by channels written where there are few */
  bool adjoint, add;
  int64_t q, count; /* inner samples; images in all */
  ntk_array from, to;
  const real *packed; /* [passes][groups, rows / 8, K, 8] */
} job;

/* One pass of a task: images image .. image + images in one group, outputs first .. first +
 * rows along the band's axis. */
typedef struct task {
  const job *job;
  ntk_conv_pass pass;
  const real *packed;        /* [rows / 8, K, 8] of the group */
  int64_t written0, written; /* channels that it writes */
  int64_t group, image, images, first, rows, pixels /* of an image */;
  ntk_conv_range reads[3];
} task;

/* Outputs of a panel that lie in one row: patches start at `from`. */
typedef struct row {
  int64_t image, at; /* at: first pixel written, within a channel */
  int64_t length, column;
} row;

/* A thread's memory. */
typedef struct areas {
  real *padded, *panel, *product;
} areas;

typedef struct panel {
  int64_t columns, width;
  int rows;
  row row[NTK_CONV_COLUMNS];
  ntk_panel_run run[NTK_CONV_COLUMNS];
} panel;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t parts(int64_t count, int64_t part) { return (count + part - 1) / part; }

static int64_t plane(const ntk_conv_pass *pass, bool read) {
  int64_t size = 1;
  for (int a = 0; a < 3; a++)
    size *= read ? pass->axis[a].input : pass->axis[a].output;
  return size;
}

static real *image_at(const job *j, ntk_array array, int64_t image, int64_t size) {
  const int64_t sample = image / j->conv->images;
  return (real *)array.data + sample / j->q * array.outer + sample % j->q * array.inner +
         image % j->conv->images * size;
}

/* ---- weights --------------------------------------------------------------------------
 */

/* Eight channels written by one group: out[K, 8]. */
static void pack_rows(const ntk_conv_pass *pass, const real *w, int64_t rows, real *out) {
  const ntk_conv_axis *x = pass->axis;
  for (int64_t c = 0; c < pass->read; c++)
    for (int64_t i = 0; i < x[0].taps; i++)
      for (int64_t j = 0; j < x[1].taps; j++)
        for (int64_t k = 0; k < x[2].taps; k++, out += NTK_PANEL_ROWS) {
          const real *from = w + c * pass->w_read +
                             (x[0].tap + i * x[0].tap_step) * pass->w_tap[0] +
                             (x[1].tap + j * x[1].tap_step) * pass->w_tap[1] +
                             (x[2].tap + k * x[2].tap_step) * pass->w_tap[2];
          if (rows == NTK_PANEL_ROWS)
            for (int64_t r = 0; r < NTK_PANEL_ROWS; r++)
              out[r] = from[r * pass->w_written];
          else
            for (int64_t r = 0; r < NTK_PANEL_ROWS; r++)
              out[r] = r < rows ? from[r * pass->w_written] : 0;
        }
}

static void pack_weights(const ntk_conv_pass *pass, const real *w, real *packed) {
  const int64_t pieces = parts(pass->written, NTK_PANEL_ROWS);
#pragma omp parallel for schedule(static) if (pass->K * pass->written > 1 << 15)
  for (int64_t i = 0; i < pass->groups * pieces; i++) {
    const int64_t first = i % pieces * NTK_PANEL_ROWS;
    pack_rows(pass, w + i / pieces * pass->w_group + first * pass->w_written,
              smaller(NTK_PANEL_ROWS, pass->written - first),
              packed + i * pass->K * NTK_PANEL_ROWS);
  }
}

/* ---- input ----------------------------------------------------------------------------
 */

static int64_t padded_plane(const task *t) {
  return t->reads[0].extent * t->reads[1].extent * t->reads[2].extent;
}

/* One row of a plane with its padding: out[extent] = x[low ..], zero where there is none.
 */
static void pad_row(const real *x, int64_t size, ntk_conv_range range, real *out) {
  const int64_t low = range.low < 0 ? smaller(-range.low, range.extent) : 0;
  int64_t high = size - range.low;
  high = high > range.extent ? range.extent : high < low ? low : high;
  for (int64_t i = 0; i < low; i++)
    out[i] = 0;
  for (int64_t i = low; i < high; i++)
    out[i] = x[range.low + i];
  for (int64_t i = high; i < range.extent; i++)
    out[i] = 0;
}

/* The part of the input that a task reads: out[images, channels, extents]. */
static void pad(const task *t, real *out) {
  const ntk_conv_pass *pass = &t->pass;
  const ntk_conv_axis *x = pass->axis;
  const int64_t size = plane(pass, true), length = t->reads[2].extent;
  for (int64_t i = 0; i < t->images; i++) {
    const real *image =
        image_at(t->job, t->job->from, t->image + i, pass->groups * pass->read * size) +
        t->group * pass->read * size;
    for (int64_t c = 0; c < pass->read; c++, image += size)
      for (int64_t a = 0; a < t->reads[0].extent; a++)
        for (int64_t b = 0; b < t->reads[1].extent; b++, out += length) {
          const int64_t y0 = t->reads[0].low + a, y1 = t->reads[1].low + b;
          if (y0 < 0 || y0 >= x[0].input || y1 < 0 || y1 >= x[1].input)
            memset(out, 0, (size_t)length * sizeof *out);
          else
            pad_row(image + (y0 * x[1].input + y1) * x[2].input, x[2].input, t->reads[2],
                    out);
        }
  }
}

/* ---- panels ---------------------------------------------------------------------------
 */

/* Outputs from number `first` of a task on: rows, and where their patches begin. */
static void plan_panel(const task *t, int64_t first, panel *p) {
  const ntk_conv_pass *pass = &t->pass;
  const ntk_conv_axis *x = pass->axis;
  const int64_t image_size = pass->read * padded_plane(t);
  int64_t count[3], start[3];
  for (int a = 0; a < 3; a++) {
    count[a] = a == t->job->cut.axis ? t->rows : x[a].count;
    /* tap 0 of output 0 of the task */
    start[a] =
        (a == t->job->cut.axis ? t->first : 0) * x[a].step + x[a].offset - t->reads[a].low;
  }
  p->columns = smaller(NTK_PANEL_COLUMNS, t->images * t->pixels - first);
  p->width = parts(p->columns, NTK_PANEL_STEP) * NTK_PANEL_STEP;
  p->rows = 0;
  for (int64_t column = 0; column < p->columns;) {
    const int64_t pixel = (first + column) % t->pixels, k = pixel % count[2];
    const int64_t at[3] = {pixel / count[2] / count[1], pixel / count[2] % count[1], k};
    const int64_t image = (first + column) / t->pixels;
    const int64_t length = smaller(count[2] - k, p->columns - column);
    int64_t from = 0, to = 0;
    for (int a = 0; a < 3; a++) {
      const int64_t output = at[a] + (a == t->job->cut.axis ? t->first : 0);
      from = from * t->reads[a].extent + start[a] + at[a] * x[a].step;
      to = to * x[a].output + x[a].place + output * x[a].stride;
    }
    p->row[p->rows] = (row){t->image + image, to, length, column};
    p->run[p->rows++] = (ntk_panel_run){column, image * image_size + from, length};
    column += length;
  }
}

static void gather_strided(const panel *p, int64_t step, const real *from, real *out) {
  for (const ntk_panel_run *r = p->run; r < p->run + p->rows; r++)
    for (int64_t e = 0; e < r->length; e++)
      out[r->to + e] = from[r->from + e * step];
}

/* Rows k0 .. k1 of the patches, k = (channel, taps of the axes). */
static void make_panel(const task *t, const panel *p, int64_t k0, int64_t k1,
                       const real *padded, real *out) {
  const ntk_conv_axis *x = t->pass.axis;
  const int64_t size = padded_plane(t), line = t->reads[2].extent;
  int64_t tap[3], rest = k0;
  for (int a = 2; a >= 0; a--) {
    tap[a] = rest % x[a].taps;
    rest /= x[a].taps;
  }
  for (int64_t k = k0; k < k1; k++, out += p->width) {
    const real *from =
        padded + rest * size +
        (tap[0] * x[0].delta * t->reads[1].extent + tap[1] * x[1].delta) * line +
        tap[2] * x[2].delta;
    if (x[2].step == 1)
      t->job->kernels->gather(p->rows, p->run, from, out);
    else
      gather_strided(p, x[2].step, from, out);
    for (int a = 2; a >= 0 && ++tap[a] == x[a].taps; a--) {
      tap[a] = 0;
      rest += a == 0;
    }
  }
}

/* product [rows / 8, 8, width] = weights of the task's channels times the panel. */
static void multiply(const task *t, const panel *p, const areas *area) {
  const int64_t K = t->pass.K, pieces = parts(t->written, NTK_PANEL_ROWS);
  const int64_t length = K > 0 ? parts(K, parts(K, NTK_CONV_CHAIN)) : 0;
  if (K == 0)
    memset(area->product, 0, (size_t)(pieces * NTK_PANEL_ROWS * p->width) * sizeof(real));
  for (int64_t k = 0; k < K; k += length) {
    const int64_t end = smaller(k + length, K);
    make_panel(t, p, k, end, area->padded, area->panel);
    for (int64_t i = 0; i < pieces; i++)
      t->job->kernels->multiply(
          end - k, t->packed + t->written0 * K + (i * K + k) * NTK_PANEL_ROWS, area->panel,
          p->width, area->product + i * NTK_PANEL_ROWS * p->width, k > 0);
  }
}

static void store_row(int64_t n, const real *from, int64_t stride, bool add, real *to) {
  if (stride == 1 && !add)
    for (int64_t e = 0; e < n; e++)
      to[e] = from[e];
  else if (stride == 1)
    for (int64_t e = 0; e < n; e++)
      to[e] += from[e];
  else if (!add)
    for (int64_t e = 0; e < n; e++)
      to[e * stride] = from[e];
  else
    for (int64_t e = 0; e < n; e++)
      to[e * stride] += from[e];
}

static void store(const task *t, const panel *p, const real *product) {
  const ntk_conv_pass *pass = &t->pass;
  const int64_t size = plane(pass, false);
  for (const row *r = p->row; r < p->row + p->rows; r++) {
    real *to = image_at(t->job, t->job->to, r->image, pass->groups * pass->written * size) +
               (t->group * pass->written + t->written0) * size + r->at;
    for (int64_t c = 0; c < t->written; c++)
      store_row(r->length, product + c * p->width + r->column, pass->axis[2].stride,
                t->job->add, to + c * size);
  }
}

/* ---- tasks ----------------------------------------------------------------------------
 */

static void run_pass(const task *t, const areas *area) {
  panel p;
  if (t->pixels > 0 && t->pass.K > 0)
    pad(t, area->padded);
  for (int64_t first = 0; first < t->images * t->pixels; first += NTK_PANEL_COLUMNS) {
    plan_panel(t, first, &p);
    multiply(t, &p, area);
    store(t, &p, area->product);
  }
}

/* Sets what of the task lies in its pass. */
static void enter_pass(task *t) {
  t->pixels = 1;
  for (int a = 0; a < 3; a++) {
    const ntk_conv_axis *axis = &t->pass.axis[a];
    int64_t first = 0, count = axis->count;
    if (a == t->job->cut.axis) {
      first = t->first;
      count = smaller(t->job->cut.band, count - first);
      t->rows = count = count < 0 ? 0 : count;
    }
    t->reads[a] = ntk_conv_reads(axis, first, count);
    t->pixels *= count;
  }
}

static void run_task(const job *j, int64_t number, const areas *area) {
  const int64_t groups = j->conv->groups;
  const int64_t written = j->adjoint ? j->conv->channels : j->conv->filters;
  const int64_t share = parts(parts(written, NTK_PANEL_ROWS), j->splits) * NTK_PANEL_ROWS;
  task t = {.job = j};
  t.written0 = number % j->splits * share;
  t.written = smaller(share, written - t.written0);
  number /= j->splits;
  t.group = number % groups;
  t.first = number / groups % j->cut.bands * j->cut.band;
  t.image = number / groups / j->cut.bands * j->cut.images;
  t.images = smaller(j->cut.images, j->count - t.image);
  const real *packed = j->packed;
  for (int64_t i = 0; i < j->passes; i++) {
    t.pass = ntk_conv_pass_at(j->conv, j->adjoint, i);
    const int64_t elements = ntk_conv_packed_elements(&t.pass);
    t.packed = packed + elements / groups * t.group;
    packed += elements;
    enter_pass(&t);
    if (t.pass.K > 0 || !j->add)
      run_pass(&t, area);
  }
}

static void pack_passes(const job *j, const real *w, real *packed) {
  for (int64_t i = 0; i < j->passes; i++) {
    const ntk_conv_pass pass = ntk_conv_pass_at(j->conv, j->adjoint, i);
    pack_weights(&pass, w, packed);
    packed += ntk_conv_packed_elements(&pass);
  }
}

/* Tasks for all threads. They do not depend on each other, nor sums on the cut: no result
 * depends on the number of threads. */
static int64_t cut_tasks(job *j) {
  const int64_t threads = omp_get_max_threads();
  const int64_t written = j->adjoint ? j->conv->channels : j->conv->filters;
  const int64_t share = j->count * j->cut.bands * j->conv->groups / threads;
  j->cut.images = share < 1 ? 1 : smaller(j->cut.images, share);
  const int64_t tasks = parts(j->count, j->cut.images) * j->cut.bands * j->conv->groups;
  const int64_t pieces = parts(written, NTK_PANEL_ROWS);
  j->splits = tasks < threads ? smaller(pieces, parts(threads, tasks)) : 1;
  j->splits = parts(pieces, parts(pieces, j->splits)); /* none is empty */
  return tasks * j->splits;
}

void NTK_REAL(ntk_conv_apply)(const ntk_conv *conv, bool adjoint, int64_t p, int64_t q,
                              ntk_array from, const real *w, ntk_array to, bool add,
                              void *work) {
  const ntk_conv_areas sizes = ntk_conv_areas_of(conv, adjoint);
  const int64_t thread = sizes.padded + sizes.panel + sizes.product;
  real *packed = (real *)work + omp_get_max_threads() * thread;
  job j = {.conv = conv,
           .kernels = NTK_REAL(ntk_panel_get)(),
           .cut = ntk_conv_cut_of(conv, adjoint),
           .passes = ntk_conv_passes(conv, adjoint),
           .adjoint = adjoint,
           .add = add,
           .q = q,
           .count = p * q * conv->images,
           .from = from,
           .to = to,
           .packed = packed};
  const int64_t tasks = j.count > 0 ? cut_tasks(&j) : 0;
  pack_passes(&j, w, packed);
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < tasks; i++) {
    areas area = {.padded = (real *)work + omp_get_thread_num() * thread};
    area.panel = area.padded + sizes.padded;
    area.product = area.panel + sizes.panel;
    run_task(&j, i, &area);
  }
}
