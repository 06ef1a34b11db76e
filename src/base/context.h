/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_BASE_CONTEXT_H
#define NTK_BASE_CONTEXT_H

#include "base/meanwhile.h"
#include <scantk/context.h>
#include <stdbool.h>
#include <stdint.h>

/* Phases of a run, for the table at its end. */
#define NTK_PHASE_LIST(X)                                                                  \
  X(NTK_PHASE_READ, "read data")                                                           \
  X(NTK_PHASE_PLAN, "plan")                                                                \
  X(NTK_PHASE_SWEEP, "sweeps")                                                             \
  X(NTK_PHASE_EXCHANGE, "exchange")                                                        \
  X(NTK_PHASE_CONTRACT, "contraction")                                                     \
  X(NTK_PHASE_WRITE, "write")                                                              \
  X(NTK_PHASE_WAIT, "wait for others")
typedef enum ntk_phase {
#define NTK_PHASE_ENUM(name, text) name,
  NTK_PHASE_LIST(NTK_PHASE_ENUM)
#undef NTK_PHASE_ENUM
      NTK_PHASES
} ntk_phase;

/* How much a rank may still do. */
typedef enum ntk_stop { NTK_STOP_NOT, NTK_STOP_FINISH, NTK_STOP_DROP } ntk_stop;

struct ntk_context {
  MPI_Comm comm; /* duplicate of the caller's, errors returned */
  int rank, size;
  int ranks_on_node;
  int sharers;            /* of the memory of the node: those, or more of other contexts */
  int64_t resident_bytes; /* of this process at the start: libraries alone, one hopes */
  ntk_report_fn report;
  void *report_user;
  double phase_seconds[NTK_PHASES];
  ntk_between between; /* of the run under way */
  volatile int stop;   /* an ntk_stop, reset by the run that obeys */
  const char *volatile stop_reason;
  char stopped_for[32]; /* reason of the last run that was stopped, the same on all ranks */
};

/* Hands a message to the callback on rank 0. Local. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void ntk_say(const ntk_context *context, ntk_report_kind kind, const char *format, ...);
void ntk_say_progress(const ntk_context *context, double fraction, double seconds_left);

/* Purpose: a wish to stop is obeyed: the next run is not meant. Collective; afterwards
 * stopped_for tells the reason that the lowest rank with one has. */
NTK_CHECKED ntk_status ntk_stop_obeyed(ntk_context *context);

/* Monotonic seconds. */
double ntk_seconds(void);
/* Adds the time since `start` to a phase and returns now, so that phases chain. Local. */
double ntk_phase_add(ntk_context *context, ntk_phase phase, double start);
/* Zeroes the phases. Local. */
void ntk_phase_reset(ntk_context *context);
/* min, mean and max over ranks of each phase, on all ranks. Collective. */
typedef struct ntk_phase_row {
  double min, mean, max;
} ntk_phase_row;
NTK_CHECKED ntk_status ntk_phase_reduce(ntk_context *context,
                                        ntk_phase_row rows[NTK_PHASES]);
const char *ntk_phase_name(ntk_phase phase);

#endif
