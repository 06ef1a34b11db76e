/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/harness_checks.h"

/* Einsum against its definition, a loop over all indices of all labels. */

extern const ntk_op ntk_op_einsum;
#define EINSUM &ntk_op_einsum, "equation="

static const op_case cases[] = {
    {EINSUM "ij,jk->ik", {S(3, 4), S(4, 5)}, 2},
    {EINSUM "ij,jk", {S(3, 4), S(4, 5)}, 2},
    {EINSUM "ij,jk->ki", {S(3, 4), S(4, 5)}, 2},
    {EINSUM "ji,kj->ik", {S(4, 3), S(5, 4)}, 2},
    {EINSUM "bhqd,bhkd->bhqk", {S(1, 2, 3, 4), S(1, 2, 5, 4)}, 2},
    {EINSUM "bqhd,bkhd->bhqk", {S(1, 3, 2, 4), S(1, 5, 2, 4)}, 2},
    {EINSUM "bhqk,bkhd->bqhd", {S(2, 2, 3, 5), S(2, 5, 2, 4)}, 2},
    {EINSUM "bqhd,hdm->bqm", {S(1, 5, 2, 3), S(2, 3, 4)}, 2},
    {EINSUM "btm,mhd->bthd", {S(1, 5, 4), S(4, 2, 3)}, 2},
    {EINSUM "bqhd,dhm->bqm", {S(1, 5, 2, 3), S(3, 2, 4)}, 2},
    {EINSUM "bnd,ndk->bnk", {S(2, 3, 4), S(3, 4, 5)}, 2},
    {EINSUM "bchw,cd->bdhw", {S(1, 4, 3, 2), S(4, 5)}, 2},
    {EINSUM "nctv,kvw->nkctw", {S(1, 2, 3, 4), S(3, 4, 5)}, 2},
    {EINSUM "...ij,...jk->...ik", {S(2, 1, 3, 4), S(3, 4, 5)}, 2},
    {EINSUM "...i,ij", {S(2, 3, 4), S(4, 5)}, 2},
    {EINSUM "i...,...j->j...i", {S(3, 2, 4), S(2, 4, 5)}, 2},
    {EINSUM "...,...->...", {S(2, 1, 3), S(4, 1)}, 2},
    {EINSUM "i,i->", {S(6), S(6)}, 2},
    {EINSUM "i,j->ji", {S(6), S(5)}, 2},
    {EINSUM "i,j->", {S(6), S(5)}, 2},
    {EINSUM "ij,ij->ij", {S(3, 4), S(3, 4)}, 2},
    {EINSUM "ij,ij->i", {S(3, 4), S(3, 4)}, 2},
    {EINSUM "ij,kl->il", {S(3, 4), S(2, 5)}, 2},
    {EINSUM "ii", {S(4, 4)}, 1},
    {EINSUM "ii->i", {S(4, 4)}, 1},
    {EINSUM "bii->bi", {S(2, 4, 4)}, 1},
    {EINSUM "iij,jk->ik", {S(3, 3, 4), S(4, 2)}, 2},
    {EINSUM "ijk->ki", {S(3, 4, 2)}, 1},
    {EINSUM "cAb", {S(3, 4, 2)}, 1},
    {EINSUM "ij->", {S(3, 4)}, 1},
    {EINSUM "...->...", {S(3, 4)}, 1},
    {EINSUM "bi,ijk,bk->bj", {S(2, 3), S(3, 4, 5), S(2, 5)}, 3},
    {EINSUM "bi,oij,bj->bo", {S(1, 4), S(3, 4, 5), S(1, 5)}, 3},
    {EINSUM "i,i,i->i", {S(4), S(4), S(4)}, 3},
    {EINSUM "ij,jk,kl->il", {S(2, 3), S(3, 4), S(4, 2)}, 3},
    {EINSUM "ij,jk->ik", {S(1, 4), S(4, 1)}, 2},
    {EINSUM "ij,jk->ik", {S(40, 70), S(70, 33)}, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- the definition ---- */

enum { RESULT = OPERANDS, WORD = 64 };

/* A term as one character for each axis: those of the ellipsis are digits from the right.
 */
static void spell(const char *term, size_t length, int ndim, char out[WORD]) {
  int letters = 0, at = 0;
  for (size_t i = 0; i < length; i++)
    letters += term[i] != '.';
  for (size_t i = 0; i < length; i++) {
    if (term[i] != '.') {
      out[at++] = term[i];
      continue;
    }
    for (int hidden = ndim - letters; hidden > 0; hidden--)
      out[at++] = (char)('0' + hidden - 1);
    i += 2;
  }
  out[at] = 0;
}

/* The result where the equation names none. */
static void spell_result(char words[][WORD], int operands, int ellipsis, char out[WORD]) {
  int at = 0;
  while (ellipsis > 0)
    out[at++] = (char)('0' + --ellipsis);
  for (int c = 'A'; c <= 'z'; c++) {
    int found = 0;
    for (int i = 0; i < operands; i++)
      for (const char *p = words[i]; *p; p++)
        found += *p == c;
    if (found == 1)
      out[at++] = (char)c;
  }
  out[at] = 0;
}

typedef struct spelled {
  char words[OPERANDS + 1][WORD], labels[WORD];
  int64_t extent[128];
} spelled;

static spelled spell_all(const op_test *h) {
  spelled s = {.labels = ""};
  const char *p = ntk_node_string(h->node, "equation", "");
  int ellipsis = 0;
  for (int i = 0; i < h->operands; i++) {
    const ntk_shape *x = &h->graph->values[h->node->inputs[i]].shape;
    const size_t length = strcspn(p, ",-");
    spell(p, length, x->ndim, s.words[i]);
    for (int d = 0; d < x->ndim; d++) {
      const char c = s.words[i][d];
      if (!strchr(s.labels, c))
        strncat(s.labels, &c, 1);
      s.extent[(int)c] = x->dim[d] > s.extent[(int)c] ? x->dim[d] : s.extent[(int)c];
      if (c >= '0' && c <= '9')
        ellipsis = c - '0' + 1 > ellipsis ? c - '0' + 1 : ellipsis;
    }
    p += length + (p[length] == ',');
  }
  const ntk_shape *y = &h->graph->values[h->node->outputs[0]].shape;
  if (*p == '-')
    spell(p + 2, strlen(p + 2), y->ndim, s.words[RESULT]);
  else
    spell_result(s.words, h->operands, ellipsis, s.words[RESULT]);
  assert_int_equal(strlen(s.words[RESULT]), y->ndim);
  for (int d = 0; d < y->ndim; d++)
    assert_int_equal(y->dim[d], s.extent[(int)s.words[RESULT][d]]);
  return s;
}

/* Element at the indices of the labels. */
static int64_t place(const op_test *h, int value, const char *word, const int64_t *index) {
  const ntk_shape *x = &h->graph->values[value].shape;
  int64_t at = 0;
  for (int d = 0; d < x->ndim; d++)
    at = at * x->dim[d] + (x->dim[d] == 1 ? 0 : index[(int)word[d]]);
  return at;
}

static void evaluate(const op_test *h, const ntk_array in[OPERANDS], int64_t n, double *y) {
  const spelled s = spell_all(h);
  int64_t total = 1;
  for (const char *p = s.labels; *p; p++)
    total *= s.extent[(int)*p];
  memset(y, 0, (size_t)h->y_size * sizeof *y);
  for (int64_t i = 0; i < total; i++) {
    int64_t index[128] = {0}, rest = i;
    double term = 1;
    for (const char *p = s.labels; *p; p++) {
      index[(int)*p] = rest % s.extent[(int)*p];
      rest /= s.extent[(int)*p];
    }
    for (int k = 0; k < h->operands; k++)
      term *= at(in[k], n, 0)[place(h, h->node->inputs[k], s.words[k], index)];
    y[place(h, h->node->outputs[0], s.words[RESULT], index)] += term;
  }
}

static void einsum_is_the_definition(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++)
    for (unsigned shared = 0; shared < 4; shared++) {
      op_test h = op_make(&cases[i]);
      ntk_array in[OPERANDS], y = block_make(N, 0, h.y_size, shared, 1).a;
      double *expected = malloc((size_t)h.y_size * sizeof *expected);
      assert_non_null(expected);
      operands_make(&h, N, shared, shared, in);
      op_forward(&h, N, in, y);
      for (int64_t n = 0; n < N; n++) {
        evaluate(&h, in, n, expected);
        for (int64_t e = 0; e < h.y_size; e++)
          near(at(y, n, 0)[e], expected[e], 1e-13);
      }
      free(expected);
      free(y.data);
      arrays_free(h.operands, in);
      op_free(&h);
    }
}

/* ---- what holds for all operators ---- */

static void einsum_tangents_are_differences(void **state) {
  (void)state;
  each_case(CASES, cases, check_tangents);
}

static void einsum_cotangents_are_adjoint(void **state) {
  (void)state;
  each_case(CASES, cases, check_cotangents);
}

static void einsum_types_agree(void **state) {
  (void)state;
  each_case(CASES, cases, check_types);
}

static void einsum_uses_give_the_jacobian(void **state) {
  (void)state;
  assert_int_equal(count_uses(CASES, cases), 39);
}

static void einsum_refuses_what_has_no_meaning(void **state) {
  (void)state;
  static const op_case refused[] = {{EINSUM "ij,jk->ik", {S(3, 4), S(5, 2)}, 2},
                                    {EINSUM "ij,jk->ik", {S(3, 4)}, 1},
                                    {EINSUM "ij->ik", {S(3, 4)}, 1},
                                    {EINSUM "ij->ii", {S(3, 4)}, 1},
                                    {EINSUM "ij->", {S(3)}, 1},
                                    {EINSUM "i->", {S(3, 4)}, 1},
                                    {EINSUM "i.j->i", {S(3, 4)}, 1},
                                    {EINSUM "i-j", {S(3)}, 1},
                                    {EINSUM "i,i,i,i->i", {S(3), S(3), S(3), S(3)}, 4}};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    op_test h = op_open(&refused[i]);
    assert_int_not_equal(h.node->op->infer(h.graph, h.node), NTK_SUCCESS);
    assert_true(strlen(ntk_fail_message()) > 0);
    op_free(&h);
  }
}

static void einsum_knows_where_samples_mix(void **state) {
  (void)state;
  static const batch_rule rows[] = {
      {{EINSUM "bi,ij->bj", {S(1, 3), S(3, 4)}, 2}, {0, -1}, 0, true},
      {{EINSUM "ib,ij->jb", {S(3, 1), S(3, 4)}, 2}, {1, -1}, 1, true},
      {{EINSUM "bi,bi->b", {S(1, 3), S(1, 3)}, 2}, {0, 0}, 0, true},
      {{EINSUM "bi,ci->bc", {S(1, 3), S(1, 3)}, 2}, {0, 0}, 0, false},
      {{EINSUM "bb->b", {S(1, 1)}, 1}, {0}, 0, false},
      {{EINSUM "...i,ij->...j", {S(1, 2, 3), S(3, 4)}, 2}, {0, -1}, 0, true},
  };
  check_batch_rules(sizeof rows / sizeof *rows, rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(einsum_is_the_definition),
      cmocka_unit_test(einsum_tangents_are_differences),
      cmocka_unit_test(einsum_cotangents_are_adjoint),
      cmocka_unit_test(einsum_types_agree),
      cmocka_unit_test(einsum_uses_give_the_jacobian),
      cmocka_unit_test(einsum_refuses_what_has_no_meaning),
      cmocka_unit_test(einsum_knows_where_samples_mix),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
