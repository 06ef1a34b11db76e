/* SPDX-License-Identifier: Apache-2.0 */
/* --log-json: lines of JSON, those of the library (header, phases) and those that only the
 * program knows (progress, warnings, the end). Appended, so that a run which is continued
 * by the same command goes on in the same file. On rank 0 alone. */
#include "apps.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static FILE *file;
static const char *name;
static time_t last; /* progress */

bool log_open(const char *path) {
  name = path;
  file = fopen(path, "a");
  return file != NULL;
}

static void write_text(const char *text) {
  (void)fputc('"', file);
  for (const unsigned char *c = (const unsigned char *)text; *c; c++)
    if (*c == '"' || *c == '\\')
      (void)fprintf(file, "\\%c", *c);
    else if (*c < 0x20)
      (void)fprintf(file, "\\u%04x", *c);
    else
      (void)fputc(*c, file);
  (void)fputc('"', file);
}

static void begin(const char *event) {
  char date[32];
  const time_t now = time(NULL);
  struct tm utc;
  (void)gmtime_r(&now, &utc);
  (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
  (void)fprintf(file, "{\"event\": \"%s\", \"time\": \"%s\"", event, date);
}

static void end(void) {
  (void)fputs("}\n", file);
  (void)fflush(file); /* whoever reads along, and whatever happens next */
}

/* At most one in five seconds. */
static void progress(const ntk_report *report) {
  const time_t now = time(NULL);
  if (now - last < 5)
    return;
  last = now;
  begin("progress");
  (void)fprintf(file, ", \"fraction\": %.6f, \"seconds_left\": %.1f", report->fraction,
                report->seconds_left);
  end();
}

void log_report(const ntk_report *report) {
  if (!file)
    return;
  if (report->kind == NTK_REPORT_RECORD) {
    (void)fprintf(file, "%s\n", report->text);
    (void)fflush(file);
  } else if (report->kind == NTK_REPORT_PROGRESS)
    progress(report);
  else if (report->kind == NTK_REPORT_WARNING) {
    begin("warning");
    (void)fputs(", \"text\": ", file);
    write_text(report->text);
    end();
  }
}

void log_end(int code, const char *text) {
  if (!file)
    return;
  begin("end");
  (void)fprintf(file, ", \"code\": %d, \"text\": ", code);
  write_text(text);
  end();
  const bool good = !ferror(file);
  if (fclose(file) != 0 || !good)
    (void)fprintf(stderr, "scantk: warning: %s: not all was written: %s\n", name,
                  strerror(errno));
  file = NULL;
}
