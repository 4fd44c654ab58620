import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { comments } from '../../proto/gen/comments';
import { parseFieldComment } from './field-comment';
import type { FieldComment } from './field-comment';
import type { ReferenceObject, Schema, SchemaObject } from './schema-object';

/** Where a message is used decides which of its fields are there: an answer has them all, a request what it must have. */
export interface MessageUse {
  requests: readonly DescMessage[];
  answers: readonly DescMessage[];
}

export function schemaName(message: DescMessage): string {
  return message.name;
}

export function schemaReference(message: DescMessage): ReferenceObject {
  return { $ref: `#/components/schemas/${schemaName(message)}` };
}

/**
 * OpenAPI schemas of the given messages and of everything in them, by name and in that order, from the descriptors and the
 * comments of the .proto files.
 */
export function messageSchemas(use: MessageUse): Record<string, SchemaObject> {
  const requests = reach(use.requests);
  const answers = reach(use.answers);
  const all = [...new Set([...requests, ...answers])].sort((a, b) => schemaName(a).localeCompare(schemaName(b), 'en'));
  return Object.fromEntries(all.map((message) => [schemaName(message), messageSchema(message, requests.has(message))]));
}

/** A field by itself, for a parameter of a path or a query. */
export function fieldSchema(field: DescField): { description: string; required: boolean; schema: SchemaObject } {
  const comment = commentOf(field);
  const { description, required } = comment;
  const schema = typeSchema(field);
  if ('$ref' in schema) throw new Error(`${field.toString()}: a message cannot be a parameter`);
  return { description, required, schema: { ...schema, ...keywords(field, comment) } };
}

function reach(roots: readonly DescMessage[]): Set<DescMessage> {
  const found = new Set<DescMessage>();
  const visit = (message: DescMessage): void => {
    if (found.has(message) || isWellKnown(message)) return;
    found.add(message);
    for (const field of message.fields) if (field.message) visit(field.message);
  };
  roots.forEach(visit);
  return found;
}

function isWellKnown(message: DescMessage): boolean {
  return message.typeName.startsWith('google.protobuf.');
}

/** What the .proto file says of a field. */
export function commentOf(field: DescField): FieldComment {
  return parseFieldComment(comments[`${field.parent.typeName}.${field.name}`] ?? '');
}

function messageSchema(message: DescMessage, inRequest: boolean): SchemaObject {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  for (const field of message.fields) {
    const comment = commentOf(field);
    const isOptional = field.proto.proto3Optional;
    // An answer holds every field that is not `optional` (`management.md` 1.2).
    if (inRequest ? comment.required : !isOptional) required.push(field.jsonName);
    properties[field.jsonName] = propertySchema(field, comment, !inRequest && !isOptional);
  }
  return {
    type: 'object',
    description: comments[message.typeName] ?? '',
    properties,
    ...(required.length > 0 ? { required } : {}),
  };
}

function propertySchema(field: DescField, comment: FieldComment, canBeNull: boolean): Schema {
  const { description } = comment;
  const schema = typeSchema(field);
  // OpenAPI 3.0 ignores what stands beside a `$ref`.
  if ('$ref' in schema) return { description, allOf: [schema], ...(canBeNull ? { nullable: true } : {}) };
  // Beside no type, `nullable` would say nothing (OpenAPI 3.0.3).
  const nullable = canBeNull && field.fieldKind === 'message' && 'type' in schema ? { nullable: true } : {};
  return { description, ...schema, ...keywords(field, comment), ...nullable };
}

function keywords(field: DescField, comment: FieldComment): Partial<SchemaObject> {
  const keywords: Partial<FieldComment> = { ...comment };
  delete keywords.description;
  delete keywords.required;
  if (field.scalar === ScalarType.INT64) {
    // Its JSON form is text, so limits cannot be keywords (the description has them).
    delete keywords.minimum;
    delete keywords.maximum;
    if (keywords.default !== undefined) keywords.default = JSON.stringify(keywords.default);
  }
  return keywords as Partial<SchemaObject>;
}

function typeSchema(field: DescField): Schema {
  if (field.fieldKind === 'list') return { type: 'array', items: valueSchema(field) };
  if (field.fieldKind === 'map') return { type: 'object', additionalProperties: valueSchema(field) };
  return valueSchema(field);
}

/** The JSON forms of protobuf (https://protobuf.dev/programming-guides/json/). */
const wellKnownSchemas: Readonly<Record<string, SchemaObject>> = {
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
  'google.protobuf.Duration': { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]{1,9})?s$' },
  'google.protobuf.Struct': { type: 'object', additionalProperties: true },
  // No type: any JSON, null included.
  'google.protobuf.Value': {},
};
const scalarSchemas: Readonly<Partial<Record<ScalarType, SchemaObject>>> = {
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.INT32]: { type: 'integer', format: 'int32' },
  [ScalarType.UINT32]: { type: 'integer', format: 'uint32', minimum: 0 },
  [ScalarType.INT64]: { type: 'string', format: 'int64' },
  [ScalarType.FLOAT]: { type: 'number', format: 'float' },
  [ScalarType.STRING]: { type: 'string' },
};

function valueSchema(field: DescField): Schema {
  if (field.message) return wellKnownSchemas[field.message.typeName] ?? schemaReference(field.message);
  const schema = field.scalar === undefined ? undefined : scalarSchemas[field.scalar];
  if (schema === undefined) throw new Error(`${field.toString()}: no OpenAPI schema for this type; add it here`);
  return schema;
}
