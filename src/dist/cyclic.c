/* SPDX-License-Identifier: Apache-2.0 */
#include "dist/cyclic.h"
#include "base/memory.h"
#include <inttypes.h>
#include <string.h>

/* ScaLAPACK's descriptor. */
enum { DTYPE, CONTEXT, M, N, MB, NB, RSRC, CSRC, LLD, DESC };
static const char *const names[] = {"DTYPE", "CTXT", "M",    "N",  "MB",
                                    "NB",    "RSRC", "CSRC", "LLD"};

/* What is on its way at once, at least a column. */
enum { ROOM_BYTES = 1 << 23, PANEL = 32 };

/* How an axis of the matrix is dealt, and the indices of one put, sorted by owner. */
typedef struct axis {
  int64_t size, block;
  int count, first;        /* processes, and the one that has block 0 */
  int64_t *order, *places; /* [most] of the put's list; in the owner's part */
  int64_t *start;          /* [count + 2] where an owner's begin in both */
} axis;

/* Indices order[i] of a put, whose elements stand at places[i] of the owner's part. */
typedef struct share {
  int64_t count;
  const int64_t *order, *places;
} share;

/* A process of the grid. */
typedef struct owner {
  int rank, leading;
} owner;

struct ntk_cyclic {
  ntk_context *context; /* borrowed */
  ntk_dtype dtype;
  axis rows, columns;
  owner *owners; /* [grid rows, grid columns] */
  void *local;   /* this rank's part; in the window, too, but for a rank that is alone */
  MPI_Win window;
  bool is_open;
  char *room; /* what is on its way */
  int64_t room_bytes, used;
  int *starts, *lengths; /* [most rows] runs of consecutive places */
  MPI_Aint *at;          /* [most columns] */
};

void Cblacs_gridinfo(int context, int *rows, int *columns, int *row, int *column);

ntk_process ntk_blacs_process(int blacs_context) {
  ntk_process p = {-1, -1, -1, -1};
  if (blacs_context >= 0)
    Cblacs_gridinfo(blacs_context, &p.rows, &p.columns, &p.row, &p.column);
  return p;
}

/* ---- who owns what --------------------------------------------------------------------
 */

static int64_t bytes_of(const ntk_cyclic *m) { return (int64_t)ntk_dtype_bytes(m->dtype); }

static int owner_of(const axis *a, int64_t i) {
  return (int)((i / a->block + a->first) % a->count);
}

static int64_t place_of(const axis *a, int64_t i) {
  return i / a->block / a->count * a->block + i % a->block;
}

/* How many of the axis a process has. */
static int64_t dealt(const axis *a, int process) {
  const int64_t blocks = a->size / a->block, rest = a->size % a->block;
  const int64_t mine = (process - a->first + a->count) % a->count;
  const int64_t all = blocks / a->count + (mine < blocks % a->count);
  return all * a->block + (mine == blocks % a->count ? rest : 0);
}

/* Sorts the indices of a put by owner; each one's stay in their order, and so ascend in its
 * part. */
static void sort(axis *a, int64_t count, const int64_t *indices) {
  int64_t *const next = a->start + 1; /* where an owner's next one goes */
  memset(a->start, 0, (size_t)(a->count + 2) * sizeof *a->start);
  for (int64_t i = 0; i < count; i++)
    next[owner_of(a, indices[i]) + 1]++;
  for (int p = 0; p < a->count; p++)
    next[p + 1] += next[p];
  for (int64_t i = 0; i < count; i++) {
    const int64_t k = next[owner_of(a, indices[i])]++;
    a->order[k] = i;
    a->places[k] = place_of(a, indices[i]);
  }
}

static share share_of(const axis *a, int process) {
  const int64_t start = a->start[process];
  return (share){a->start[process + 1] - start, a->order + start, a->places + start};
}

/* ---- opening --------------------------------------------------------------------------
 */

/* A descriptor by itself, of a rank of the grid. */
static ntk_status check_desc(const ntk_cyclic *m, const int *desc, ntk_process p,
                             int64_t rows, int64_t columns) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(m->dtype == NTK_F32 || m->dtype == NTK_F64, NTK_ERR_ARGUMENT,
              "a matrix of %s: its elements must be f32 or f64", ntk_dtype_name(m->dtype));
  if (p.row < 0)
    goto done;
  NTK_REQUIRE(desc[DTYPE] == 1, NTK_ERR_ARGUMENT,
              "desc: DTYPE is %d; 1, a dense matrix, is needed", desc[DTYPE]);
  NTK_REQUIRE(desc[M] == rows && desc[N] == columns, NTK_ERR_ARGUMENT,
              "desc: the matrix is %d x %d, the kernel %" PRId64 " x %" PRId64, desc[M],
              desc[N], rows, columns);
  NTK_REQUIRE(desc[MB] > 0 && desc[NB] > 0, NTK_ERR_ARGUMENT, "desc: blocks of %d x %d",
              desc[MB], desc[NB]);
  NTK_REQUIRE(desc[RSRC] >= 0 && desc[RSRC] < p.rows && desc[CSRC] >= 0 &&
                  desc[CSRC] < p.columns,
              NTK_ERR_ARGUMENT, "desc: the first process is (%d,%d), the grid has %d x %d",
              desc[RSRC], desc[CSRC], p.rows, p.columns);
done:
  return status;
}

/* What a rank of the grid says must be what the first of them says; `all` has it then. */
static ntk_status check_same(const ntk_context *c, const int *desc, ntk_process p,
                             int all[DESC]) {
  ntk_status status = NTK_SUCCESS;
  int first = p.row < 0 ? c->size : c->rank;
  NTK_TRY_MPI(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, c->comm));
  NTK_REQUIRE(first < c->size, NTK_ERR_ARGUMENT,
              "desc: no rank is in the grid of its BLACS context");
  if (p.row >= 0)
    for (int i = 0; i < DESC; i++)
      all[i] = desc[i];
  if (p.row >= 0) { /* in place of what differs between ranks */
    all[CONTEXT] = p.rows;
    all[LLD] = p.columns;
  }
  int mine[DESC];
  for (int i = 0; i < DESC; i++)
    mine[i] = all[i];
  NTK_TRY_MPI(MPI_Bcast(all, DESC, MPI_INT, first, c->comm));
  for (int i = 0; p.row >= 0 && i < DESC && status == NTK_SUCCESS; i++)
    if (mine[i] != all[i])
      status = ntk_fail(NTK_ERR_ARGUMENT, "desc: %s is %d here, %d on rank %d",
                        i == CONTEXT ? "the rows of the grid"
                        : i == LLD   ? "the columns of the grid"
                                     : names[i],
                        mine[i], all[i], first);
  status = ntk_agree(c->comm, status);
done:
  return status;
}

/* Who stands where in the grid; [size][3] row, column and LLD of each rank. */
static ntk_status fill_owners(ntk_cyclic *m, const int (*ranks)[3]) {
  const int count = m->rows.count * m->columns.count;
  for (int i = 0; i < count; i++)
    m->owners[i].rank = -1;
  for (int r = 0; r < m->context->size; r++) {
    if (ranks[r][0] < 0)
      continue;
    owner *o = &m->owners[ranks[r][0] * m->columns.count + ranks[r][1]];
    if (o->rank >= 0) /* ranks that are in two grids */
      return ntk_fail(NTK_ERR_ARGUMENT, "desc: ranks %d and %d are both process (%d,%d)",
                      o->rank, r, ranks[r][0], ranks[r][1]);
    *o = (owner){r, ranks[r][2]};
  }
  for (int i = 0; i < count; i++)
    if (m->owners[i].rank < 0)
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "desc: process (%d,%d) of the grid is no rank of the context",
                      i / m->columns.count, i % m->columns.count);
  return NTK_SUCCESS;
}

static ntk_status find_owners(ntk_cyclic *m, const int *desc, ntk_process p) {
  ntk_status status = NTK_SUCCESS;
  const ntk_context *c = m->context;
  const int mine[3] = {p.row, p.column, p.row < 0 ? 0 : desc[LLD]};
  int(*ranks)[3] = NULL;
  const int64_t count = (int64_t)m->rows.count * m->columns.count;
  status = ntk_malloc(NTK_MEMORY_GENERAL, c->size, sizeof *ranks, &ranks);
  if (status == NTK_SUCCESS)
    status = ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *m->owners, &m->owners);
  NTK_TRY(ntk_agree(c->comm, status));
  NTK_TRY_MPI(MPI_Allgather(mine, 3, MPI_INT, ranks, 3, MPI_INT, c->comm));
  NTK_TRY(fill_owners(m, (const int(*)[3])ranks));
done:
  ntk_free(&ranks);
  return status;
}

static ntk_status allocate_axis(axis *a, int64_t most) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof *a->order, &a->order));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most, sizeof *a->places, &a->places));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, a->count + 2, sizeof *a->start, &a->start));
done:
  return status;
}

static ntk_status allocate(ntk_cyclic *m, int64_t most_rows, int64_t most_columns) {
  ntk_status status = NTK_SUCCESS;
  const int64_t column = most_rows * bytes_of(m);
  m->room_bytes = column > ROOM_BYTES ? column : ROOM_BYTES;
  NTK_TRY(allocate_axis(&m->rows, most_rows));
  NTK_TRY(allocate_axis(&m->columns, most_columns));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, m->room_bytes, 1, &m->room));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most_rows, sizeof *m->starts, &m->starts));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most_rows, sizeof *m->lengths, &m->lengths));
  NTK_TRY(ntk_malloc(NTK_MEMORY_TILES, most_columns, sizeof *m->at, &m->at));
done:
  return status;
}

/* Bytes of this rank's part, up to its last element. */
static ntk_status part_bytes(const ntk_cyclic *m, const int *desc, ntk_process p,
                             const void *local, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  *bytes = 0;
  if (p.row < 0)
    goto done;
  const int64_t rows = dealt(&m->rows, p.row), columns = dealt(&m->columns, p.column);
  NTK_REQUIRE(desc[LLD] >= (rows > 1 ? rows : 1), NTK_ERR_ARGUMENT,
              "desc: LLD is %d, but process (%d,%d) has %" PRId64 " rows", desc[LLD], p.row,
              p.column, rows);
  if (rows == 0 || columns == 0)
    goto done;
  NTK_REQUIRE(local, NTK_ERR_ARGUMENT, "the matrix is NULL at process (%d,%d)", p.row,
              p.column);
  *bytes = ((columns - 1) * desc[LLD] + rows) * bytes_of(m);
done:
  return status;
}

static ntk_status open_window(ntk_cyclic *m, void *local, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  m->local = local;
  if (m->context->size == 1) /* of which Open MPI makes no window */
    return NTK_SUCCESS;
  NTK_TRY_MPI(MPI_Win_create(bytes > 0 ? local : NULL, (MPI_Aint)bytes, 1, MPI_INFO_NULL,
                             m->context->comm, &m->window));
  NTK_TRY_MPI(MPI_Win_set_errhandler(m->window, MPI_ERRORS_RETURN));
  NTK_TRY_MPI(MPI_Win_lock_all(0, m->window));
  m->is_open = true;
done:
  return status;
}

/* The code of MPI. */
static int release(ntk_cyclic **handle) {
  ntk_cyclic *m = *handle;
  if (!m)
    return MPI_SUCCESS;
  const int unlocked = m->is_open ? MPI_Win_unlock_all(m->window) : MPI_SUCCESS;
  const int freed = m->window != MPI_WIN_NULL ? MPI_Win_free(&m->window) : MPI_SUCCESS;
  axis *const axes[] = {&m->rows, &m->columns};
  for (int i = 0; i < 2; i++) {
    ntk_free(&axes[i]->order);
    ntk_free(&axes[i]->places);
    ntk_free(&axes[i]->start);
  }
  ntk_free(&m->owners);
  ntk_free(&m->room);
  ntk_free(&m->starts);
  ntk_free(&m->lengths);
  ntk_free(&m->at);
  ntk_free(handle);
  return unlocked != MPI_SUCCESS ? unlocked : freed;
}

ntk_status ntk_cyclic_create(ntk_context *context, const int desc[9], ntk_process process,
                             ntk_dtype dtype, void *local, int64_t rows, int64_t columns,
                             int64_t most_rows, int64_t most_columns, ntk_cyclic **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_cyclic *m = NULL;
  int all[DESC] = {0};
  int64_t bytes = 0;
  NTK_TRY(ntk_agree(context->comm, ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *m, &m)));
  m->context = context;
  m->dtype = dtype;
  m->window = MPI_WIN_NULL;
  NTK_TRY(ntk_agree(context->comm, check_desc(m, desc, process, rows, columns)));
  NTK_TRY(check_same(context, desc, process, all));
  m->rows = (axis){rows, all[MB], all[CONTEXT], all[RSRC], NULL, NULL, NULL};
  m->columns = (axis){columns, all[NB], all[LLD], all[CSRC], NULL, NULL, NULL};
  NTK_TRY(find_owners(m, desc, process));
  status = part_bytes(m, desc, process, local, &bytes);
  if (status == NTK_SUCCESS)
    status = allocate(m, most_rows, most_columns);
  NTK_TRY(ntk_agree(context->comm, status));
  NTK_TRY(ntk_agree(context->comm, open_window(m, local, bytes)));
  *out = m;
  m = NULL;
done:
  (void)release(&m);
  return status;
}

ntk_status ntk_cyclic_close(ntk_cyclic **handle) {
  const int code = release(handle);
  return code == MPI_SUCCESS ? NTK_SUCCESS : ntk_fail_mpi(code, "MPI_Win_free");
}

/* ---- putting --------------------------------------------------------------------------
 */

/* Where elements are written: packed, rows by columns of a share; or at their places in the
 * owner's part. */
typedef struct target {
  ntk_dtype dtype;
  void *out;
  int64_t leading; /* from a column to the next */
  bool is_part;
} target;

static void store(const target *t, int64_t at, double value) {
  if (t->dtype == NTK_F64)
    ((double *)t->out)[at] = value;
  else
    ((float *)t->out)[at] = (float)value;
}

/* Columns c0 .. c0 + count of a share; a few rows at a time, whose lines stay in the cache.
 * stride: of the values, from row to row. */
static void write(const target *t, share rows, share columns, int64_t c0, int64_t count,
                  int64_t stride, ntk_dtype from, const void *values) {
  for (int64_t r0 = 0; r0 < rows.count; r0 += PANEL) {
    const int64_t end = r0 + PANEL < rows.count ? r0 + PANEL : rows.count;
    for (int64_t c = 0; c < count; c++) {
      const int64_t at = (t->is_part ? columns.places[c0 + c] : c) * t->leading;
      for (int64_t r = r0; r < end; r++) {
        const int64_t i = rows.order[r] * stride + columns.order[c0 + c];
        store(t, at + (t->is_part ? rows.places[r] : r),
              from == NTK_F64 ? ((const double *)values)[i]
                              : (double)((const float *)values)[i]);
      }
    }
  }
}

/* Room for the next message; those before have left it where there is no more. */
static ntk_status make_room(ntk_cyclic *m, int64_t bytes) {
  ntk_status status = NTK_SUCCESS;
  if (m->used + bytes <= m->room_bytes)
    goto done;
  NTK_TRY_MPI(MPI_Win_flush_local_all(m->window));
  m->used = 0;
done:
  return status;
}

/* Rows of one column: runs of places. */
static int find_runs(ntk_cyclic *m, share rows) {
  int runs = 0;
  for (int64_t r = 0; r < rows.count; r++) {
    if (r > 0 && rows.places[r] == rows.places[r - 1] + 1) {
      m->lengths[runs - 1]++;
      continue;
    }
    m->starts[runs] = (int)rows.places[r];
    m->lengths[runs++] = 1;
  }
  return runs;
}

/* Where the rows of `count` columns stand in the owner's part. */
static ntk_status make_type(ntk_cyclic *m, int runs, share columns, int64_t c0, int count,
                            int leading, MPI_Datatype *out) {
  ntk_status status = NTK_SUCCESS;
  const MPI_Datatype element = m->dtype == NTK_F64 ? MPI_DOUBLE : MPI_FLOAT;
  MPI_Datatype column = MPI_DATATYPE_NULL;
  for (int c = 0; c < count; c++)
    m->at[c] = (MPI_Aint)(columns.places[c0 + c] * leading * bytes_of(m));
  NTK_TRY_MPI(MPI_Type_indexed(runs, m->lengths, m->starts, element, &column));
  NTK_TRY_MPI(MPI_Type_create_hindexed_block(count, 1, m->at, column, out));
  NTK_TRY_MPI(MPI_Type_commit(out));
done:
  if (column != MPI_DATATYPE_NULL)
    (void)MPI_Type_free(&column);
  return status;
}

/* Columns c0 .. c0 + count of an owner's share, in one message. */
static ntk_status send(ntk_cyclic *m, const owner *to, share rows, share columns,
                       int64_t c0, int count, const void *packed) {
  ntk_status status = NTK_SUCCESS;
  const MPI_Datatype element = m->dtype == NTK_F64 ? MPI_DOUBLE : MPI_FLOAT;
  MPI_Datatype places = MPI_DATATYPE_NULL;
  const int runs = find_runs(m, rows);
  NTK_TRY(make_type(m, runs, columns, c0, count, to->leading, &places));
  NTK_TRY_MPI(MPI_Put(packed, (int)(rows.count * count), element, to->rank, 0, 1, places,
                      m->window));
done:
  if (places != MPI_DATATYPE_NULL)
    (void)MPI_Type_free(&places);
  return status;
}

static ntk_status put_share(ntk_cyclic *m, const owner *to, share rows, share columns,
                            int64_t stride, ntk_dtype from, const void *values) {
  ntk_status status = NTK_SUCCESS;
  const int64_t column = rows.count * bytes_of(m);
  if (to->rank == m->context->rank) {
    const target part = {m->dtype, m->local, to->leading, true};
    write(&part, rows, columns, 0, columns.count, stride, from, values);
    goto done;
  }
  for (int64_t c = 0; column > 0 && c < columns.count;) {
    int64_t count = m->room_bytes / column;
    if (count > columns.count - c)
      count = columns.count - c;
    NTK_TRY(make_room(m, count * column));
    const target packed = {m->dtype, m->room + m->used, rows.count, false};
    write(&packed, rows, columns, c, count, stride, from, values);
    NTK_TRY(send(m, to, rows, columns, c, (int)count, packed.out));
    m->used += (count * column + 63) / 64 * 64;
    c += count;
  }
done:
  return status;
}

ntk_status ntk_cyclic_put(ntk_cyclic *m, int64_t row_count, const int64_t *rows,
                          int64_t column_count, const int64_t *columns, ntk_dtype from,
                          const void *values) {
  ntk_status status = NTK_SUCCESS;
  sort(&m->rows, row_count, rows);
  sort(&m->columns, column_count, columns);
  for (int i = 0; i < m->rows.count; i++)
    for (int j = 0; j < m->columns.count; j++)
      NTK_TRY(put_share(m, &m->owners[i * m->columns.count + j], share_of(&m->rows, i),
                        share_of(&m->columns, j), column_count, from, values));
done:
  return status;
}
