import * as fc from 'fast-check';
import { hostileNumbers, hostileText, hostileValue, toJsonText } from './hostile-values';

/** What of OpenAPI 3.0 our documents use. */
export interface Schema {
  $ref?: string;
  allOf?: Schema[];
  /** Absent beside `$ref` and `allOf`. */
  type?: string;
  format?: string;
  pattern?: string;
  enum?: unknown[];
  example?: unknown;
  nullable?: boolean;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
}

export interface Parameter {
  name: string;
  in: string;
  schema: Schema;
}

export interface ApiOperation {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}

export interface OpenApiDocument {
  paths: Record<string, Record<string, ApiOperation>>;
  components: { schemas: Record<string, Schema> };
}

/** Values of what a document describes: mostly as it says, some not. */
export class OpenApiArbitraries {
  private readonly made = new Map<string, fc.Arbitrary<unknown>>();

  constructor(private readonly document: OpenApiDocument) {}

  /** A value of a schema, each part of which may be hostile instead. */
  value(schema: Schema): fc.Arbitrary<unknown> {
    return fc.oneof({ weight: 12, arbitrary: this.wellMeant(schema) }, { weight: 1, arbitrary: hostileValue });
  }

  /** The bytes of a body: JSON by the schema, `example` with parts replaced, either of them spoiled, or anything. */
  body(schema: Schema, example: unknown): fc.Arbitrary<Uint8Array> {
    const json = fc
      .oneof(
        { weight: 2, arbitrary: this.value(schema) },
        { weight: 8, arbitrary: withPartsReplaced(example) },
        { weight: 1, arbitrary: hostileValue },
      )
      .map(toJsonText);
    const spoiled = fc
      .tuple(json, fc.nat(), fc.constantFrom('', '\0', '"', '}', ',', '\u2028', '/*', '\\ud800', ' {}'))
      .map(([text, at, insert]) => {
        const position = at % (text.length + 1);
        return insert === '' ? text.slice(0, position) : text.slice(0, position) + insert + text.slice(position);
      });
    return fc.oneof(
      { weight: 16, arbitrary: json.map((text) => Buffer.from(text)) },
      { weight: 2, arbitrary: spoiled.map((text) => Buffer.from(text)) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) },
    );
  }

  /** The query of an operation: some of its parameters, by either of their names, some twice or spoiled, and others. */
  query(operation: ApiOperation): fc.Arbitrary<string> {
    const parameters = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query');
    const wellMeant = fc
      .subarray(parameters)
      .chain((chosen) => fc.tuple(...chosen.map(({ name, schema }) => this.parameter(name, schema))));
    const odd = fc.oneof(
      fc
        .constantFrom(...parameters.map(({ name }) => name), 'unknown')
        .chain((name) => hostileText.map((text) => [name, escaped(text)])),
      fc.tuple(
        fc.constantFrom('%zz', '%00', '', '__proto__', 'stage', 'page'),
        fc.constantFrom('%', '%ff', '%00', '+', '=', '&'),
      ),
    );
    const oddities = fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(odd, { minLength: 1, maxLength: 2 }));
    return fc.tuple(wellMeant, oddities).map((all) =>
      all
        .flat()
        .map((pair) => pair.join('='))
        .join('&'),
    );
  }

  private parameter(name: string, schema: Schema): fc.Arbitrary<string[]> {
    const inSnakeCase = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return fc
      .tuple(
        fc.constantFrom(name, inSnakeCase),
        fc.oneof({ weight: 4, arbitrary: this.wellMeant(schema) }, hostileText),
      )
      .map(([key, value]) => [key, escaped(String(value))]);
  }

  private wellMeant(schema: Schema): fc.Arbitrary<unknown> {
    const { $ref, allOf } = schema;
    if ($ref !== undefined) return this.named($ref.split('/').at(-1)!);
    if (allOf !== undefined) return this.wellMeant(allOf[0]!);
    switch (schema.type ?? 'string') {
      case 'object':
        return schema.properties ? this.object(schema) : this.map(schema.additionalProperties);
      case 'array':
        return fc.array(this.value(schema.items!), { maxLength: 3 });
      case 'integer':
        return fc.integer({ min: schema.minimum ?? -3, max: Math.min(schema.maximum ?? 70_000, 70_000) });
      case 'number':
        return fc.double({ min: -1, max: 2, noNaN: true });
      case 'boolean':
        return fc.boolean();
      default:
        return this.text(schema);
    }
  }

  private text({ pattern, example, enum: words }: Schema): fc.Arbitrary<unknown> {
    const found: fc.Arbitrary<unknown>[] = [fc.string({ maxLength: 10 })];
    if (pattern !== undefined) found.push(fc.stringMatching(new RegExp(pattern), { maxLength: 20 }));
    if (words !== undefined) found.push(fc.constantFrom(...words));
    if (example !== undefined) found.push(...Array.from({ length: 4 }, () => fc.constant(example)));
    return fc.oneof(...found);
  }

  private map(values: boolean | Schema | undefined): fc.Arbitrary<unknown> {
    const value = typeof values === 'object' ? this.value(values) : fc.jsonValue({ maxDepth: 2 });
    return fc.dictionary(fc.oneof(fc.string({ maxLength: 8 }), hostileText), value, { maxKeys: 3 });
  }

  private object({ properties = {} }: Schema): fc.Arbitrary<unknown> {
    const fields = Object.entries(properties).map(([name, schema]) => [name, this.value(schema)] as const);
    return fc.record(Object.fromEntries(fields), { requiredKeys: [] });
  }

  /** Messages do not contain themselves, so each is made once and in full. */
  private named(name: string): fc.Arbitrary<unknown> {
    let arbitrary = this.made.get(name);
    if (arbitrary === undefined) {
      arbitrary = this.wellMeant(this.document.components.schemas[name]!);
      this.made.set(name, arbitrary);
    }
    return arbitrary;
  }
}

/** A copy of a JSON value with up to two of its parts, at any depth, replaced, mostly by one of their own type, or taken away. */
function withPartsReplaced(value: unknown): fc.Arbitrary<unknown> {
  const change = fc
    .constantFrom(...pathsOf(value))
    .chain((path) =>
      fc.tuple(
        fc.constant(path),
        fc.oneof(
          { weight: 4, arbitrary: hostileLike(partAt(value, path)) },
          { weight: 1, arbitrary: hostileValue },
          { weight: 1, arbitrary: fc.constant(undefined) },
        ),
      ),
    );
  return fc
    .array(change, { maxLength: 2 })
    .map((changes) => changes.reduce<unknown>((copy, [path, part]) => replaced(copy, path, part), value));
}

function hostileLike(part: unknown): fc.Arbitrary<unknown> {
  if (typeof part === 'string') return hostileText;
  if (typeof part === 'number') return fc.oneof(fc.constantFrom<unknown>(...hostileNumbers), fc.integer());
  return fc.constantFrom<unknown>(
    ...(Array.isArray(part) ? [[], [...(part as unknown[]), ...(part as unknown[])]] : [{}, true, false]),
  );
}

type Path = readonly (string | number)[];

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, part]) => pathsOf(part, [...path, key]))];
}

function partAt(value: unknown, path: Path): unknown {
  return path.reduce((place, key) => (place as Record<string, unknown>)[key], value);
}

function replaced(value: unknown, [key, ...rest]: Path, part: unknown): unknown {
  if (key === undefined) return part;
  if (typeof value !== 'object' || value === null) return value;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>;
  copy[key] = replaced(copy[key], rest, part);
  return copy;
}

/** As `encodeURIComponent`, which cannot do half of a surrogate pair. */
export function escaped(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}
