/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <math.h>
#include <scantk/limit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double ntk_limit_parse(const char *text) {
  long days = 0, part[3] = {0};
  char rest = '\0';
  const char *clock = strchr(text, '-');
  if (clock && sscanf(text, "%ld-", &days) != 1)
    return -1;
  clock = clock ? clock + 1 : text;
  if (!isdigit((unsigned char)*clock))
    return -1;
  const int fields = sscanf(clock, "%ld:%ld:%ld%c", &part[0], &part[1], &part[2], &rest);
  if (fields < 2 || fields > 3 || days < 0 || part[0] < 0 || part[1] < 0 || part[2] < 0)
    return -1;
  const long seconds =
      fields == 3 ? part[0] * 3600 + part[1] * 60 + part[2] : part[0] * 60 + part[1];
  return (double)seconds + 86400.0 * (double)days;
}

/* What squeue says of a job; -1 where it says nothing, or that there is no limit. */
static double ask_squeue(const char *job) {
  char command[128], answer[64] = "";
  for (const char *c = job; *c; c++)
    if (!isalnum((unsigned char)*c) && *c != '_')
      return -1;
  (void)snprintf(command, sizeof command, "squeue -h -j %.64s -o %%L 2>/dev/null", job);
  FILE *pipe =
      popen(command, "r"); /* the job's number alone is in it. NOLINT(cert-env33-c) */
  if (!pipe)
    return -1;
  if (!fgets(answer, sizeof answer, pipe))
    answer[0] = '\0';
  (void)pclose(pipe);
  answer[strcspn(answer, "\n ")] = '\0';
  return ntk_limit_parse(answer);
}

double ntk_limit_seconds_left(void) {
  const char *end = getenv("SLURM_JOB_END_TIME"), *job = getenv("SLURM_JOB_ID");
  const double at = end ? strtod(end, NULL) : 0;
  if (at > 0)
    return fmax(0, at - (double)time(NULL));
  const double left = job && *job ? ask_squeue(job) : -1;
  return left >= 0 ? left : INFINITY;
}
