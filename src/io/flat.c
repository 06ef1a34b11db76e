/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are a header and then rows of bytes: IDX, npy, CIFAR. zlib reads them all, as
 * it passes through what is not compressed. */
#include "base/memory.h"
#include "io/npy.h"
#include "io/source.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

typedef struct flat {
  ntk_data_source source; /* first: a flat is a source */
  gzFile file;
  char *path;
  int64_t offset;    /* of the first row */
  int64_t row_bytes; /* of a row, labels included */
  int label_bytes;   /* in front of each row; the last of them is the class */
  bool swap;         /* bytes of elements in the other order */
} flat;

/* Bytes at `offset`, fewer only at the end of the file. */
static ntk_status read_at(flat *f, int64_t offset, void *out, int64_t bytes, int64_t *got) {
  *got = 0;
  if (gztell(f->file) != offset && gzseek(f->file, (z_off_t)offset, SEEK_SET) < 0)
    return ntk_fail(NTK_ERR_FILE, "%s: cannot be read at byte %" PRId64, f->path, offset);
  while (*got < bytes) {
    const int64_t rest = bytes - *got, most = (int64_t)1 << 30;
    const int n =
        gzread(f->file, (char *)out + *got, (unsigned)(rest < most ? rest : most));
    if (n < 0)
      return ntk_fail(NTK_ERR_FORMAT, "%s: damaged: %s", f->path,
                      gzerror(f->file, &(int){0}));
    if (n == 0)
      break;
    *got += n;
  }
  return NTK_SUCCESS;
}

static ntk_status read_exactly(flat *f, int64_t offset, void *out, int64_t bytes) {
  int64_t got;
  const ntk_status status = read_at(f, offset, out, bytes, &got);
  if (status == NTK_SUCCESS && got < bytes)
    return ntk_fail(NTK_ERR_FORMAT, "%s: truncated: %" PRId64 " bytes are needed%s",
                    f->path, offset + bytes, gzdirect(f->file) ? "" : " when unpacked");
  return status;
}

/* ---- headers --------------------------------------------------------------------------
 */

static bool is_little_endian(void) {
  const uint16_t one = 1;
  return *(const unsigned char *)&one == 1;
}

static bool is_idx(const unsigned char *h, int64_t bytes) {
  return bytes >= 8 && h[0] == 0 && h[1] == 0 && h[2] >= 0x08 && h[2] <= 0x0e &&
         h[2] != 0x0a && h[3] >= 1;
}

static ntk_status take_dims(flat *f, int ndim, const int64_t *dim) {
  if (ndim < 1 || ndim > NTK_MAX_DIMS)
    return ntk_fail(NTK_ERR_FORMAT, "%s: %s axes; 1 to %d are read", f->path,
                    ndim < 1 ? "no" : "too many", NTK_MAX_DIMS);
  f->source.samples = dim[0];
  f->source.shape.ndim = ndim - 1;
  for (int i = 1; i < ndim; i++)
    f->source.shape.dim[i - 1] = dim[i];
  return NTK_SUCCESS;
}

/* http://yann.lecun.com/exdb/mnist: 0 0 type ndim, dims and elements big-endian. */
static ntk_status open_idx(flat *f, const unsigned char *h, int64_t bytes) {
  static const ntk_dtype types[] = {NTK_U8,  NTK_I8,  NTK_U8, NTK_I16,
                                    NTK_I32, NTK_F32, NTK_F64};
  int64_t dim[UINT8_MAX];
  const int ndim = h[3];
  if (bytes < 4 + 4 * ndim)
    return ntk_fail(NTK_ERR_FORMAT, "%s: truncated in the IDX header", f->path);
  for (int i = 0; i < ndim; i++) {
    const unsigned char *d = h + 4 + (size_t)4 * i;
    dim[i] = (int64_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
  }
  f->source.format = "IDX";
  f->source.dtype = types[h[2] - 0x08];
  f->offset = 4 + 4 * ndim;
  f->swap = is_little_endian();
  return take_dims(f, ndim, dim);
}

static ntk_status open_npy(flat *f, const unsigned char *h, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  ntk_npy npy;
  NTK_TRY(ntk_npy_read(f->path, h, bytes, &npy));
  NTK_REQUIRE(!npy.is_half, NTK_ERR_UNSUPPORTED,
              "%s: the elements are neither real (f4, f8) nor integer", f->path);
  NTK_REQUIRE(!npy.is_fortran, NTK_ERR_UNSUPPORTED,
              "%s: the array is in Fortran order; save numpy.ascontiguousarray of it",
              f->path);
  f->source.format = "npy";
  f->source.dtype = npy.dtype;
  f->swap = npy.swap;
  f->offset = npy.start;
  NTK_TRY(take_dims(f, npy.shape.ndim, npy.shape.dim));
done:
  return status;
}

/* www.cs.toronto.edu/~kriz/cifar.html: rows of labels and 3 x 32 x 32 bytes. */
static int cifar_label_bytes(const char *path) {
  struct stat s;
  const size_t length = strlen(path);
  if (length < 4 || strcmp(path + length - 4, ".bin") != 0 || stat(path, &s) != 0 ||
      s.st_size == 0)
    return 0;
  return s.st_size % 3073 == 0 ? 1 : s.st_size % 3074 == 0 ? 2 : 0;
}

static void open_cifar(flat *f, int label_bytes) {
  struct stat s = {0};
  (void)stat(f->path, &s);
  f->source.format = label_bytes == 1 ? "CIFAR-10" : "CIFAR-100";
  f->source.dtype = NTK_U8;
  f->source.shape = (ntk_shape){3, {3, 32, 32}};
  f->source.samples = s.st_size / (3072 + label_bytes);
  f->label_bytes = label_bytes;
}

/* ---- reading --------------------------------------------------------------------------
 */

static ntk_status flat_read(ntk_data_source *source, int64_t first, int64_t count,
                            ntk_dtype dtype, void *out) {
  ntk_status status = NTK_SUCCESS;
  flat *f = (flat *)source;
  const int64_t size = ntk_shape_size(&source->shape);
  const size_t bytes = ntk_dtype_bytes(source->dtype);
  unsigned char *row = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_DATA, f->row_bytes, 1, &row));
  for (int64_t i = 0; i < count; i++) {
    NTK_TRY(read_exactly(f, f->offset + (first + i) * f->row_bytes, row, f->row_bytes));
    unsigned char *values = row + f->label_bytes;
    if (f->swap)
      ntk_swap_elements(values, size, bytes);
    ntk_convert(source->dtype, values, dtype,
                (char *)out + i * size * (int64_t)ntk_dtype_bytes(dtype), size);
  }
done:
  ntk_free(&row);
  return status;
}

static ntk_status flat_labels(ntk_data_source *source, int64_t first, int64_t count,
                              void *out) {
  ntk_status status = NTK_SUCCESS;
  flat *f = (flat *)source;
  int64_t *labels = out;
  unsigned char byte;
  for (int64_t i = 0; i < count; i++) {
    NTK_TRY(read_exactly(f, (first + i) * f->row_bytes + f->label_bytes - 1, &byte, 1));
    labels[i] = byte;
  }
done:
  return status;
}

static void flat_close(ntk_data_source *source) {
  flat *f = (flat *)source;
  if (f->file)
    (void)gzclose(f->file);
  ntk_free(&f->path);
  ntk_free(&f);
}

/* The last byte must be there; of what is compressed only reading can tell. */
static ntk_status check_size(flat *f) {
  ntk_status status = NTK_SUCCESS;
  const ntk_data_source *s = &f->source;
  const int64_t element = (int64_t)ntk_dtype_bytes(s->dtype);
  unsigned char byte;
  int64_t end;
  NTK_REQUIRE(!__builtin_mul_overflow(ntk_shape_size(&s->shape), element, &f->row_bytes) &&
                  !__builtin_add_overflow(f->row_bytes, f->label_bytes, &f->row_bytes) &&
                  !__builtin_mul_overflow(f->row_bytes, s->samples, &end) &&
                  !__builtin_add_overflow(end, f->offset, &end),
              NTK_ERR_FORMAT, "%s: damaged: its header speaks of more than 2^63 bytes",
              f->path);
  if (end > f->offset && gzdirect(f->file))
    NTK_TRY(read_exactly(f, end - 1, &byte, 1));
done:
  return status;
}

static ntk_status open_header(flat *f, const unsigned char *header, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  const int label_bytes = cifar_label_bytes(f->path);
  if (ntk_npy_is(header, bytes))
    NTK_TRY(open_npy(f, header, bytes));
  else if (label_bytes > 0) /* before IDX: a dark image may begin like one */
    open_cifar(f, label_bytes);
  else if (is_idx(header, bytes))
    NTK_TRY(open_idx(f, header, bytes));
  else
    status = ntk_fail(NTK_ERR_FORMAT,
                      "%s: not HDF5, npy, IDX or CIFAR binary (NAME.bin of whole rows of "
                      "3073 or 3074 bytes)",
                      f->path);
done:
  return status;
}

ntk_status ntk_flat_open(const char *path, ntk_data_source **out) {
  ntk_status status = NTK_SUCCESS;
  flat *f = NULL;
  unsigned char *header = NULL;
  int64_t bytes;
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, 1, sizeof *f, &f));
  NTK_TRY(ntk_strdup(path, &f->path));
  NTK_TRY(ntk_calloc(NTK_MEMORY_DATA, NTK_NPY_HEADER, 1, &header));
  f->file = gzopen(path, "rb");
  NTK_REQUIRE(f->file, NTK_ERR_FILE, "%s: cannot be opened: %s", path, strerror(errno));
  NTK_TRY(read_at(f, 0, header, NTK_NPY_HEADER, &bytes));
  NTK_TRY(open_header(f, header, bytes));
  NTK_TRY(check_size(f));
  f->source.read = flat_read;
  f->source.read_labels = flat_labels;
  f->source.labels = f->label_bytes > 0 ? NTK_LABELS_CLASSES : NTK_LABELS_NONE;
  f->source.close = flat_close;
  *out = &f->source;
  f = NULL;
done:
  ntk_free(&header);
  if (f)
    flat_close(&f->source);
  return status;
}

bool ntk_flat_is(const char *path) {
  unsigned char header[16];
  gzFile file = gzopen(path, "rb");
  if (!file)
    return false;
  const int bytes = gzread(file, header, sizeof header);
  (void)gzclose(file);
  return is_idx(header, bytes) || ntk_npy_is(header, bytes) || cifar_label_bytes(path) > 0;
}
