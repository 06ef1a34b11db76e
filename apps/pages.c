/* SPDX-License-Identifier: Apache-2.0 */
/* The manual page (groff's man macros) and the completion of bash: what the tables of the
 * commands say. */
#include "apps.h"
#include <stdio.h>
#include <string.h>

typedef void (*option_fn)(const ntk_option *option);

static void each_of_table(const ntk_option *table, option_fn fn) {
  for (; table && table->name; table++)
    fn(table);
}

/* Of a command, in the order of its --help. */
static void each_option(const command *c, option_fn fn) {
  each_of_table(c->own, fn);
  for (int i = 0; c->objects[i]; i++)
    each_of_table(ntk_option_table(c->objects[i]), fn);
}

static bool takes_family(const command *c) { return strcmp(c->name, "model") == 0; }

/* ---- manual ---------------------------------------------------------------------------
 */

/* Text of a line that another word begins: no macro can be in it. */
static void put_text(const char *text) {
  for (; *text; text++)
    switch (*text) {
    case '-':
      (void)fputs("\\-", stdout);
      break;
    case '\\':
      (void)fputs("\\e", stdout);
      break;
    case '\'':
      (void)fputs("\\(aq", stdout);
      break;
    case '~':
      (void)fputs("\\(ti", stdout);
      break;
    case '^':
      (void)fputs("\\(ha", stdout);
      break;
    case '.':
      (void)fputs("\\&.", stdout);
      break;
    default:
      (void)putchar(*text);
    }
}

static void put_manual_option(const ntk_option *o) {
  (void)fputs(".TP\n\\fB\\-\\-", stdout);
  put_text(o->name);
  (void)fputs("\\fR \\fI", stdout);
  put_text(ntk_option_value(o));
  (void)fputs("\\fR\n", stdout);
  put_text(o->help);
  if (o->default_text) {
    (void)fputs(" (default ", stdout);
    put_text(o->default_text);
    (void)putchar(')');
  }
  (void)fputs(o->repeats ? " (may be repeated)\n" : "\n", stdout);
}

static void put_families(void) {
  ntk_family_info family;
  (void)puts(".PP\nFamilies:");
  for (int i = 0; ntk_model_family(i, &family); i++) {
    (void)printf(".TP\n\\fB");
    put_text(family.name);
    (void)printf("\\fR\n");
    put_text(family.help);
    (void)putchar('\n');
  }
}

static void put_manual_command(const command *c) {
  (void)printf(".SS ");
  put_text(c->name);
  (void)printf("\n.B ");
  put_text(c->synopsis);
  (void)printf("\n.PP\n");
  put_text(c->purpose);
  (void)putchar('\n');
  if (takes_family(c))
    put_families();
  each_option(c, put_manual_option);
}

void print_manual(const command *const commands[]) {
  (void)printf(".TH SCANTK 1 \"\" \"scantk ");
  put_text(ntk_version());
  (void)printf(
      "\"\n.SH NAME\nscantk \\- neural tangent kernels of any network on many ranks\n"
      ".SH SYNOPSIS\n.B scantk\n.I COMMAND\n[options]\n.PP\n.B mpirun \\-n\n.I RANKS\n"
      ".B scantk\n.I COMMAND\n[options]\n.SH COMMANDS\n");
  for (int i = 0; commands[i]; i++)
    put_manual_command(commands[i]);
  (void)printf(".SH EXIT STATUS\n"
               "0: done. 1: failure (files, memory, what is not supported). 2: usage "
               "(options, data\n"
               "that do not fit the model). 3: numbers that are not finite, or a numerical "
               "failure.\n"
               "75 (\\-\\-stop\\-code): stopped on request; the same command with "
               "\\-\\-resume goes on.\n"
               ".SH ENVIRONMENT\n"
               ".TP\nSCANTK_CACHE\nwhere the rates of the machine are kept (default\n"
               "$XDG_CACHE_HOME/scantk or ~/.cache/scantk)\n"
               ".TP\nOMP_NUM_THREADS\nthreads of a rank\n");
}

/* ---- completion -----------------------------------------------------------------------
 */

static void put_name(const ntk_option *o) { (void)printf(" --%s", o->name); }

/* What follows an option: one of its choices; or, by bash's default, a file. */
static void put_value_case(const ntk_option *o) {
  if (o->type == NTK_OPTION_FLAG)
    return;
  (void)printf("        --%s) words='", o->name);
  for (const char *c = o->type == NTK_OPTION_CHOICE ? o->choices : ""; *c; c++)
    (void)putchar(*c == '|' ? ' ' : *c);
  (void)printf("' ;;\n");
}

/* The options of all commands of a name. */
static void each_option_of(const command *const commands[], const char *name,
                           void (*put)(const ntk_option *)) {
  for (int i = 0; commands[i]; i++)
    if (strcmp(commands[i]->name, name) == 0)
      each_option(commands[i], put);
}

static void put_case(const command *const commands[], const command *c) {
  ntk_family_info family;
  (void)printf("    %s)\n      case $before in\n", c->name);
  each_option_of(commands, c->name, put_value_case);
  (void)printf("        *) words='--help");
  for (int i = 0; takes_family(c) && ntk_model_family(i, &family); i++)
    (void)printf(" %s", family.name);
  each_option_of(commands, c->name, put_name);
  (void)printf("' ;;\n      esac ;;\n");
}

void print_completion(const command *const commands[]) {
  (void)printf("# bash completion for scantk\n_scantk() {\n"
               "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
               "  local words='--help --version --build-info --manual --completion");
  for (int i = 0; commands[i]; i++)
    if (!commands[i]->when)
      (void)printf(" %s", commands[i]->name);
  (void)printf("'\n  [ \"$word\" != = ] || word=\n" /* --name=value is three words */
               "  [ \"$before\" != = ] || before=${COMP_WORDS[COMP_CWORD-2]}\n"
               "  [ \"$COMP_CWORD\" = 1 ] || case ${COMP_WORDS[1]} in\n");
  for (int i = 0; commands[i]; i++)
    if (!commands[i]->when)
      put_case(commands, commands[i]);
  (void)printf("    *) words='' ;;\n  esac\n"
               "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
               "complete -o default -F _scantk scantk\n");
}
