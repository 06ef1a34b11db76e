/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/lower.h"
#include <math.h>

/* What networks for sound begin with: Fourier transforms are products with constant
 * matrices; windows and filters are constants. */

static const double pi = 3.14159265358979323846;
static const int64_t MOST_ELEMENTS = (int64_t)1 << 26; /* of a constant */

/* The number that an input is, or `otherwise` where it is left out. */
static ntk_status number_of(const ntk_lowering *l, int i, const char *what,
                            double otherwise, double *number) {
  ntk_status status = NTK_SUCCESS;
  double *list = NULL;
  int64_t count;
  *number = otherwise;
  if (ntk_lower_input(l, i) < 0)
    return NTK_SUCCESS;
  NTK_TRY(ntk_lower_numbers(l, l->inputs[i], what, &count, &list));
  NTK_REQUIRE(count == 1, NTK_ERR_SHAPE, "%s is no single number", what);
  *number = list[0];
done:
  ntk_free(&list);
  return status;
}

static ntk_status integer_of(const ntk_lowering *l, int i, const char *what,
                             int64_t otherwise, int64_t *integer) {
  ntk_status status = NTK_SUCCESS;
  double number;
  NTK_TRY(number_of(l, i, what, (double)otherwise, &number));
  NTK_REQUIRE(fabs(number) < 0x1p31, NTK_ERR_UNSUPPORTED, "%s is %g", what, number);
  *integer = (int64_t)number;
done:
  return status;
}

static ntk_status output_type(const ntk_lowering *l, ntk_dtype *dtype) {
  ntk_status status = NTK_SUCCESS;
  const int64_t type = ntk_lower_int(l, "output_datatype", 1);
  NTK_REQUIRE(type == 1 || type == 10 || type == 11 || type == 16, NTK_ERR_UNSUPPORTED,
              "output_datatype %lld is not real", (long long)type);
  *dtype = type == 11 ? NTK_F64 : NTK_F32;
done:
  return status;
}

/* ---- windows --------------------------------------------------------------------------
 */

/* a - b cos(2 pi n / N) + c cos(4 pi n / N). */
static ntk_status lower_window(ntk_lowering *l, double a, double b, double c) {
  ntk_status status = NTK_SUCCESS;
  double *window = NULL;
  int64_t size;
  ntk_dtype dtype;
  NTK_TRY(ntk_lower_require(l, 1));
  NTK_TRY(output_type(l, &dtype));
  NTK_TRY(integer_of(l, 0, "the size", 0, &size));
  NTK_REQUIRE(size > 0 && size <= MOST_ELEMENTS, NTK_ERR_SHAPE, "a window of %lld",
              (long long)size);
  const int64_t period = ntk_lower_int(l, "periodic", 1) ? size : size - 1;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, size, sizeof *window, &window));
  for (int64_t n = 0; n < size; n++) {
    const double angle = period > 0 ? 2 * pi * (double)n / (double)period : pi;
    window[n] = a - b * cos(angle) + c * cos(2 * angle);
  }
  l->outputs[0] = ntk_emit_constant(l, dtype, &(ntk_shape){1, {size}}, window);
done:
  ntk_free(&window);
  return status;
}

static ntk_status lower_hannwindow(ntk_lowering *l) { return lower_window(l, 0.5, 0.5, 0); }
static ntk_status lower_hammingwindow(ntk_lowering *l) {
  return lower_window(l, 25.0 / 46, 21.0 / 46, 0);
}
static ntk_status lower_blackmanwindow(ntk_lowering *l) {
  return lower_window(l, 0.42, 0.5, 0.08);
}

/* ---- MelWeightMatrix ------------------------------------------------------------------
 */

/* Bin of the spectrum at edge i of the bands, which are equally wide in mel. */
static int64_t band_edge(int64_t i, int64_t bands, double low, double high, double length,
                         double rate) {
  const double from = 2595 * log10(1 + low / 700), to = 2595 * log10(1 + high / 700);
  const double mel = from + (double)i * (to - from) / (double)(bands + 2);
  return (int64_t)floor((length + 1) * 700 * (pow(10, mel / 2595) - 1) / rate);
}

/* A triangle from edge to edge, as large as 1 at the middle one. */
static void fill_band(double *matrix, int64_t bands, int64_t band, int64_t bins,
                      const int64_t edge[3]) {
  for (int64_t j = 0; j < bins; j++) {
    double *weight = matrix + j * bands + band;
    if (j == edge[1])
      *weight = 1;
    else if (j >= edge[0] && j < edge[1])
      *weight = (double)(j - edge[0]) / (double)(edge[1] - edge[0]);
    else if (j > edge[1] && j < edge[2])
      *weight = (double)(edge[2] - j) / (double)(edge[2] - edge[1]);
  }
}

static ntk_status lower_melweightmatrix(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  double *matrix = NULL, rate, low, high;
  int64_t bands, length, edge[3];
  ntk_dtype dtype;
  NTK_TRY(ntk_lower_require(l, 5));
  NTK_TRY(output_type(l, &dtype));
  NTK_TRY(integer_of(l, 0, "num_mel_bins", 0, &bands));
  NTK_TRY(integer_of(l, 1, "dft_length", 0, &length));
  NTK_TRY(number_of(l, 2, "sample_rate", 0, &rate));
  NTK_TRY(number_of(l, 3, "lower_edge_hertz", 0, &low));
  NTK_TRY(number_of(l, 4, "upper_edge_hertz", 0, &high));
  const int64_t bins = length / 2 + 1;
  NTK_REQUIRE(bands > 0 && length > 0 && rate > 0 && bands <= MOST_ELEMENTS / bins,
              NTK_ERR_SHAPE, "%lld bands of %lld numbers", (long long)bands,
              (long long)length);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, bins * bands, sizeof *matrix, &matrix));
  for (int64_t i = 0; i < bands; i++) {
    for (int64_t k = 0; k < 3; k++)
      edge[k] = band_edge(i + k, bands, low, high, (double)length, rate);
    fill_band(matrix, bands, i, bins, edge);
  }
  l->outputs[0] = ntk_emit_constant(l, dtype, &(ntk_shape){2, {bins, bands}}, matrix);
done:
  ntk_free(&matrix);
  return status;
}

/* ---- Fourier transforms ---------------------------------------------------------------
 */

typedef struct transform {
  int64_t length;    /* of the transform: what is missing in front of it is zero */
  int64_t in, parts; /* numbers that there are, of 1 or 2 parts */
  int64_t out;       /* those that are made, of 2 parts, or of 1 */
  int made;
  bool inverse;
} transform;

/* [in * parts, out * made]. Where one part is made, numbers that are left out are the
 * conjugates of the others. */
static ntk_status emit_matrix(ntk_lowering *l, ntk_dtype dtype, const transform *f,
                              int *value) {
  ntk_status status = NTK_SUCCESS;
  double *matrix = NULL;
  const ntk_shape shape = {2, {f->in * f->parts, f->out * f->made}};
  NTK_REQUIRE(f->length > 0 && f->in <= MOST_ELEMENTS / f->length / 4, NTK_ERR_UNSUPPORTED,
              "a transform of %lld to %lld numbers", (long long)f->in,
              (long long)f->length);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, ntk_shape_size(&shape), sizeof *matrix, &matrix));
  const double scale = f->inverse ? 1 / (double)f->length : 1;
  for (int64_t e = 0; e < ntk_shape_size(&shape); e++) {
    const int64_t row = e / shape.dim[1], column = e % shape.dim[1];
    const int64_t j = row / f->parts, k = column / f->made;
    const bool twice = f->made == 1 && j > 0 && 2 * j < f->length;
    if (f->made == 1 ? 2 * j > f->length : j >= f->length)
      break;
    const double angle =
        2 * pi * (double)(j * k % f->length) / (double)f->length * (f->inverse ? -1 : 1);
    const int turn = (int)(column % f->made - row % f->parts); /* 0: the same part */
    matrix[e] = (twice ? 2 * scale : scale) * (turn == 0 ? cos(angle) : -turn * sin(angle));
  }
  *value = ntk_emit_constant(l, dtype, &shape, matrix);
done:
  ntk_free(&matrix);
  return status;
}

/* The permutation that exchanges an axis with the last but one. */
static int emit_exchanged(ntk_lowering *l, int x, int ndim, int axis) {
  int64_t perm[NTK_MAX_DIMS];
  if (axis == ndim - 2)
    return x;
  for (int d = 0; d < ndim; d++)
    perm[d] = d == axis ? ndim - 2 : d == ndim - 2 ? axis : d;
  return ntk_emit_ints(l, "Transpose", x, "perm", ndim, perm);
}

/* Along an axis of x [..., parts]; length 0: as long as it is. */
static ntk_status emit_transform(ntk_lowering *l, int x, int64_t axis, int64_t length,
                                 bool inverse, bool half, int *y) {
  ntk_status status = NTK_SUCCESS;
  int64_t sizes[NTK_MAX_DIMS] = {0};
  int matrix;
  NTK_TRY(l->status);
  const ntk_shape s = ntk_lower_value(l, x)->shape;
  const ntk_dtype dtype = ntk_lower_value(l, x)->dtype;
  if (axis < 0)
    axis += s.ndim;
  NTK_REQUIRE(s.ndim >= 2 && axis >= 0 && axis < s.ndim - 1, NTK_ERR_SHAPE,
              "axis %lld of %d axes, the last being that of the parts", (long long)axis,
              s.ndim);
  NTK_REQUIRE(s.dim[s.ndim - 1] == 1 || s.dim[s.ndim - 1] == 2, NTK_ERR_SHAPE,
              "numbers of %lld parts", (long long)s.dim[s.ndim - 1]);
  NTK_REQUIRE(!half || s.dim[s.ndim - 1] == (inverse ? 2 : 1), NTK_ERR_SHAPE,
              "onesided is for real numbers, and inverse for complex ones, not for "
              "numbers of %lld parts",
              (long long)s.dim[s.ndim - 1]);
  transform f = {.length = length > 0 ? length : s.dim[axis],
                 .in = s.dim[axis],
                 .parts = s.dim[s.ndim - 1],
                 .inverse = inverse};
  if (inverse && half && length <= 0)
    f.length = 2 * (s.dim[axis] - 1);
  f.out = half && !inverse ? f.length / 2 + 1 : f.length;
  f.made = half && inverse ? 1 : 2;
  NTK_TRY(emit_matrix(l, dtype, &f, &matrix));
  sizes[s.ndim - 2] = f.in * f.parts; /* the others stay */
  const int rows =
      ntk_emit_reshape(l, emit_exchanged(l, x, s.ndim, (int)axis), s.ndim - 1, sizes);
  const int made = ntk_emit(l, "MatMul", rows, matrix);
  sizes[s.ndim - 2] = f.out;
  sizes[s.ndim - 1] = f.made;
  *y = emit_exchanged(l, ntk_emit_reshape(l, made, s.ndim, sizes), s.ndim, (int)axis);
done:
  return status;
}

static ntk_status lower_dft(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  const bool inverse = ntk_lower_int(l, "inverse", 0) != 0;
  const bool half = ntk_lower_int(l, "onesided", 0) != 0;
  const bool is_input = l->builder->scope->opset >= 20;
  int64_t length, axis = ntk_lower_int(l, "axis", 1);
  NTK_TRY(ntk_lower_require(l, 1));
  NTK_REQUIRE(is_input ? !ntk_proto_attribute(l->node, "axis") : ntk_lower_input(l, 2) < 0,
              NTK_ERR_FORMAT, "the axis is an %s in this opset",
              is_input ? "input" : "attribute");
  NTK_TRY(integer_of(l, 1, "dft_length", 0, &length));
  NTK_REQUIRE(length > 0 || ntk_lower_input(l, 1) < 0, NTK_ERR_SHAPE, "dft_length is %lld",
              (long long)length);
  if (is_input)
    NTK_TRY(integer_of(l, 2, "the axis", -2, &axis));
  NTK_TRY(emit_transform(l, l->inputs[0], axis, length, inverse, half, &l->outputs[0]));
done:
  return status;
}

/* Frames [B, frames, length, parts] of a signal [B, all, parts], `step` apart. */
static ntk_status emit_frames(ntk_lowering *l, int64_t length, int64_t step, int *frames) {
  ntk_status status = NTK_SUCCESS;
  double *places = NULL;
  const ntk_shape s = ntk_lower_value(l, l->inputs[0])->shape;
  NTK_REQUIRE(s.ndim == 3 && step > 0 && length > 0 && length <= s.dim[1], NTK_ERR_SHAPE,
              "frames of %lld, %lld apart, of a signal of %d axes", (long long)length,
              (long long)step, s.ndim);
  const ntk_shape shape = {2, {1 + (s.dim[1] - length) / step, length}};
  NTK_REQUIRE(shape.dim[0] <= MOST_ELEMENTS / length, NTK_ERR_UNSUPPORTED, "%lld frames",
              (long long)shape.dim[0]);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, ntk_shape_size(&shape), sizeof *places, &places));
  for (int64_t e = 0; e < ntk_shape_size(&shape); e++) {
    const int64_t place = e / length * step + e % length;
    places[e] = (double)place;
  }
  const int in[] = {l->inputs[0], ntk_emit_constant(l, NTK_I64, &shape, places)};
  *frames = ntk_emit_n_with(l, "Gather", 2, in, "axis", 1);
done:
  ntk_free(&places);
  return status;
}

static ntk_status lower_stft(ntk_lowering *l) {
  ntk_status status = NTK_SUCCESS;
  int64_t step, length;
  int frames;
  NTK_TRY(ntk_lower_require(l, 2));
  const int window = ntk_lower_input(l, 2);
  const ntk_shape *s = &ntk_lower_value(l, l->inputs[0])->shape;
  const int64_t given = window < 0 ? 0 : ntk_shape_size(&ntk_lower_value(l, window)->shape);
  NTK_TRY(integer_of(l, 1, "frame_step", 0, &step));
  NTK_TRY(integer_of(l, 3, "frame_length",
                     given         ? given
                     : s->ndim > 1 ? s->dim[1]
                                   : 0,
                     &length));
  NTK_REQUIRE(window < 0 || given == length, NTK_ERR_SHAPE, "a window of %lld for %lld",
              (long long)given, (long long)length);
  NTK_TRY(emit_frames(l, length, step, &frames));
  if (window >= 0)
    frames = ntk_emit(l, "Mul", frames,
                      ntk_emit_reshape(l, window, 2, (const int64_t[]){length, 1}));
  NTK_TRY(emit_transform(l, frames, 2, length, false, ntk_lower_int(l, "onesided", 1) != 0,
                         &l->outputs[0]));
done:
  return status;
}

#define ROW(row, onnx, least, most, constants)                                             \
  const ntk_composite ntk_composite_##row = {.name = onnx,                                 \
                                             .first = 17,                                  \
                                             .last = NTK_NEWEST_OPSET,                     \
                                             .min_in = least,                              \
                                             .max_in = most,                               \
                                             .max_out = 1,                                 \
                                             .not_parameter = constants,                   \
                                             .lower = lower_##row};
ROW(hannwindow, "HannWindow", 1, 1, 1)
ROW(hammingwindow, "HammingWindow", 1, 1, 1)
ROW(blackmanwindow, "BlackmanWindow", 1, 1, 1)
ROW(melweightmatrix, "MelWeightMatrix", 5, 5, 31)
ROW(dft, "DFT", 1, 3, 6)
ROW(stft, "STFT", 2, 4, 10)
