/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv_pass.h"

#include <omp.h>

/* Elements of the padded input of a task, unless one row of one image has more: half of a
 * common second-level cache. */
enum { PADDED_ELEMENTS = 1 << 17 };
/* Columns of a task that are enough to fill panels well. */
enum { TASK_COLUMNS = 512 };

static int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static ntk_conv_axis forward_axis(const ntk_window *w, int a) {
  return (ntk_conv_axis){.input = w->input[a],
                         .output = w->output[a],
                         .count = w->output[a],
                         .stride = 1,
                         .step = w->stride[a],
                         .taps = w->kernel[a],
                         .tap_step = 1,
                         .offset = -w->pad_begin[a],
                         .delta = w->dilation[a]};
}

static int64_t divisor(int64_t a, int64_t b) { return b == 0 ? a : divisor(b, a % b); }

/* Pixels x of the image with x mod stride = residue. Tap m met the pixel as input of output
 * (x + pad - m * dilation) / stride, where that is whole. */
static ntk_conv_axis adjoint_axis(const ntk_window *w, int a, int64_t residue) {
  const int64_t s = w->stride[a], dilation = w->dilation[a];
  const int64_t start = residue + w->pad_begin[a], period = s / divisor(s, dilation);
  ntk_conv_axis axis = {.input = w->output[a],
                        .output = w->input[a],
                        .place = residue,
                        .stride = s,
                        .step = 1,
                        .tap_step = period,
                        .delta = -(period * dilation / s)};
  axis.count = residue < w->input[a] ? (w->input[a] - residue + s - 1) / s : 0;
  while (axis.tap < period && (start - axis.tap * dilation) % s != 0)
    axis.tap++;
  if (axis.tap < period && axis.tap < w->kernel[a])
    axis.taps = (w->kernel[a] - axis.tap + period - 1) / period;
  axis.offset = (start - axis.tap * dilation) / s;
  return axis;
}

int64_t ntk_conv_passes(const ntk_conv *conv, bool adjoint) {
  const int64_t *s = conv->window.stride;
  return adjoint ? s[0] * s[1] * s[2] : 1;
}

ntk_conv_range ntk_conv_reads(const ntk_conv_axis *axis, int64_t first, int64_t count) {
  const int64_t reach = (axis->taps > 0 ? axis->taps - 1 : 0) * axis->delta;
  const int64_t low = first * axis->step + axis->offset + (reach < 0 ? reach : 0);
  return (ntk_conv_range){low, (count - 1) * axis->step + (reach < 0 ? -reach : reach) + 1};
}

ntk_conv_pass ntk_conv_pass_at(const ntk_conv *c, bool adjoint, int64_t i) {
  const ntk_window *w = &c->window;
  const int64_t taps = ntk_window_taps(w);
  ntk_conv_pass pass = {.groups = c->groups,
                        .read = adjoint ? c->filters : c->channels,
                        .written = adjoint ? c->channels : c->filters,
                        .w_read = adjoint ? c->K : taps,
                        .w_written = adjoint ? taps : c->K,
                        .w_tap = {w->kernel[1] * w->kernel[2], w->kernel[2], 1},
                        .w_group = c->filters * c->K};
  pass.K = pass.read;
  for (int a = 2; a >= 0; a--) {
    pass.axis[a] = adjoint ? adjoint_axis(w, a, i % w->stride[a]) : forward_axis(w, a);
    i /= w->stride[a];
    pass.K *= pass.axis[a].taps;
  }
  return pass;
}

/* Padded elements of an image in `band` outputs along an axis, for the largest pass. */
static int64_t padded_band(const ntk_conv *c, bool adjoint, int axis, int64_t band) {
  int64_t most = 0;
  for (int64_t i = 0; i < ntk_conv_passes(c, adjoint); i++) {
    const ntk_conv_pass pass = ntk_conv_pass_at(c, adjoint, i);
    int64_t elements = pass.read;
    for (int a = 0; a < 3; a++) {
      const int64_t count = pass.axis[a].count;
      elements *=
          ntk_conv_reads(&pass.axis[a], 0, a == axis ? least(band, count) : count).extent;
    }
    most = larger(most, elements);
  }
  return most;
}

ntk_conv_cut ntk_conv_cut_of(const ntk_conv *c, bool adjoint) {
  const ntk_conv_pass first = ntk_conv_pass_at(c, adjoint, 0); /* none has more outputs */
  ntk_conv_cut cut = {.axis = 2, .images = 1};
  int64_t pixels = 1;
  for (int a = 2; a >= 0; a--) {
    pixels *= first.axis[a].count;
    if (first.axis[a].count > 1)
      cut.axis = a;
  }
  const int64_t count = first.axis[cut.axis].count;
  cut.band = count;
  while (cut.band > 1 && padded_band(c, adjoint, cut.axis, cut.band) > PADDED_ELEMENTS)
    cut.band = (cut.band + 1) / 2;
  cut.bands = (count + cut.band - 1) / cut.band;
  const int64_t image = padded_band(c, adjoint, cut.axis, cut.band);
  while (cut.bands == 1 && cut.images * pixels < TASK_COLUMNS &&
         (cut.images + 1) * image <= PADDED_ELEMENTS)
    cut.images++;
  return cut;
}

int64_t ntk_conv_packed_elements(const ntk_conv_pass *pass) {
  return pass->groups * round_up(pass->written, NTK_CONV_ROWS) * pass->K;
}

ntk_conv_areas ntk_conv_areas_of(const ntk_conv *c, bool adjoint) {
  const ntk_conv_cut cut = ntk_conv_cut_of(c, adjoint);
  const int64_t image = padded_band(c, adjoint, cut.axis, cut.band);
  const int64_t written = adjoint ? c->channels : c->filters;
  return (ntk_conv_areas){.padded = round_up(cut.images * image, 16) + NTK_CONV_COLUMNS,
                          .panel = (int64_t)(NTK_CONV_CHAIN + 1) * NTK_CONV_COLUMNS,
                          .product = round_up(written, NTK_CONV_ROWS) * NTK_CONV_COLUMNS};
}

int64_t ntk_conv_pass_scratch(const ntk_conv *c) {
  int64_t most = 0;
  for (int adjoint = 0; adjoint < 2; adjoint++) {
    const ntk_conv_areas areas = ntk_conv_areas_of(c, adjoint);
    int64_t elements = omp_get_max_threads() * (areas.padded + areas.panel + areas.product);
    for (int64_t i = 0; i < ntk_conv_passes(c, adjoint); i++) {
      const ntk_conv_pass pass = ntk_conv_pass_at(c, adjoint, i);
      elements += ntk_conv_packed_elements(&pass);
    }
    most = larger(most, elements);
  }
  return most;
}
