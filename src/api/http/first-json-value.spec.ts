import fc from 'fast-check';
import { DomainError } from '../../domain/errors';
import { UpdateRoomWithPingRequestSchema } from '../../proto/gen/api/v1/rooms_pb';
import { CreateSchedulerRequestSchema } from '../../proto/gen/api/v1/schedulers_pb';
import { firstJsonValue } from './first-json-value';

const refusal = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof DomainError && error.kind === 'invalid_argument' && error.code === 'request.malformed') {
      return error.message;
    }
    throw error;
  }
  throw new Error('was not refused');
};

describe('firstJsonValue', () => {
  it.each([
    ['no body', undefined, undefined],
    ['an empty body', '', undefined],
    ['a body of white space', ' \r\n\t', undefined],
    ['an object', '{"a":1}', { a: 1 }],
    ['bytes after the value', '{"a":1} and more }{', { a: 1 }],
    ['a second value', '{"a":1}{"a":2}', { a: 1 }],
    ['white space everywhere', ' { "a" : [ 1 , 2 ] } ', { a: [1, 2] }],
    ['nested values', '[{"a":[true,false,null,""]}]', [{ a: [true, false, null, ''] }]],
    ['numbers', '[0,-1,1.5,1e2,1E-2,-0.5e+1]', [0, -1, 1.5, 100, 0.01, -5]],
    ['escapes', String.raw`"\"\\\/\b\f\n\r\té😀"`, '"\\/\b\f\n\r\té😀'],
    ['a whole surrogate pair', String.raw`"\ud83d\ude00"`, '😀'],
    ['a name that is an escape', String.raw`{"\u0061":1}`, { a: 1 }],
    ['names of Object.prototype', '{"constructor":1,"toString":2}', { constructor: 1, toString: 2 }],
  ])('reads %s', (_name, body, expected) => {
    expect(firstJsonValue(body)).toEqual(expected);
    if (body !== undefined) expect(firstJsonValue(Buffer.from(body))).toEqual(expected);
  });

  it.each([
    ['an open object', '{"a":1', 'unexpected end of the body'],
    ['an open string', '"abc', 'unexpected end of the body'],
    ['a name without quotes', '{a:1}', 'unexpected "a" at position 1'],
    ['single quotes', "{'a':1}", 'unexpected "\'" at position 1'],
    ['a comma too many', '{"a":1,}', 'unexpected "}" at position 7'],
    ['a comma too many in a list', '[1,]', 'unexpected "]" at position 3'],
    ['a missing colon', '{"a" 1}', 'unexpected "1" at position 5'],
    ['form data', 'status=ready', 'unexpected "s" at position 0'],
    ['a word that is none', 'nul', 'unexpected "n" at position 0'],
    ['an escape that is none', String.raw`"\x41"`, String.raw`unexpected "\\" at position 1`],
    ['a control character', '"a\nb"', String.raw`unexpected "\n" at position 2`],
    ['a number out of range', '1e999', 'number 1e999 is out of range'],
    ['half of a surrogate pair', String.raw`"\ud83d"`, 'a string holds half of a surrogate pair'],
    ['a name twice', '{"a":1,"b":{"c":1,"c":2}}', 'field "c" is given twice in one object'],
    ['a name twice, once as an escape', String.raw`{"a":1,"\u0061":2}`, 'field "a" is given twice in one object'],
    ['deep nesting', '['.repeat(102), 'nested deeper than 100 levels'],
    ['very deep nesting', '{"a":'.repeat(200_000), 'nested deeper than 100 levels'],
  ])('refuses %s', (_name, body, reason) => {
    expect(refusal(() => firstJsonValue(body))).toBe(`malformed JSON: ${reason}`);
  });

  it.each<[string, string, unknown]>([
    ['an int64 that a number holds', '{"timestamp":9007199254740991}', { timestamp: 9007199254740991 }],
    ['an int64 that no number holds', '{"timestamp":9223372036854775807}', { timestamp: '9223372036854775807' }],
    ['a negative one', '{"timestamp":-9007199254740993}', { timestamp: '-9007199254740993' }],
    ['one with an exponent', '{"timestamp":9.223372036854775807e18}', { timestamp: '9.223372036854775807e18' }],
    ['one by its name in snake_case', '{"running_matches":9007199254740993}', { running_matches: '9007199254740993' }],
    [
      'the same inside of a Struct',
      '{"metadata":{"timestamp":9223372036854775807}}',
      { metadata: { timestamp: 2 ** 63 } },
    ],
    ['the same for text', '{"status":9223372036854775807}', { status: 2 ** 63 }],
    [
      'the same for a field that nobody knows',
      '{"x":{"timestamp":9223372036854775807}}',
      { x: { timestamp: 2 ** 63 } },
    ],
  ])('reads %s by the schema', (_name, body, expected) => {
    expect(firstJsonValue(body, UpdateRoomWithPingRequestSchema)).toEqual(expected);
  });

  it('knows the schema inside of messages and lists', () => {
    const body = (options: string) => `{"labels":{"timeout":1},"forwarders":[{},{"options":${options}}]}`;
    expect(
      firstJsonValue(body('{"timeout":9007199254740993,"metadata":[9007199254740993]}'), CreateSchedulerRequestSchema),
    ).toEqual({
      labels: { timeout: 1 },
      forwarders: [{}, { options: { timeout: '9007199254740993', metadata: [9007199254740992] } }],
    });
  });

  it('reads the nearest number without a schema', () => {
    expect(firstJsonValue('{"timestamp":9007199254740993}')).toEqual({ timestamp: 9007199254740992 });
  });

  it('reads 100 levels', () => {
    expect(JSON.stringify(firstJsonValue('['.repeat(100) + ']'.repeat(100)))).toHaveLength(200);
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(refusal(() => firstJsonValue(Buffer.from([0x22, 0xff, 0x22])))).toBe(
      'malformed JSON: the body is not UTF-8',
    );
  });

  it('drops __proto__ and pollutes nothing', () => {
    const value = firstJsonValue('{"__proto__":{"polluted":true},"a":{"__proto__":{"polluted":true},"b":1}}') as object;
    expect(value).toEqual({ a: { b: 1 } });
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('reads what JSON.stringify writes, whatever follows', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.string(), (value, rest) => {
        fc.pre(!JSON.stringify(value).includes('__proto__'));
        // A number would go on.
        expect(firstJsonValue(`${JSON.stringify(value)} ${rest}`)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('accepts whatever JSON.parse accepts, apart from its own rules', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]":,0123e-+.\\un truefalsnl'), maxLength: 12 }), (text) => {
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          return;
        }
        let value: unknown;
        try {
          value = firstJsonValue(text);
        } catch (error) {
          expect((error as Error).message).toMatch(/given twice|out of range/);
          return;
        }
        expect(value).toEqual(expected);
      }),
      { numRuns: 20_000 },
    );
  });
});
