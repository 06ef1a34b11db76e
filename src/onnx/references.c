/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "onnx/build.h"
#include <string.h>

/* Attributes in the body of a function that refer to those of its call. */

enum { DEFAULTS_FIELD = 11 }; /* FunctionProto.attribute_proto */

static bool is_reference(const Onnx__AttributeProto *attribute) {
  return attribute->ref_attr_name && *attribute->ref_attr_name;
}

static bool is_named(const Onnx__AttributeProto *attribute, const char *name) {
  return attribute->name && strcmp(attribute->name, name) == 0;
}

/* A default among the fields that the ONNX this was built with knows. */
static const Onnx__AttributeProto *known_default(const Onnx__FunctionProto *f,
                                                 const char *name) {
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(f->base.descriptor, DEFAULTS_FIELD);
  size_t count;
  Onnx__AttributeProto **list;
  if (!field)
    return NULL;
  memcpy(&count, (const char *)f + field->quantifier_offset, sizeof count);
  memcpy(&list, (const char *)f + field->offset, sizeof list);
  for (size_t i = 0; i < count; i++)
    if (is_named(list[i], name))
      return list[i];
  return NULL;
}

/* One among the fields that it does not know: its length, then the message. */
static Onnx__AttributeProto *unknown_default(const Onnx__FunctionProto *f,
                                             const char *name) {
  for (size_t i = 0; i < f->base.n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *field = &f->base.unknown_fields[i];
    size_t skip = 0;
    if (field->tag != DEFAULTS_FIELD)
      continue;
    while (skip < field->len && field->data[skip] & 0x80)
      skip++;
    if (++skip > field->len)
      continue;
    Onnx__AttributeProto *attribute =
        onnx__attribute_proto__unpack(NULL, field->len - skip, field->data + skip);
    if (attribute && is_named(attribute, name))
      return attribute;
    if (attribute)
      onnx__attribute_proto__free_unpacked(attribute, NULL);
  }
  return NULL;
}

/* What a reference means; NULL: nothing is given. */
static const Onnx__AttributeProto *referred(const ntk_scope *scope, const char *name,
                                            ntk_references *r) {
  const Onnx__AttributeProto *given = ntk_proto_attribute(scope->call, name);
  if (!given)
    given = known_default(scope->function, name);
  if (given)
    return given;
  Onnx__AttributeProto *owned = unknown_default(scope->function, name);
  if (owned)
    r->defaults[r->default_count++] = owned;
  return owned;
}

ntk_status ntk_references_resolve(const ntk_scope *scope, const Onnx__NodeProto *node,
                                  ntk_references *r) {
  ntk_status status = NTK_SUCCESS;
  const int64_t n = (int64_t)node->n_attribute;
  bool any = false;
  r->node = *node;
  for (size_t i = 0; i < node->n_attribute; i++)
    any = any || is_reference(node->attribute[i]);
  if (!any)
    goto done;
  NTK_REQUIRE(scope->call, NTK_ERR_FORMAT,
              "node '%s': an attribute refers to a function's, outside of one",
              ntk_proto_name(node));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *r->list, &r->list));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *r->copies, &r->copies));
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, n, sizeof *r->defaults, &r->defaults));
  r->node.attribute = r->list;
  r->node.n_attribute = 0;
  for (size_t i = 0; i < node->n_attribute; i++) {
    Onnx__AttributeProto *own = node->attribute[i];
    const Onnx__AttributeProto *given =
        is_reference(own) ? referred(scope, own->ref_attr_name, r) : own;
    if (!given)
      continue;
    r->copies[i] = *given;
    r->copies[i].name = own->name;
    r->list[r->node.n_attribute++] = &r->copies[i];
  }
done:
  return status;
}

void ntk_references_clear(ntk_references *r) {
  for (size_t i = 0; i < r->default_count; i++)
    onnx__attribute_proto__free_unpacked(r->defaults[i], NULL);
  ntk_free(&r->list);
  ntk_free(&r->copies);
  ntk_free(&r->defaults);
}
