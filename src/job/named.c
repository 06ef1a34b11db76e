/* SPDX-License-Identifier: Apache-2.0 */
#include "job/named.h"
#include "base/memory.h"
#include "base/text.h"
#include <ctype.h>
#include <string.h>

enum { MOST_GROUPS = 64, MOST_NAME = 64 }; /* bits of a set of groups */

/* NAME, fit for the path of a data set. */
static ntk_status add_name(const char *text, ntk_named_groups *out) {
  ntk_status status = NTK_SUCCESS;
  const char *equals = strchr(text, '=');
  const int64_t length = equals ? equals - text : 0;
  char *name = NULL;
  bool fits = length > 0 && length <= MOST_NAME && equals[1] && text[0] != '.';
  for (int64_t i = 0; i < length; i++)
    fits = fits && (isalnum((unsigned char)text[i]) || strchr("._-", text[i]));
  NTK_REQUIRE(fits, NTK_ERR_ARGUMENT,
              "--group %s: NAME=GLOB[,GLOB] is needed, NAME of letters, digits, . _ and -",
              text);
  NTK_REQUIRE(out->count < MOST_GROUPS, NTK_ERR_ARGUMENT, "--group: more than %d of them",
              MOST_GROUPS);
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, length + 1, 1, &name));
  memcpy(name, text, (size_t)length);
  for (int g = 0; g < out->count; g++)
    NTK_REQUIRE(strcmp(out->names[g], name) != 0, NTK_ERR_ARGUMENT,
                "--group %s: there are two groups of this name", name);
  out->names[out->count++] = name;
  name = NULL;
done:
  ntk_free(&name);
  return status;
}

/* The parameters that a pattern matches are in the group. */
static ntk_status mark(const ntk_graph *graph, const char *pattern, const char *text,
                       int group, uint64_t *sets) {
  bool found = false;
  for (int i = 0; i < graph->parameter_count; i++) {
    const int v = graph->parameters[i];
    if (!ntk_glob_match(pattern, graph->values[v].name))
      continue;
    sets[v] |= (uint64_t)1 << group;
    found = true;
  }
  if (found)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_ARGUMENT, "--group %s: no parameter has a name like %s", text,
                  pattern);
}

static ntk_status add_group(const ntk_graph *graph, const char *text, uint64_t *sets,
                            ntk_named_groups *out) {
  ntk_status status = NTK_SUCCESS;
  char *patterns = NULL, *at;
  NTK_TRY(add_name(text, out));
  NTK_TRY(ntk_strdup(strchr(text, '=') + 1, &patterns));
  for (at = patterns; at;) {
    char *comma = strchr(at, ',');
    if (comma)
      *comma = '\0';
    NTK_TRY(mark(graph, at, text, out->count - 1, sets));
    at = comma ? comma + 1 : NULL;
  }
done:
  ntk_free(&patterns);
  return status;
}

/* A colour for each set of groups that a parameter is in; *found lists them. */
static ntk_status find_colours(const ntk_graph *graph, const uint64_t *sets,
                               uint64_t **found, ntk_named_groups *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof(int), &out->colour_of));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->parameter_count, sizeof **found, found));
  for (int i = 0; i < graph->parameter_count; i++) {
    const int v = graph->parameters[i];
    int c = 0;
    while (c < out->colours && (*found)[c] != sets[v])
      c++;
    if (c == out->colours)
      (*found)[out->colours++] = sets[v];
    out->colour_of[v] = c;
  }
done:
  return status;
}

static ntk_status set_members(const uint64_t *sets, ntk_named_groups *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, (int64_t)(1 + out->count) * out->colours,
                     sizeof(bool), &out->members));
  for (int c = 0; c < out->colours; c++) {
    out->members[c] = true;
    for (int g = 0; g < out->count; g++)
      out->members[(1 + g) * out->colours + c] = sets[c] >> g & 1;
  }
done:
  return status;
}

ntk_status ntk_named_groups_create(const ntk_options *options, const ntk_graph *graph,
                                   ntk_named_groups *out) {
  ntk_status status = NTK_SUCCESS;
  uint64_t *sets = NULL, *found = NULL; /* of values, of colours */
  ntk_text text = {0};
  const char *given;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof *sets, &sets));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, MOST_GROUPS, sizeof *out->names, &out->names));
  for (int i = 0; (given = ntk_options_repeated(options, "group", i)); i++) {
    NTK_TRY(add_group(graph, given, sets, out));
    NTK_TRY(ntk_text_add(&text, "%s%s", i > 0 ? "; " : "", given));
  }
  NTK_TRY(ntk_strdup(text.length ? text.data : "none", &out->text));
  NTK_TRY(find_colours(graph, sets, &found, out));
  NTK_TRY(set_members(found, out));
done:
  ntk_text_clear(&text);
  ntk_free(&sets);
  ntk_free(&found);
  return status;
}

void ntk_named_groups_clear(ntk_named_groups *groups) {
  for (int g = 0; g < groups->count; g++)
    ntk_free(&groups->names[g]);
  ntk_free(&groups->names);
  ntk_free(&groups->text);
  ntk_free(&groups->colour_of);
  ntk_free(&groups->members);
  *groups = (ntk_named_groups){0};
}
