/* SPDX-License-Identifier: Apache-2.0 */
/* MPICH waits by polling UCX and keeps the core, so that of more ranks than cores those
 * that have work wait for time slices: a hundred times as long. Loaded in front of UCX
 * (LD_PRELOAD), this sleeps for a moment where nothing has come. */
#include <dlfcn.h>
#include <time.h>

unsigned ucp_worker_progress(void *worker);
unsigned ucp_worker_progress(void *worker) {
  enum { PATIENCE = 50 }; /* polls in vain before the first sleep */
  static const struct timespec moment = {.tv_nsec = 20000};
  static unsigned (*progress)(void *);
  static int idle;
  if (!progress)
    progress = (unsigned (*)(void *))dlsym(RTLD_NEXT, "ucp_worker_progress");
  const unsigned events = progress(worker);
  idle = events == 0 ? idle + 1 : 0;
  if (idle > PATIENCE)
    (void)nanosleep(&moment, NULL);
  return events;
}
