import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage, JsonObject } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';
import { malformedField } from './protojson';

/**
 * The fields that a URL's query sets, for `decodeMessage`: names in camelCase or snake_case, unknown ones ignored
 * (`management.md` 1.2). Fields that the path sets are the path's alone.
 *
 * @throws DomainError `request.malformed` (invalid_argument) for a parameter given twice, a number or boolean that is none,
 *         or bytes that are no text. The texts are those of v10's gateway where it has one.
 */
export function decodeQuery(schema: DescMessage, url: string, pathFields: readonly string[]): JsonObject {
  const given = new Map<DescField, string[]>();
  for (const [name, value] of parametersOf(url)) {
    const field = schema.fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
    if (field === undefined || pathFields.includes(field.jsonName)) continue;
    const values = given.get(field);
    if (values === undefined) given.set(field, [value()]);
    else values.push(value());
  }
  const json: JsonObject = {};
  for (const [field, values] of given) json[field.jsonName] = parseValue(field, onlyValue(field.name, values));
  return json;
}

/**
 * The word that a parameter of a URL's query says; the first of the words when it is missing.
 *
 * @throws DomainError `request.malformed` (invalid_argument) that names the parameter, for another word or more than one.
 */
export function queryWord(url: string, parameter: string, words: readonly [string, ...string[]]): string {
  const values = parametersOf(url).flatMap(([name, value]) => (name === parameter ? [value()] : []));
  if (values.length === 0) return words[0];
  const word = onlyValue(parameter, values);
  if (words.includes(word)) return word;
  throw malformedField(parameter, `must be one of ${words.join(', ')}, got ${JSON.stringify(word.slice(0, 60))}`);
}

/** Names and values in their order. A value is decoded when it is asked for: of unknown parameters, it may be anything. */
function parametersOf(url: string): [name: string, value: () => string][] {
  const start = url.indexOf('?');
  if (start === -1) return [];
  return url
    .slice(start + 1)
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=');
      const name = decodeText(equals === -1 ? pair : pair.slice(0, equals));
      return [name, () => decodeText(equals === -1 ? '' : pair.slice(equals + 1))];
    });
}

function onlyValue(name: string, values: readonly string[]): string {
  const [value = ''] = values;
  if (values.length > 1) throw malformed(`too many values for field "${name}": ${values.join(', ')}`);
  return value;
}

function parseValue(field: DescField, value: string): string | boolean {
  if (field.scalar === ScalarType.BOOL) return parseBoolean(field, value);
  if (field.scalar !== ScalarType.UINT32) return value;
  // Decimal digits only: Go's strconv.ParseUint(value, 10, 32).
  if (!/^\d+$/.test(value)) throw malformed(`parsing field "${field.name}": ${JSON.stringify(value)} is not a number`);
  if (Number(value) > 0xffff_ffff) throw malformed(`parsing field "${field.name}": ${value} is out of range`);
  return String(Number(value));
}

function parseBoolean(field: DescField, value: string): boolean {
  if (value === 'true' || value === 'false') return value === 'true';
  throw malformed(`parsing field "${field.name}": ${JSON.stringify(value.slice(0, 60))} is neither true nor false`);
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
