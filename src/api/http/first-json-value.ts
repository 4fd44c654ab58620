import { isUtf8 } from 'node:buffer';
import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';
import { isWellKnown } from './protojson';

/**
 * Deeper nesting is refused, so that no body can exhaust the stack of what walks the value afterwards.
 * A scheduler needs 8; protobuf's own JSON parsers stop at 100.
 */
const maxDepth = 100;

/**
 * The first JSON value of a request's body, as v10's gateway reads it: whatever follows the value is ignored, and a body
 * that is empty or all white space is `undefined`, which stands for the empty message.
 *
 * Stricter than `JSON.parse` in what has no meaning in protobuf's JSON: a name given twice in one object, half of a
 * surrogate pair. A member called `__proto__` is dropped: it is nobody's field, and could become a prototype further in.
 *
 * Exact where `JSON.parse` is not: a number beyond 2^53 for a 64-bit integer of `schema` comes as its text, which protobuf's
 * JSON takes there too. Everywhere else, a Struct included, it is the nearest number.
 *
 * @throws DomainError `request.malformed` (invalid_argument) for bytes that are not UTF-8, a syntax error (with its
 *         position) or nesting beyond 100 levels.
 */
export function firstJsonValue(body: Uint8Array | string | undefined, schema?: DescMessage): JsonValue | undefined {
  if (body === undefined || body.length === 0) return undefined;
  if (typeof body === 'string') return new FirstValueParser(body).parse(schema);
  if (!isUtf8(body)) throw malformed('the body is not UTF-8');
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8');
  return new FirstValueParser(text).parse(schema);
}

/** What the schema says about a value: its message, its scalar type, or the map that it is. Nothing inside well-known types. */
type ValueType = DescMessage | (DescField & { fieldKind: 'map' }) | ScalarType | undefined;

/** The type of an object's member. The items of a list have the type that the list's field gives here. */
function memberType(object: ValueType, name: string): ValueType {
  if (typeof object !== 'object') return undefined;
  if (object.kind === 'field') return singleType(object);
  const field = object.fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
  return field?.fieldKind === 'map' ? field : field && singleType(field);
}

function singleType({ message, scalar }: DescField): ValueType {
  return message && isWellKnown(message) ? undefined : (message ?? scalar);
}

function malformed(reason: string): DomainError {
  return new DomainError('invalid_argument', 'request.malformed', `malformed JSON: ${reason}`);
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/** Everything up to the closing quote, an escape or a control character (RFC 8259, section 7). */
// eslint-disable-next-line no-control-regex
const plainText = /[^"\\\u0000-\u001f]*/y;
const simpleEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** `JSON.parse` can neither stop after the first value nor see a repeated name; hence our own reader of RFC 8259. */
class FirstValueParser {
  private position = 0;

  constructor(private readonly text: string) {}

  parse(schema: DescMessage | undefined): JsonValue | undefined {
    this.skipSpace();
    return this.position === this.text.length ? undefined : this.value(0, schema);
  }

  private value(depth: number, type: ValueType): JsonValue {
    if (depth > maxDepth) throw malformed(`nested deeper than ${maxDepth} levels`);
    switch (this.text.charAt(this.position)) {
      case '{':
        return this.object(depth, type);
      case '[':
        return this.array(depth, type);
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number(type);
    }
  }

  private object(depth: number, type: ValueType): JsonObject {
    this.position++;
    const object: JsonObject = {};
    this.skipSpace();
    if (this.take('}')) return object;
    for (;;) {
      if (this.text[this.position] !== '"') throw this.unexpected();
      const name = this.string();
      if (Object.hasOwn(object, name)) throw malformed(`field ${JSON.stringify(name)} is given twice in one object`);
      this.skipSpace();
      if (!this.take(':')) throw this.unexpected();
      this.skipSpace();
      const value = this.value(depth + 1, memberType(type, name));
      if (name !== '__proto__') object[name] = value;
      this.skipSpace();
      if (this.take('}')) return object;
      if (!this.take(',')) throw this.unexpected();
      this.skipSpace();
    }
  }

  private array(depth: number, itemType: ValueType): JsonValue[] {
    this.position++;
    const array: JsonValue[] = [];
    this.skipSpace();
    if (this.take(']')) return array;
    for (;;) {
      array.push(this.value(depth + 1, itemType));
      this.skipSpace();
      if (this.take(']')) return array;
      if (!this.take(',')) throw this.unexpected();
      this.skipSpace();
    }
  }

  private string(): string {
    this.position++;
    let result = '';
    let escaped = false;
    for (;;) {
      plainText.lastIndex = this.position;
      plainText.exec(this.text);
      result += this.text.slice(this.position, plainText.lastIndex);
      this.position = plainText.lastIndex;
      const character = this.text[this.position];
      if (character === '"') {
        this.position++;
        if (escaped && hasLoneSurrogate(result)) throw malformed('a string holds half of a surrogate pair');
        return result;
      }
      if (character !== '\\') throw this.unexpected();
      escaped = true;
      result += this.escape();
    }
  }

  private escape(): string {
    const letter = this.text[this.position + 1] ?? '';
    const simple = simpleEscapes[letter];
    if (simple !== undefined) {
      this.position += 2;
      return simple;
    }
    const digits = this.text.slice(this.position + 2, this.position + 6);
    if (letter !== 'u' || !/^[0-9a-fA-F]{4}$/.test(digits)) throw this.unexpected();
    this.position += 6;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  private number(type: ValueType): number | string {
    number.lastIndex = this.position;
    const match = number.exec(this.text);
    if (!match) throw this.unexpected();
    this.position = number.lastIndex;
    const value = Number(match[0]);
    if (!Number.isFinite(value)) throw malformed(`number ${match[0].slice(0, 40)} is out of range`);
    const isInexact = Math.abs(value) > Number.MAX_SAFE_INTEGER;
    return isInexact && (type === ScalarType.INT64 || type === ScalarType.UINT64) ? match[0] : value;
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.position)) throw this.unexpected();
    this.position += word.length;
    return value;
  }

  private take(character: string): boolean {
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }

  private skipSpace(): void {
    for (; ; this.position++) {
      const character = this.text[this.position];
      if (character !== ' ' && character !== '\n' && character !== '\t' && character !== '\r') return;
    }
  }

  private unexpected(): DomainError {
    const character = this.text[this.position];
    if (character === undefined) return malformed('unexpected end of the body');
    return malformed(`unexpected ${JSON.stringify(character)} at position ${this.position}`);
  }
}

function hasLoneSurrogate(text: string): boolean {
  return /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(text);
}
