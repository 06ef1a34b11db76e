/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct given {
  const ntk_option *option;
  char *value; /* NULL for flags */
} given;

struct ntk_options {
  const ntk_option **tables; /* NULL-terminated */
  int given_count;
  given *given;
  int word_count;
  char **words; /* positional */
  char *text;   /* of the last ntk_options_text */
};

/* ---- checking values ------------------------------------------------------------------
 */

/* strtoll and strtod skip blanks; an option does not. */
static bool starts_number(const char *text) {
  return *text && !isspace((unsigned char)*text);
}

static bool parse_int(const char *text, int64_t *value) {
  char *end;
  errno = 0;
  const long long v = strtoll(text, &end, 10);
  *value = v;
  return starts_number(text) && errno == 0 && end != text && *end == '\0';
}

static bool parse_real(const char *text, double *value) {
  char *end;
  *value = strtod(text, &end);
  return starts_number(text) && end != text && *end == '\0' && isfinite(*value);
}

static bool parse_bytes(const char *text, int64_t *value) {
  char *end;
  double v = strtod(text, &end);
  if (!starts_number(text) || end == text || !isfinite(v) || v < 0)
    return false;
  static const char units[] = "KMGTP";
  const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
  if (unit) {
    v *= pow(1024, (double)(unit - units + 1));
    end++;
    if (*end == 'i')
      end++;
    if (*end == 'B')
      end++;
  }
  if (*end != '\0' || v >= 9e18)
    return false;
  *value = (int64_t)v;
  return true;
}

static bool parse_range(const char *text, int64_t *first, int64_t *last) {
  char left[32];
  int64_t a, b;
  const size_t length = strcspn(text, ":");
  if (length >= sizeof left || text[length] != ':')
    return false;
  memcpy(left, text, length);
  left[length] = '\0';
  if (!parse_int(left, &a) || !parse_int(text + length + 1, &b) || a < 0 || a >= b)
    return false;
  *first = a;
  *last = b;
  return true;
}

static bool is_choice(const char *choices, const char *word) {
  const size_t length = strlen(word);
  for (const char *c = choices; c; c = strchr(c, '|')) {
    if (*c == '|')
      c++;
    if (length == strcspn(c, "|") && strncmp(c, word, length) == 0)
      return length > 0;
  }
  return false;
}

static bool within(const ntk_option *option, double value) {
  return option->min == option->max || (value >= option->min && value <= option->max);
}

static ntk_status check_value(const ntk_option *option, const char *text) {
  int64_t a, b;
  double r;
  switch (option->type) {
  case NTK_OPTION_INT:
    if (!parse_int(text, &a))
      return ntk_fail(NTK_ERR_ARGUMENT, "--%s: '%s' is not an integer", option->name, text);
    r = (double)a;
    break;
  case NTK_OPTION_REAL:
    if (!parse_real(text, &r))
      return ntk_fail(NTK_ERR_ARGUMENT, "--%s: '%s' is not a number", option->name, text);
    break;
  case NTK_OPTION_CHOICE:
    if (!is_choice(option->choices, text))
      return ntk_fail(NTK_ERR_ARGUMENT, "--%s: '%s' is not one of %s", option->name, text,
                      option->choices);
    return NTK_SUCCESS;
  case NTK_OPTION_BYTES:
    if (!parse_bytes(text, &a))
      return ntk_fail(NTK_ERR_ARGUMENT, "--%s: '%s' is not a size such as 512M or 4G",
                      option->name, text);
    return NTK_SUCCESS;
  case NTK_OPTION_RANGE:
    if (!parse_range(text, &a, &b))
      return ntk_fail(NTK_ERR_ARGUMENT, "--%s: '%s' is not a range a:b with 0 <= a < b",
                      option->name, text);
    return NTK_SUCCESS;
  default:
    return NTK_SUCCESS;
  }
  if (!within(option, r))
    return ntk_fail(NTK_ERR_ARGUMENT, "--%s: %s is outside %g .. %g", option->name, text,
                    option->min, option->max);
  return NTK_SUCCESS;
}

/* ---- finding rows ---------------------------------------------------------------------
 */

static const ntk_option *find_option(const ntk_option *const *tables, const char *name,
                                     size_t length) {
  for (; *tables; tables++)
    for (const ntk_option *o = *tables; o->name; o++)
      if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
        return o;
  return NULL;
}

/* Levenshtein distance of short words. */
static int distance(const char *a, const char *b) {
  int row[64];
  const int n = (int)strlen(b);
  if (n >= 64)
    return 64;
  for (int j = 0; j <= n; j++)
    row[j] = j;
  for (int i = 1; a[i - 1]; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      const int above = row[j];
      int best = diagonal + (a[i - 1] != b[j - 1]);
      if (above + 1 < best)
        best = above + 1;
      if (row[j - 1] + 1 < best)
        best = row[j - 1] + 1;
      row[j] = best;
      diagonal = above;
    }
  }
  return row[n];
}

static ntk_status unknown_option(const ntk_option *const *tables, const char *name) {
  const char *near = NULL;
  int least = 3;
  for (; *tables; tables++)
    for (const ntk_option *o = *tables; o->name; o++)
      if (distance(name, o->name) < least) {
        least = distance(name, o->name);
        near = o->name;
      }
  if (near)
    return ntk_fail(NTK_ERR_ARGUMENT, "unknown option --%s; did you mean --%s?", name,
                    near);
  return ntk_fail(NTK_ERR_ARGUMENT, "unknown option --%s; --help lists the options", name);
}

/* ---- parsing --------------------------------------------------------------------------
 */

static ntk_status add_given(ntk_options *options, const ntk_option *option,
                            const char *value) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(option->repeats || !ntk_options_given(options, option->name),
              NTK_ERR_ARGUMENT, "--%s is given twice", option->name);
  if (value)
    NTK_TRY(check_value(option, value));
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, options->given_count + 1, sizeof(given),
                      &options->given));
  given *entry = &options->given[options->given_count];
  *entry = (given){.option = option};
  options->given_count++;
  if (value)
    NTK_TRY(ntk_strdup(value, &entry->value));
done:
  return status;
}

static ntk_status add_word(ntk_options *options, const char *word, int most) {
  ntk_status status = NTK_SUCCESS;
  NTK_REQUIRE(options->word_count < most, NTK_ERR_ARGUMENT, "unexpected argument '%s'",
              word);
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, options->word_count + 1, sizeof(char *),
                      &options->words));
  NTK_TRY(ntk_strdup(word, &options->words[options->word_count]));
  options->word_count++;
done:
  return status;
}

/* One option at argv[*i]; *i moves to its last word. */
static ntk_status parse_option(ntk_options *options, int argc, const char *const argv[],
                               int *i) {
  ntk_status status = NTK_SUCCESS;
  char name[64];
  const char *word = strcmp(argv[*i], "-o") == 0 ? "--output" : argv[*i];
  NTK_REQUIRE(word[1] == '-', NTK_ERR_ARGUMENT, "unknown option %s; options start with --",
              word);
  const size_t length = strcspn(word + 2, "=");
  const char *value = word[2 + length] == '=' ? word + 3 + length : NULL;
  (void)snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), word + 2);
  const ntk_option *option = find_option(options->tables, word + 2, length);
  if (!option) {
    status = unknown_option(options->tables, name);
    goto done;
  }
  if (option->type == NTK_OPTION_FLAG) {
    NTK_REQUIRE(!value, NTK_ERR_ARGUMENT, "--%s takes no value", option->name);
  } else if (!value) {
    NTK_REQUIRE(*i + 1 < argc, NTK_ERR_ARGUMENT, "--%s: a value is missing", option->name);
    value = argv[++*i];
    NTK_REQUIRE(value[0] != '-' || (value[1] != '-' && !isalpha((unsigned char)value[1])),
                NTK_ERR_ARGUMENT, "--%s: a value is missing before %s", option->name,
                value);
  }
  NTK_TRY(add_given(options, option, value));
done:
  return status;
}

static ntk_status copy_tables(const ntk_option *const tables[], ntk_options *options) {
  ntk_status status = NTK_SUCCESS;
  int count = 0;
  while (tables[count])
    count++;
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, count + 1, sizeof *options->tables, &options->tables));
  for (int i = 0; i < count; i++)
    options->tables[i] = tables[i];
done:
  return status;
}

ntk_status ntk_options_parse(const ntk_option *const tables[], int argc,
                             const char *const argv[], int max_positional,
                             ntk_options **out) {
  ntk_status status = NTK_SUCCESS;
  ntk_options *options = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *options, &options));
  NTK_TRY(copy_tables(tables, options));
  for (int i = 0; i < argc; i++) {
    if (argv[i][0] == '-' && argv[i][1] != '\0')
      NTK_TRY(parse_option(options, argc, argv, &i));
    else
      NTK_TRY(add_word(options, argv[i], max_positional));
  }
  *out = options;
  options = NULL;
done:
  ntk_options_destroy(&options);
  return status;
}

/* Splits text at blanks in place; what is quoted keeps its blanks, and two quotes in it
 * stand for one. */
static ntk_status split_words(char *text, const char **words, int *count) {
  char *to = text;
  bool quoted = false;
  *count = 0;
  for (const char *c = text; *c;) {
    if (isspace((unsigned char)*c)) {
      c++;
      continue;
    }
    words[(*count)++] = to;
    for (; *c && (quoted || !isspace((unsigned char)*c)); c++) {
      if (*c != '\'')
        *to++ = *c;
      else if (quoted && c[1] == '\'')
        *to++ = *c++;
      else
        quoted = !quoted;
    }
    if (*c)
      c++; /* the NUL may take its place */
    *to++ = '\0';
  }
  if (quoted)
    return ntk_fail(NTK_ERR_ARGUMENT, "options: a quote (') is not closed");
  return NTK_SUCCESS;
}

ntk_status ntk_options_parse_texts(const ntk_option *const tables[], const char *text,
                                   ntk_options **out) {
  ntk_status status = NTK_SUCCESS;
  char *copy = NULL;
  const char **words = NULL;
  int count;
  NTK_TRY(ntk_strdup(text ? text : "", &copy));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)strlen(copy) + 1, sizeof *words, &words));
  NTK_TRY(split_words(copy, words, &count));
  NTK_TRY(ntk_options_parse(tables, count, words, 0, out));
done:
  ntk_free(&words);
  ntk_free(&copy);
  return status;
}

ntk_status ntk_options_parse_text(const ntk_option *table, const char *text,
                                  ntk_options **out) {
  const ntk_option *const tables[] = {table, NULL};
  return ntk_options_parse_texts(tables, text, out);
}

void ntk_options_destroy(ntk_options **handle) {
  ntk_options *options = *handle;
  if (!options)
    return;
  for (int i = 0; i < options->given_count; i++)
    ntk_free(&options->given[i].value);
  for (int i = 0; i < options->word_count; i++)
    ntk_free(&options->words[i]);
  ntk_free(&options->given);
  ntk_free(&options->words);
  ntk_free(&options->tables);
  ntk_free(&options->text);
  ntk_free(handle);
}

/* ---- values ---------------------------------------------------------------------------
 */

const char *ntk_options_repeated(const ntk_options *options, const char *name, int i) {
  for (int k = 0; k < options->given_count; k++)
    if (strcmp(options->given[k].option->name, name) == 0 && i-- == 0)
      return options->given[k].value ? options->given[k].value : "";
  return NULL;
}

bool ntk_options_given(const ntk_options *options, const char *name) {
  return ntk_options_repeated(options, name, 0) != NULL;
}

bool ntk_options_flag(const ntk_options *options, const char *name) {
  return ntk_options_given(options, name);
}

const char *ntk_options_string(const ntk_options *options, const char *name) {
  const char *value = ntk_options_repeated(options, name, 0);
  if (value)
    return value;
  const ntk_option *option = find_option(options->tables, name, strlen(name));
  assert(option && "an option that stands in no table");
  return option->default_text;
}

int64_t ntk_options_int(const ntk_options *options, const char *name) {
  int64_t value = 0;
  const char *text = ntk_options_string(options, name);
  if (text)
    (void)parse_int(text, &value);
  return value;
}

double ntk_options_real(const ntk_options *options, const char *name) {
  double value = 0;
  const char *text = ntk_options_string(options, name);
  if (text)
    (void)parse_real(text, &value);
  return value;
}

int64_t ntk_options_bytes(const ntk_options *options, const char *name) {
  int64_t value = 0;
  const char *text = ntk_options_string(options, name);
  if (text)
    (void)parse_bytes(text, &value);
  return value;
}

bool ntk_options_range(const ntk_options *options, const char *name, int64_t *first,
                       int64_t *last) {
  const char *text = ntk_options_string(options, name);
  return text && parse_range(text, first, last);
}

const char *ntk_options_positional(const ntk_options *options, int i) {
  return i < options->word_count ? options->words[i] : NULL;
}

static bool stands_in(const ntk_option *table, const ntk_option *option) {
  for (; table && table->name; table++)
    if (table == option)
      return true;
  return false;
}

/* --name or --name='value', as split_words reads it. */
static ntk_status add_option_text(ntk_text *text, const given *g) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text, "%s--%s", text->length > 0 ? " " : "", g->option->name));
  if (!g->value)
    goto done;
  NTK_TRY(ntk_text_add(text, "="));
  NTK_TRY(ntk_text_add_quoted(text, g->value, (int64_t)strlen(g->value)));
done:
  return status;
}

const char *ntk_options_text(ntk_options *options, const ntk_option *table) {
  ntk_text text = {0};
  ntk_status status = ntk_text_add(&text, "%s", "");
  for (int i = 0; i < options->given_count && status == NTK_SUCCESS; i++) {
    const given *g = &options->given[i];
    if (stands_in(table, g->option))
      status = add_option_text(&text, g);
  }
  ntk_free(&options->text);
  if (status != NTK_SUCCESS)
    ntk_text_clear(&text);
  options->text = text.data;
  return options->text;
}

/* ---- help -----------------------------------------------------------------------------
 */

const char *ntk_option_value(const ntk_option *o) {
  if (o->choices)
    return o->choices;
  switch (o->type) {
  case NTK_OPTION_INT:
    return "N";
  case NTK_OPTION_REAL:
    return "X";
  case NTK_OPTION_BYTES:
    return "SIZE";
  case NTK_OPTION_RANGE:
    return "a:b";
  case NTK_OPTION_FLAG:
    return "";
  default:
    return "TEXT";
  }
}

int ntk_options_help(const ntk_option *table, char *buffer, int size) {
  int length = 0;
  if (size > 0)
    buffer[0] = '\0';
  for (const ntk_option *o = table; o && o->name; o++) {
    char left[128];
    (void)snprintf(left, sizeof left, "--%s %s", o->name, ntk_option_value(o));
    length += snprintf(buffer + (length < size ? length : size),
                       (size_t)(length < size ? size - length : 0), "  %-46s %s%s%s%s%s\n",
                       left, o->help, o->default_text ? " (default " : "",
                       o->default_text ? o->default_text : "", o->default_text ? ")" : "",
                       o->repeats ? " (may be repeated)" : "");
  }
  return length;
}
