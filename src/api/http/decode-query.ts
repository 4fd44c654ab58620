import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage, JsonObject } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';

/**
 * The fields that a URL's query sets, for `decodeMessage`: names in camelCase or snake_case, unknown ones ignored
 * (`management.md` 1.2). Fields that the path sets are the path's alone.
 *
 * @throws DomainError `request.malformed` (invalid_argument) for a parameter given twice, a number that is none, or bytes
 *         that are no text. The texts are those of v10's gateway where it has one.
 */
export function decodeQuery(schema: DescMessage, url: string, pathFields: readonly string[]): JsonObject {
  const start = url.indexOf('?');
  const json: JsonObject = {};
  if (start === -1) return json;
  const given = new Map<DescField, string[]>();
  for (const pair of url.slice(start + 1).split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decodeText(equals === -1 ? pair : pair.slice(0, equals));
    const field = schema.fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
    if (field === undefined || pathFields.includes(field.jsonName)) continue;
    const value = decodeText(equals === -1 ? '' : pair.slice(equals + 1));
    const values = given.get(field);
    if (values === undefined) given.set(field, [value]);
    else values.push(value);
  }
  for (const [field, values] of given) {
    const [value = ''] = values;
    if (values.length > 1) throw malformed(`too many values for field "${field.name}": ${values.join(', ')}`);
    json[field.jsonName] = parseValue(field, value);
  }
  return json;
}

function parseValue(field: DescField, value: string): string {
  if (field.scalar !== ScalarType.UINT32) return value;
  // Decimal digits only: Go's strconv.ParseUint(value, 10, 32).
  if (!/^\d+$/.test(value)) throw malformed(`parsing field "${field.name}": ${JSON.stringify(value)} is not a number`);
  if (Number(value) > 0xffff_ffff) throw malformed(`parsing field "${field.name}": ${value} is out of range`);
  return String(Number(value));
}

function decodeText(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw malformed(`invalid escape in the query: ${JSON.stringify(text.slice(0, 60))}`);
  }
}

function malformed(message: string): DomainError {
  return new DomainError('invalid_argument', 'request.malformed', message);
}
