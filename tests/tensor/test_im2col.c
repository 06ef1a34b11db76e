/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tensor/window.h"
#include <stdlib.h>

static int64_t volume(const int64_t counts[3]) { return counts[0] * counts[1] * counts[2]; }

/* Where tap `tap` of output pixel t reads in a plane, -1: padding. By definition. */
static int64_t input_index(const ntk_window *w, int64_t t, int64_t tap) {
  int64_t position[3], index = 0;
  for (int a = 2; a >= 0; a--) {
    position[a] = t % w->output[a] * w->stride[a] - w->pad_begin[a] +
                  tap % w->kernel[a] * w->dilation[a];
    t /= w->output[a];
    tap /= w->kernel[a];
  }
  for (int a = 0; a < 3; a++) {
    if (position[a] < 0 || position[a] >= w->input[a])
      return -1;
    index = index * w->input[a] + position[a];
  }
  return index;
}

#define real float
#define NAME(function) function##_f32
#include "tensor/im2col_cases.h"
#undef real
#undef NAME
#define real double
#define NAME(function) function##_f64
#include "tensor/im2col_cases.h"

/* input, kernel, stride, dilation, pad_begin, pad_end; the output follows. */
static ntk_window window_of(const int64_t d[6][3]) {
  ntk_window w;
  for (int a = 0; a < 3; a++) {
    w.input[a] = d[0][a];
    w.kernel[a] = d[1][a];
    w.stride[a] = d[2][a];
    w.dilation[a] = d[3][a];
    w.pad_begin[a] = d[4][a];
    w.pad_end[a] = d[5][a];
    w.output[a] = (d[0][a] + d[4][a] + d[5][a] - (d[1][a] - 1) * d[3][a] - 1) / d[2][a] + 1;
  }
  return w;
}

static const int64_t cases[][6][3] = {
    {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
    {{1, 1, 11}, {1, 1, 3}, {1, 1, 2}, {1, 1, 1}, {0, 0, 1}, {0, 0, 0}},
    {{1, 5, 7}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}},
    {{1, 9, 6}, {1, 3, 2}, {1, 2, 3}, {1, 2, 1}, {0, 0, 2}, {0, 3, 1}},
    {{1, 2, 2}, {1, 5, 5}, {1, 1, 1}, {1, 1, 1}, {0, 4, 2}, {0, 4, 2}},
    {{4, 5, 6}, {2, 3, 1}, {2, 1, 1}, {1, 1, 1}, {1, 0, 0}, {0, 1, 0}},
    {{3, 4, 5}, {3, 3, 3}, {1, 2, 1}, {1, 1, 2}, {1, 1, 2}, {1, 1, 2}},
};

static void im2col_reads_patches(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const ntk_window w = window_of(cases[i]);
    check_patches_f32(&w, 1);
    check_patches_f32(&w, 3);
    check_patches_f64(&w, 2);
  }
}

static void col2im_is_its_adjoint(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const ntk_window w = window_of(cases[i]);
    check_adjoint_f32(&w, 2);
    check_adjoint_f64(&w, 1);
    check_adjoint_f64(&w, 3);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(im2col_reads_patches),
      cmocka_unit_test(col2im_is_its_adjoint),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
