/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_IO_STORE_PARTS_H
#define NTK_IO_STORE_PARTS_H

#include "io/h5.h"
#include "io/kernel_file.h"
#include "io/store.h"

enum { NTK_STORE_NAME = 256 }; /* longest name of a data set, with its end */

/* How the tiles lie in /kernel, or in /half/tiles, where each of a symmetric kernel stands
 * once: the axes of each reduction, there behind the tile's number. Private to src/io. */
enum { NTK_STORE_AXES = 5 };
typedef struct ntk_store_layout {
  bool half;
  int ndim;
  const char *axis[NTK_STORE_AXES]; /* sample1, output1, sample2, output2, or tile */
  int64_t dim[NTK_STORE_AXES];
  int64_t chunk[NTK_STORE_AXES]; /* of a tile */
  int64_t tiles[NTK_STORE_AXES]; /* along each axis */
  int marks;             /* axes of /tiles/done and /tiles/checksum, the first of `tiles` */
  int64_t block, part;   /* samples and outputs of a tile; part 1: of no outputs */
  int64_t blocks, parts; /* sample blocks of the rows, parts of the outputs of each */
  int64_t samples, outputs; /* of the rows */
} ntk_store_layout;

struct ntk_store {
  ntk_context *context; /* borrowed */
  char *path, *fresh, *part;
  ntk_store_layout layout;           /* ndim 0: outputs only */
  const char *set, *outputs_sets[2]; /* names: of the tiles; of outputs, NULL: none */
  ntk_dtype dtype;
  MPI_Info hints;  /* for MPI-IO */
  int64_t outputs; /* columns of /outputs1, /outputs2 */
  hid_t file, kernel /* or the tiles of half of it */, done, checksum, outputs_of[2];
  int64_t written; /* tiles that were not done, or rows of outputs, by this rank */
  uint8_t *marks;  /* [tiles] done before this run, NULL: none */
  char *prefix;    /* "", of a group "/groups/NAME": where its data sets stand */
  int group_count;
  ntk_store **groups; /* [group_count] the same of theirs; they own no files and names */
};

/* One that is read. */
struct ntk_kernel_file {
  char *path;                  /* OUTPUT, or OUTPUT.part */
  char prefix[NTK_STORE_NAME]; /* of the kernel's data sets: "", or "/groups/NAME" */
  char reduction[16];          /* as the file says it */
  hid_t file, kernel;          /* or the tiles of half of it */
  ntk_store_layout layout;
  ntk_kernel_facts facts;
};

/* The k-th of a store and its groups; NULL: there are no more. */
static inline ntk_store *ntk_store_part(ntk_store *store, int k) {
  return k == 0 ? store : k <= store->group_count ? store->groups[k - 1] : NULL;
}
/* "PREFIX/kernel" and the like, in a buffer of that size. */
const char *ntk_store_name(char buffer[NTK_STORE_NAME], const char *prefix,
                           const char *name);
/* "", of a group (1 ..) "/groups/NAME". */
void ntk_store_prefix(char buffer[NTK_STORE_NAME], const ntk_store_spec *spec, int part);

int64_t ntk_store_tiles(const ntk_store_layout *layout);
int64_t ntk_store_tile_elements(const ntk_store_layout *layout); /* of a whole one */
/* The number of a tile in the order of /tiles. */
int64_t ntk_store_number(const ntk_store_layout *layout, const ntk_tile *tile);

/* "3,9": its place among the tiles, along the axes that are cut. */
enum { NTK_STORE_PLACE = 96 };
const char *ntk_store_place(const ntk_store_layout *layout, const ntk_tile *tile,
                            char text[NTK_STORE_PLACE]);

/* Purpose: is the tile of a number what its checksum says? Its elements are left in
 * `values`, which has room for a whole tile. Local. */
typedef struct ntk_store_source {
  const char *path;
  const ntk_store_layout *layout;
  ntk_dtype dtype;
  hid_t kernel, checksum;
} ntk_store_source;
NTK_CHECKED ntk_status ntk_store_check_tile(const ntk_store_source *source, int64_t number,
                                            void *values, bool *good);

/* A data set of the kernel that a file was opened for: "/tiles/done" and the like. */
NTK_CHECKED ntk_status ntk_kernel_open_set(const ntk_kernel_file *file, const char *name,
                                           hid_t *out);

/* A store for OUTPUT with nothing opened, and its end. Local. */
NTK_CHECKED ntk_status ntk_store_new(ntk_context *context, const ntk_store_spec *spec,
                                     ntk_store **out);
void ntk_store_forget(ntk_store **store);
/* All data sets of the file at `path`, opened by all ranks. Collective, but for the
 * outcome: that must be agreed on. */
NTK_CHECKED ntk_status ntk_store_open(ntk_store *store, const char *path, bool write);
NTK_CHECKED ntk_status ntk_store_rename(const char *from, const char *to);
NTK_CHECKED ntk_status ntk_store_check_space(const char *path, int64_t bytes);
/* Closes what was opened; a store without open data sets stays. */
NTK_CHECKED ntk_status ntk_store_shut(ntk_store *store);

ntk_store_layout ntk_store_layout_of(const ntk_store_spec *spec);
/* Name of the data set that holds the tiles. */
const char *ntk_store_set(const ntk_store_layout *layout);
/* Has it a place for this tile? Half a kernel has none for the transposes of its tiles. */
bool ntk_store_holds(const ntk_store_layout *layout, const ntk_tile *tile);
/* The box that a tile fills in that data set. Its mark and checksum stand at first[i] /
 * chunk[i] of the first `marks` axes. */
void ntk_store_box(const ntk_store_layout *layout, const ntk_tile *tile,
                   int64_t first[NTK_STORE_AXES], int64_t count[NTK_STORE_AXES]);
/* The tile of a number in the order of /tiles, and its box. */
ntk_tile ntk_store_tile_at(const ntk_store_layout *layout, int64_t number);
void ntk_store_box_at(const ntk_store_layout *layout, int64_t number,
                      int64_t first[NTK_STORE_AXES], int64_t count[NTK_STORE_AXES]);

/* Everything that is in a kernel file before its first tile, into a new file, closed again.
 * Called by rank 0 alone. */
NTK_CHECKED ntk_status ntk_store_lay_out(const char *path, const ntk_store_spec *spec);
/* Part of laying out: an axis behind those that are there, in pieces of `chunk`; /tiles
 * with the marks and checksums of a kernel, their scales by the spec (NULL: none). */
void ntk_store_add_axis(ntk_store_layout *layout, const char *name, int64_t dim,
                        int64_t chunk);
NTK_CHECKED ntk_status ntk_store_make_marks(const char *path, hid_t file,
                                            const char *prefix, const ntk_store_spec *spec,
                                            const ntk_store_layout *layout);

/* A file that is no kernel: rank 0 lays it out, then all ranks open its data sets, each to
 * write its tiles and rows. Collective. */
typedef struct ntk_plain_file {
  const char *path;              /* OUTPUT */
  int64_t outputs;               /* columns of what ntk_store_write_outputs writes */
  const char *outputs_sets[2];   /* names of data sets of rows; NULL: none */
  const ntk_store_layout *tiles; /* of `set`, with /tiles beside it; NULL: none */
  const char *set;
  ntk_dtype dtype; /* of the tiles */
  ntk_status (*lay_out)(const char *path, const void *spec);
  const void *spec;
} ntk_plain_file;
NTK_CHECKED ntk_status ntk_store_create_plain(ntk_context *context,
                                              const ntk_plain_file *file, ntk_store **out);
/* Writes a box of a data set of rows. Local. */
NTK_CHECKED ntk_status ntk_store_write_rows(ntk_store *store, int set, int ndim,
                                            const int64_t *first, const int64_t *count,
                                            const double *values);

/* What of a file is not tiles and is looked at when a run goes on in it. */
typedef struct ntk_store_rest {
  int64_t bytes;           /* of the whole file */
  const char *labels[2];   /* data sets that are written anew; NULL: none */
  const ntk_data *data[2]; /* whose they are */
} ntk_store_rest;
/* ntk_store_resume for any file of tiles. */
NTK_CHECKED ntk_status ntk_store_resume_plain(ntk_context *context,
                                              const ntk_plain_file *file,
                                              const ntk_store_rest *rest,
                                              ntk_store_state *state, ntk_store **out);
/* A store for such a file with nothing opened. Local. */
NTK_CHECKED ntk_status ntk_store_new_plain(ntk_context *context, const ntk_plain_file *file,
                                           ntk_store **out);

/* Shape of the data set of labels, and its elements, written in pieces. */
ntk_shape ntk_store_labels_shape(const ntk_data *data);
NTK_CHECKED ntk_status ntk_store_fill_labels(const char *path, hid_t labels,
                                             const ntk_data *data);
/* The data set of labels, where the data have such: made and filled in pieces. *out: owned
 * by the caller, as it was where there are none. */
NTK_CHECKED ntk_status ntk_store_put_labels(const char *path, hid_t file, const char *name,
                                            const ntk_data *data, hid_t *out);

#endif
