import { DomainError } from '../../domain/errors';
import { isRefusal, Refusals } from './refusals';

const forbidden = new DomainError('permission_denied', 'runtime.forbidden', 'no');
const unknown = new DomainError('unavailable', 'runtime.unauthenticated', 'who?');
const away = new DomainError('unavailable', 'runtime.unreachable', 'away');

describe('after a refusal of the runtime', () => {
  let now: number;
  let refusals: Refusals;
  const left = (): number[] => ['arena', 'other'].map((name) => refusals.stepBackMsOf(name));

  beforeEach(() => {
    now = 1_000;
    refusals = new Refusals(500, () => now);
  });

  it.each([
    ['a missing right leaves that scheduler to others', forbidden, [500, 0]],
    ['unknown credentials leave every scheduler to others', unknown, [500, 500]],
    ['an absence leaves none', away, [0, 0]],
    ['anything else leaves none', new Error('it broke'), [0, 0]],
  ])('%s', (_which, error, expected) => {
    refusals.note('arena', error);
    expect(left()).toEqual(expected);
  });

  it('a scheduler is left to others for a while only, anew with each refusal', () => {
    refusals.note('arena', forbidden);
    now += 400;
    expect(left()).toEqual([100, 0]);
    refusals.note('arena', forbidden);
    now += 499;
    expect(left()).toEqual([1, 0]);
    now += 1;
    expect(left()).toEqual([0, 0]);
  });

  it.each([
    [forbidden, true],
    [unknown, true],
    [away, false],
    [new DomainError('failed_precondition', 'runtime.admission_denied', 'no'), false],
    [new Error('runtime.forbidden'), false],
  ])('%s is one: %s', (error, expected) => expect(isRefusal(error)).toBe(expected));
});
