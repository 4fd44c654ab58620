import { parseFieldComment } from './field-comment';

describe('parseFieldComment', () => {
  it.each([
    ['prose', 'What it is.\nAnd more.', { description: 'What it is. And more.', required: false }],
    ['what must be given', 'What it is. Required.', { description: 'What it is. Required.', required: true }],
    ['an example that is text', 'X.\nExample: v1.0.0', { description: 'X.', required: false, example: 'v1.0.0' }],
    ['an example that is a number', 'X.\nExample: 3', { description: 'X.', required: false, example: 3 }],
    ['an example that is JSON', 'X.\nExample: {"a": "b"}', { description: 'X.', required: false, example: { a: 'b' } }],
    [
      'an example that is text like a number',
      'X.\nExample: "1000"',
      { description: 'X.', required: false, example: '1000' },
    ],
    ['a default', 'X.\nDefault: 0.99', { description: 'X.', required: false, default: 0.99 }],
    ['words', 'X.\nOne of: tcp, udp.', { description: 'X.', required: false, enum: ['tcp', 'udp'] }],
    [
      'a range',
      'X.\nLimits: 1 to 65535. Less than `end`.',
      { description: 'X. Limits: 1 to 65535. Less than `end`.', required: false, minimum: 1, maximum: 65535 },
    ],
    [
      'a length',
      'X.\nLimits: 1 to 63 characters of a-z.',
      { description: 'X. Limits: 1 to 63 characters of a-z.', required: false, minLength: 1, maxLength: 63 },
    ],
    [
      'a lower limit',
      'X.\nLimits: at least -1.',
      { description: 'X. Limits: at least -1.', required: false, minimum: -1 },
    ],
    [
      'limits that are not included',
      'X.\nLimits: more than 0, less than 1.',
      {
        description: 'X. Limits: more than 0, less than 1.',
        required: false,
        minimum: 0,
        exclusiveMinimum: true,
        maximum: 1,
        exclusiveMaximum: true,
      },
    ],
  ])('reads %s', (_name, comment, expected) => {
    expect(parseFieldComment(comment)).toEqual(expected);
  });
});
