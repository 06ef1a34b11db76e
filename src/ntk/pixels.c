/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/pixels.h"

ntk_pixel_class ntk_pixel_class_at(const ntk_window *w, int64_t number) {
  ntk_pixel_class c = {.first = 0};
  for (int64_t i = 0;; i++) {
    int64_t rest = i;
    c.count = 1;
    for (int a = 2; a >= 0; a--) {
      c.residue[a] = rest % w->stride[a];
      rest /= w->stride[a];
      c.n[a] = (w->input[a] - c.residue[a] + w->stride[a] - 1) / w->stride[a];
      c.count *= c.n[a];
    }
    if (i == number)
      return c;
    c.first += c.count;
  }
}

bool ntk_pixels_pay(const ntk_window *w, int64_t channels) {
  /* products of a class beside those of all taps; a shift costs as much as eight terms */
  int64_t classes = 1;
  const int64_t taps = ntk_window_taps(w);
  for (int a = 0; a < 3; a++)
    classes *= w->stride[a] < w->kernel[a] ? w->stride[a] : w->kernel[a];
  return channels * (taps - classes) > 8 * taps;
}

int64_t ntk_pixels_scratch(const ntk_window *w) {
  int64_t edge = 1; /* of what stands between two passes */
  for (int a = 0; a < 3; a++)
    edge *= w->input[a] > w->output[a] ? w->input[a] : w->output[a];
  return 2 * edge * edge;
}
