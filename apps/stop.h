/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_STOP_H
#define SCANTK_STOP_H

#include "apps.h"

/* How commands are stopped (interface section 3): signals, --max-time or the end of the
 * SLURM job, a file OUTPUT.stop. */

/* Options of a command that stops. */
#define STOP_OPTIONS                                                                       \
  {"max-time", NTK_OPTION_STRING,                                                          \
   NULL,       0,                                                                          \
   0,          "HH:MM:SS",                                                                 \
   false,      "stop after this time (default a little before the end of the SLURM job)"}, \
  {                                                                                        \
    "stop-code", NTK_OPTION_INT, "75", 1, 255, NULL, false,                                \
        "exit code of a run that was stopped and can be resumed"                           \
  }

/* Purpose: from here on signals and the end of the time stop what runs in `context`, and so
 * does the file OUTPUT.stop; the options are those of a command that stops, with --max-time
 * and --stop-code. context NULL: many will run, one after the other and side by side; they
 * all look for the file, which the end removes.
 * Collective over MPI_COMM_WORLD. False, with *problem set, where --max-time is no time. */
bool stop_begin(ntk_context *context, const ntk_options *options, const char *output,
                bool quiet, const char **problem);
/* From here on what runs in another context is stopped, at once where a stop was asked for
 * already; NULL: nothing runs. Has a stop been asked for? */
void stop_aim(ntk_context *context);
bool stop_asked(void);
/* Looks for OUTPUT.stop, at most once a second, and obeys it. On rank 0 of a context. */
void stop_look(void);
/* From here on signals are what they were. Where many have run, all of them have ended. */
void stop_end(void);

/* The command line to go on with, for a shell; NULL: no memory. To be freed. */
char *stop_command(int argc, char *const argv[]);

#endif
