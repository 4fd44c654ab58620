import { create, fromJson, ScalarType, toJson } from '@bufbuild/protobuf';
import type { DescField, DescMessage, JsonObject, JsonValue, MessageShape } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';
import { shortestFloat32 } from '../shortest-float32';
import { nearName } from './near-name';

/**
 * Reads a message from JSON as v10's gateway does (`management.md` 1.2): names in camelCase or snake_case, unknown names
 * ignored, null means unset, numbers also as text. `undefined` is the empty message.
 *
 * Three things differ on purpose: a string with a NUL character is refused (PostgreSQL cannot hold it, v10 answers 500), the
 * text names the field by its path (`spec.containers[0].ports[0].port`), and messages of `maestro.extensions`, which v10 does not
 * have, refuse unknown names: a part of them is replaced as a whole, so a misspelt name would clear what it was to set.
 *
 * @throws DomainError `request.malformed` (invalid_argument); `details.field` is the path.
 */
export function decodeMessage<Desc extends DescMessage>(schema: Desc, json: JsonValue | undefined): MessageShape<Desc> {
  if (json === undefined) return create(schema);
  const prepared = prepareMessage(schema, json, '');
  try {
    return fromJson(schema, prepared, { ignoreUnknownFields: true });
  } catch (error) {
    throw explainFailure(schema, prepared, error);
  }
}

/**
 * Writes a message as v10's gateway does: camelCase names, every field that has no `optional` in its declaration even when
 * it is unset (a message as null, a list as [], zero as 0), 64-bit integers as text, floats in their shortest form.
 */
export function encodeMessage<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): JsonObject {
  return completeMessage(schema, toJson(schema, message, { alwaysEmitImplicit: true }) as JsonObject);
}

/** A refusal that names the field. `path` is empty when it is the whole body that is wrong. */
export function malformedField(path: string, reason: string): DomainError {
  const message =
    path === '' ? `malformed request: ${reason}` : `malformed request: field ${JSON.stringify(path)}: ${reason}`;
  return new DomainError('invalid_argument', 'request.malformed', message, { details: { field: path } });
}

/** What JSON writes itself: the well-known types, which have a form of their own. */
export function isWellKnown(desc: DescMessage): boolean {
  return desc.typeName.startsWith('google.protobuf.');
}

/** Messages that a client of v10 never sends, so that its leniency binds nobody there. */
function refusesUnknownNames(desc: DescMessage): boolean {
  return desc.typeName.startsWith('maestro.extensions.');
}

function isJsonObject(json: JsonValue): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

// Reading ------------------------------------------------------------------------------------------------------------

/** Which fields of a message have something to prepare, by each of their names; found once per message type. */
const preparations = new WeakMap<DescMessage, ReadonlyMap<string, DescField>>();

function fieldsToPrepare(desc: DescMessage): ReadonlyMap<string, DescField> {
  let fields = preparations.get(desc);
  if (fields === undefined) {
    const found = desc.fields.filter((field) =>
      field.message ? !isWellKnown(field.message) : field.scalar !== undefined && field.scalar !== ScalarType.BOOL,
    );
    fields = new Map(found.flatMap((field) => [[field.name, field] as const, [field.jsonName, field] as const]));
    preparations.set(desc, fields);
  }
  return fields;
}

/** The same value, unless a number was given as text that protobuf-es and Go read differently. */
function prepareMessage(desc: DescMessage, json: JsonValue, path: string): JsonValue {
  if (!isJsonObject(json)) return json;
  const fields = fieldsToPrepare(desc);
  let result = json;
  for (const name of Object.keys(json)) {
    const field = fields.get(name);
    const value = json[name];
    if (field === undefined && refusesUnknownNames(desc)) refuseUnknown(desc, name, path);
    if (field === undefined || value === undefined || value === null) continue;
    const prepared = prepareField(field, value, join(path, name));
    if (prepared === value) continue;
    if (result === json) result = { ...json };
    result[name] = prepared;
  }
  return result;
}

function prepareField(field: DescField, json: JsonValue, path: string): JsonValue {
  if (field.fieldKind === 'list') {
    if (!Array.isArray(json)) return json;
    let result = json;
    json.forEach((item, index) => {
      const prepared = prepareValue(field, item, `${path}[${index}]`);
      if (prepared === item) return;
      if (result === json) result = [...json];
      result[index] = prepared;
    });
    return result;
  }
  if (field.fieldKind === 'map') {
    if (!isJsonObject(json)) return json;
    for (const [key, value] of Object.entries(json)) {
      refuseNul(key, path);
      prepareValue(field, value, join(path, key));
    }
    return json;
  }
  return prepareValue(field, json, path);
}

function prepareValue(field: DescField, json: JsonValue, path: string): JsonValue {
  if (field.message) return isWellKnown(field.message) ? json : prepareMessage(field.message, json, path);
  if (typeof json !== 'string') return json;
  const { scalar } = field;
  if (scalar === ScalarType.STRING) {
    refuseNul(json, path);
    return json;
  }
  if (scalar === ScalarType.FLOAT || scalar === ScalarType.DOUBLE) {
    return json === 'NaN' || json === 'Infinity' || json === '-Infinity' ? json : numberText(json, path);
  }
  if (scalar === ScalarType.INT32 || scalar === ScalarType.UINT32) return numberText(json, path);
  if (scalar === ScalarType.INT64 || scalar === ScalarType.UINT64) {
    // protobuf-es takes digits only here, Go every integral number ("6.0", "1e2").
    return integralText(numberText(json, path), path);
  }
  return json;
}

/** JSON's own grammar, also inside a string: no blanks, no plus sign, no hexadecimal, no leading zero. */
function numberText(text: string, path: string): string {
  if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return text;
  throw malformedField(path, `expected a number, got ${shown(text)}`);
}

/** Digits of the largest 64-bit integer, 2^64 - 1. */
const maxIntegerDigits = 20;
/** Far more than an integer needs; bounds the work below. */
const maxIntegerTextLength = 100;

/** The digits of an integral number. Exact: a JavaScript number holds 53 bits only. */
function integralText(text: string, path: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text.slice(0, maxIntegerTextLength)) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  const zeros = significant === '' ? 0 : digits.length - significant.length + Number(exponent) - fraction.length;
  if (zeros < 0) throw malformedField(path, `expected an integer, got ${shown(text)}`);
  if (text.length > maxIntegerTextLength || significant.length + zeros > maxIntegerDigits) {
    throw malformedField(path, `expected a 64-bit integer: ${shown(text)} out of range`);
  }
  return significant === '' ? '0' : `${sign}${significant}${'0'.repeat(zeros)}`;
}

/** Enough to recognise what one wrote; a name may be as long as a body. */
const maxNameLength = 60;

function refuseUnknown(desc: DescMessage, name: string, path: string): void {
  if (desc.fields.some((field) => field.name === name || field.jsonName === name)) return;
  const known = desc.fields.map(({ jsonName }) => jsonName);
  const meant = nearName(name, known);
  throw malformedField(
    join(path, name.length > maxNameLength ? `${name.slice(0, maxNameLength - 3)}...` : name),
    meant === undefined ? `unknown field, known are ${known.join(', ')}` : `unknown field, did you mean ${meant}?`,
  );
}

function refuseNul(text: string, path: string): void {
  if (text.includes('\0')) throw malformedField(path, 'text must not contain a NUL character');
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function shown(json: JsonValue): string {
  const text = JSON.stringify(json);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

// Explaining ---------------------------------------------------------------------------------------------------------

/** Finds the field that `fromJson` stumbled over, by reading each field alone. Only runs for a request that is refused. */
function explainFailure(schema: DescMessage, json: JsonValue, error: unknown): DomainError {
  const path = findFailure(schema, json, '') ?? '';
  return malformedField(path, reasonOf(error));
}

function fails(desc: DescMessage, json: JsonValue): boolean {
  try {
    fromJson(desc, json, { ignoreUnknownFields: true });
    return false;
  } catch {
    return true;
  }
}

function findFailure(desc: DescMessage, json: JsonValue, path: string): string | undefined {
  if (!fails(desc, json)) return undefined;
  if (isWellKnown(desc) || !isJsonObject(json)) return path;
  for (const [name, value] of Object.entries(json)) {
    const field = desc.fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
    if (field === undefined || !fails(desc, { [name]: value })) continue;
    return findFailureInField(field, value, join(path, name));
  }
  // Each field alone is fine: one of them was given by both of its names.
  const twice = desc.fields.find(
    (field) => field.name !== field.jsonName && Object.hasOwn(json, field.name) && Object.hasOwn(json, field.jsonName),
  );
  return twice ? join(path, twice.jsonName) : path;
}

function findFailureInField(field: DescField, json: JsonValue, path: string): string {
  const { message } = field;
  if (message === undefined) return path;
  if (field.fieldKind === 'message') return findFailure(message, json, path) ?? path;
  if (field.fieldKind !== 'list' || !Array.isArray(json)) return path;
  const index = json.findIndex((item) => item === null || fails(message, item));
  const item = json[index];
  if (item === undefined) return path;
  return findFailure(message, item, `${path}[${index}]`) ?? `${path}[${index}]`;
}

/** protobuf-es says `cannot decode field api.v1.X.y from JSON: REASON`; the path says the first half better. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const reason = /^cannot decode .*? from JSON:? (.*)$/s.exec(text)?.[1] ?? text;
  // For some types (durations, objects) protobuf-es only repeats the value.
  return /^(?:"|\d|-|true|false|null|Array\(|object)/.test(reason) ? `unexpected value ${reason}` : reason;
}

// Writing ------------------------------------------------------------------------------------------------------------

function completeMessage(desc: DescMessage, json: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const field of desc.fields) {
    const value = completeField(field, json[field.jsonName]);
    if (value !== undefined) result[field.jsonName] = value;
  }
  return result;
}

function completeField(field: DescField, json: JsonValue | undefined): JsonValue | undefined {
  if (json === undefined) {
    // `optional` is what makes protobuf's JSON leave out a message that is unset.
    return field.fieldKind === 'message' && !field.proto.proto3Optional && !field.oneof ? null : undefined;
  }
  if (field.scalar === ScalarType.FLOAT) {
    return Array.isArray(json) ? json.map(completeFloat) : completeFloat(json);
  }
  const { message } = field;
  if (message === undefined || isWellKnown(message)) return json;
  if (field.fieldKind === 'message') return completeMessage(message, json as JsonObject);
  if (field.fieldKind === 'list') return (json as JsonObject[]).map((item) => completeMessage(message, item));
  return Object.fromEntries(
    Object.entries(json as JsonObject).map(([key, value]) => [key, completeMessage(message, value as JsonObject)]),
  );
}

function completeFloat(json: JsonValue): JsonValue {
  return typeof json === 'number' ? shortestFloat32(json) : json;
}
