import fc from 'fast-check';
import type { DefinitionChange } from './definition-changes';
import { bumpOf, nextVersion, type Bump } from './next-version';
import { parseSchedulerVersion } from './scheduler-version';

describe('bumpOf', () => {
  const change = (major: boolean): DefinitionChange => ({ path: 'x', from: 1, to: 2, major });

  test.each<[string, DefinitionChange[], Bump]>([
    ['no change', [], 'none'],
    ['minor changes', [change(false), change(false)], 'minor'],
    ['one major change among minor ones', [change(false), change(true)], 'major'],
  ])('%s: %s is %s', (_, changes, bump) => {
    expect(bumpOf(changes)).toBe(bump);
  });
});

describe('nextVersion', () => {
  test.each<[string, { active: string; existing: string[]; bump: Bump }, string]>([
    ['a minor change', { active: 'v1.0.0', existing: ['v1.0.0'], bump: 'minor' }, 'v1.1.0'],
    ['a major change', { active: 'v1.1.0', existing: ['v1.0.0', 'v1.1.0'], bump: 'major' }, 'v2.0.0'],
    ['no change, which is a minor version as in v10', { active: 'v1.0.0', existing: [], bump: 'none' }, 'v1.1.0'],
    [
      'a minor change after a switch back',
      { active: 'v1.0.0', existing: ['v2.7.0', 'v1.0.0', 'v1.1.0'], bump: 'minor' },
      'v1.2.0',
    ],
    [
      'a major change after a switch back',
      { active: 'v1.2.0', existing: ['v2.0.0', 'v1.2.0'], bump: 'major' },
      'v3.0.0',
    ],
    ['the active version missing from the list', { active: 'v3.4.0', existing: ['v1.0.0'], bump: 'major' }, 'v4.0.0'],
    ['an active version without v', { active: '1.0.0', existing: ['v1.1.0'], bump: 'minor' }, '1.2.0'],
    ['an active version with a patch', { active: 'v1.2.3', existing: [], bump: 'minor' }, 'v1.3.0'],
    ['numbers, not text', { active: 'v9.9.0', existing: ['v9.10.0', 'v10.0.0'], bump: 'minor' }, 'v9.11.0'],
    ['text that is no version', { active: 'v1.0.0', existing: ['latest', ''], bump: 'minor' }, 'v1.1.0'],
  ])('counts on from %s', (_, input, expected) => {
    expect(nextVersion(input)).toBe(expected);
  });

  test("numbers v10's end-to-end sequence: minor, major, switch back, minor, major", () => {
    const existing = ['v1.0.0'];
    let active = 'v1.0.0';
    const make = (bump: Bump): string => {
      active = nextVersion({ active, existing, bump });
      existing.push(active);
      return active;
    };
    expect(make('minor')).toBe('v1.1.0');
    expect(make('major')).toBe('v2.0.0');
    active = 'v1.0.0';
    expect(make('minor')).toBe('v1.2.0');
    expect(make('major')).toBe('v3.0.0');
  });

  test('refuses to count on from text that is no version', () => {
    expect(() => nextVersion({ active: 'latest', existing: [], bump: 'minor' })).toThrow(
      expect.objectContaining({ kind: 'failed_precondition', code: 'scheduler.invalid_version' }),
    );
  });

  const numbers = fc.tuple(fc.nat(12), fc.nat(12), fc.nat(3), fc.constantFrom('v', ''));
  const version = numbers.map(([major, minor, patch, prefix]) => `${prefix}${major}.${minor}.${patch}`);
  const bumps = fc.constantFrom<Bump>('none', 'minor', 'major');

  test('is never a version that exists, and always above the active one', () => {
    fc.assert(
      fc.property(version, fc.array(version), bumps, (active, existing, bump) => {
        const next = nextVersion({ active, existing, bump });
        const [number, current] = [parseSchedulerVersion(next)!, parseSchedulerVersion(active)!];
        for (const text of [active, ...existing]) expect(parseSchedulerVersion(text)).not.toEqual(number);
        expect(number.patch).toBe(0);
        if (bump === 'major') {
          expect(number.major).toBeGreaterThan(current.major);
          expect(number.minor).toBe(0);
        } else {
          expect(number.major).toBe(current.major);
          expect(number.minor).toBeGreaterThan(current.minor);
        }
      }),
    );
  });
});
