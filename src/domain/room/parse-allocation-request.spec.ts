import { parseAllocationRequest, type AllocationWish } from './parse-allocation-request';

type Changes = Omit<Partial<AllocationWish>, 'selector'> & { selector?: Partial<AllocationWish['selector']> };

function wish({ selector, ...changes }: Changes = {}): AllocationWish {
  const nothing = { version: '', labels: {}, metadata: {} };
  return {
    scheduler: 'arena',
    idempotencyKey: '',
    waitSeconds: 0,
    strategy: '',
    ...changes,
    selector: { ...nothing, ...selector },
  };
}

const entries = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`name-${n}`, 'x']));

describe('a request for a room', () => {
  it('wants any room, packed, now, when it says nothing', () => {
    expect(parseAllocationRequest(wish())).toMatchObject({
      scheduler: 'arena',
      idempotencyKey: null,
      waitMs: 0,
      strategy: 'packed',
      selector: { version: '', labels: {}, metadata: {} },
    });
  });

  it.each<[string, Changes]>([
    ['the longest wait', { waitSeconds: 60 }],
    ['the longest key', { idempotencyKey: 'k'.repeat(255) }],
    ['the longest key of characters that are two in UTF-16', { idempotencyKey: '🎲'.repeat(255) }],
    ['either strategy', { strategy: 'spread' }],
    ['a whole version', { selector: { version: 'v2.1.0' } }],
    ['a major number', { selector: { version: '2' } }],
    ['as many labels as may be', { selector: { labels: entries(32) } }],
    ['the largest entry', { selector: { metadata: { m: 'x'.repeat(1023) } } }],
  ])('may have %s', (_name, changes) => {
    expect(() => parseAllocationRequest(wish(changes))).not.toThrow();
  });

  it.each<[string, Changes, string, string]>([
    ['a wait of less than nothing', { waitSeconds: -1 }, 'waitSeconds', 'must be from 0 to 60, got -1'],
    ['too long a wait', { waitSeconds: 61 }, 'waitSeconds', 'must be from 0 to 60, got 61'],
    [
      'too long a key',
      { idempotencyKey: 'k'.repeat(256) },
      'idempotencyKey',
      'must be at most 255 characters, got 256',
    ],
    ['a strategy that there is not', { strategy: 'Packed' }, 'strategy', 'must be one of packed, spread, got "Packed"'],
    [
      'a version that is none',
      { selector: { version: 'latest' } },
      'selector.version',
      'must be a version such as v2.1.0, or its beginning such as v2, got "latest"',
    ],
    [
      'a version with too many parts',
      { selector: { version: '1.2.3.4' } },
      'selector.version',
      'must be a version such as v2.1.0, or its beginning such as v2, got "1.2.3.4"',
    ],
    [
      'too many labels',
      { selector: { labels: entries(33) } },
      'selector.labels',
      'must have at most 32 entries, got 33',
    ],
    [
      'too large metadata',
      { selector: { metadata: { m: 'é'.repeat(512) } } },
      'selector.metadata',
      'must have entries of at most 1024 bytes, name and value together, got 1025 in "m"',
    ],
  ])('is refused with %s, and the field and its rule are named', (_name, changes, field, rule) => {
    expect(() => parseAllocationRequest(wish(changes))).toThrow(
      expect.objectContaining({
        kind: 'invalid_argument',
        code: 'allocation.invalid_request',
        message: `${field} ${rule}`,
        details: { field },
      }),
    );
  });

  describe('has a fingerprint', () => {
    const fingerprint = (changes: Changes) => parseAllocationRequest(wish(changes)).fingerprint;

    it.each<[string, Changes, Changes]>([
      [
        'labels in another order',
        { selector: { labels: { a: '1', b: '2' } } },
        { selector: { labels: { b: '2', a: '1' } } },
      ],
      ['the default and its name', { strategy: '' }, { strategy: 'packed' }],
      ['a version with and without its v', { selector: { version: 'v2' } }, { selector: { version: '2' } }],
      ['another wait', { waitSeconds: 0 }, { waitSeconds: 5 }],
      ['another key', { idempotencyKey: 'a' }, { idempotencyKey: 'b' }],
    ])('that is the same for %s', (_name, one, other) => {
      expect(fingerprint(one)).toBe(fingerprint(other));
    });

    it.each<[string, Changes, Changes]>([
      ['another strategy', {}, { strategy: 'spread' }],
      ['another version', { selector: { version: '2' } }, { selector: { version: '2.0' } }],
      ['a label that is metadata', { selector: { labels: { a: '1' } } }, { selector: { metadata: { a: '1' } } }],
      [
        'names and values that run into each other',
        { selector: { labels: { a: '1,b' } } },
        { selector: { labels: { 'a,1': 'b' } } },
      ],
    ])('that differs for %s', (_name, one, other) => {
      expect(fingerprint(one)).not.toBe(fingerprint(other));
    });
  });
});
