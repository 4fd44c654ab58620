import { planRoomAdoption, type AdoptionFacts, type FoundPlace, type FoundRoom } from './plan-room-adoption';

const nowMs = 10_000_000;
const scheduler = { state: 'in-sync', version: 'v2.0.0', versions: ['v1.0.0', 'v2.0.0'] };

const aRoom = (id: string, changes: Partial<FoundRoom> = {}): FoundRoom => ({
  id,
  uid: `uid-${id}`,
  version: 'v2.0.0',
  holder: null,
  isGoing: false,
  createdAtMs: nowMs - 3_600_000,
  ...changes,
});
const aPlace = (changes: Partial<FoundPlace> = {}): FoundPlace => ({
  holder: null,
  isGoing: false,
  revision: '7',
  rooms: [aRoom('one'), aRoom('two')],
  ...changes,
});
const plan = (place: FoundPlace | null, changes: Partial<AdoptionFacts> = {}) =>
  planRoomAdoption({ place, installation: 'us', scheduler, nowMs, ...changes });
const taken = (place: FoundPlace) => {
  const decided = plan(place);
  if (decided.action !== 'take') throw new Error(`it does not take, but says ${JSON.stringify(decided)}`);
  return { ids: decided.rooms.map(({ id }) => id), takesPlace: decided.takesPlace, remarks: decided.remarks };
};

describe('planRoomAdoption', () => {
  it('takes rooms and place', () => {
    expect(taken(aPlace())).toEqual({ ids: ['one', 'two'], takesPlace: true, remarks: [] });
  });

  it('takes a place without rooms', () => {
    expect(taken(aPlace({ rooms: [] }))).toEqual({ ids: [], takesPlace: true, remarks: [] });
  });

  it('goes on where it was interrupted', () => {
    const rooms = [aRoom('one', { holder: 'us' }), aRoom('two')];
    expect(taken(aPlace({ rooms }))).toMatchObject({ ids: ['two'], takesPlace: true });
    expect(taken(aPlace({ holder: 'us', rooms }))).toMatchObject({ ids: ['two'], takesPlace: false });
  });

  it('has nothing to do where all is ours', () => {
    const rooms = [aRoom('one', { holder: 'us' })];
    expect(plan(aPlace({ holder: 'us', rooms }))).toEqual({ action: 'none' });
    const ending = [aRoom('one', { isGoing: true })];
    expect(plan(aPlace({ holder: 'us', rooms: ending }))).toEqual({ action: 'none' });
  });

  it('leaves alone what ends, and says so', () => {
    const rooms = [aRoom('one', { isGoing: true }), aRoom('two')];
    expect(taken(aPlace({ rooms }))).toEqual({
      ids: ['two'],
      takesPlace: true,
      remarks: ['1 pod left alone: it is ending'],
    });
  });

  it('tells of rooms whose version is another than the active one', () => {
    const rooms = [
      aRoom('one', { version: 'v1.0.0' }),
      aRoom('two', { version: 'v9.0.0' }),
      aRoom('three', { version: 'v9.0.0' }),
      aRoom('four', { version: '' }),
    ];
    expect(taken(aPlace({ rooms })).remarks).toEqual([
      '1 pod of version v1.0.0, which is not the active one (v2.0.0 is)',
      '2 pods of version v9.0.0, which is not among those that are here (v2.0.0 is)',
      '1 pod of version (none), which is not among those that are here (v2.0.0 is)',
    ]);
  });

  it('suspects a v10 that runs where a room is young', () => {
    const rooms = [aRoom('one'), aRoom('two', { createdAtMs: nowMs - 12_000 })];
    expect(taken(aPlace({ rooms })).remarks).toEqual([
      "the youngest pod is 12 s old: make sure that v10's worker is stopped",
    ]);
    expect(taken(aPlace({ rooms: [aRoom('one', { createdAtMs: nowMs - 90_000 })] })).remarks).toEqual([]);
  });

  it.each<[string, FoundPlace | null, Partial<AdoptionFacts>, string]>([
    ['a scheduler that is not here', aPlace(), { scheduler: null }, 'import it first'],
    [
      'one that is being deleted',
      aPlace(),
      { scheduler: { ...scheduler, state: 'terminating' } },
      'being deleted here',
    ],
    ['one without namespace', null, {}, 'no namespace of this name'],
    ['a namespace that is being deleted', aPlace({ isGoing: true }), {}, 'namespace is being deleted'],
    ["another installation's namespace", aPlace({ holder: 'them' }), {}, 'another Maestro, installation them'],
    [
      "another installation's pod, though the rest is v10's",
      aPlace({ rooms: [aRoom('one'), aRoom('two', { holder: 'them' })] }),
      {},
      'pod two belongs to another Maestro, installation them',
    ],
  ])('refuses %s', (_what, place, changes, reason) => {
    expect(plan(place, changes)).toEqual({ action: 'refuse', reason: expect.stringContaining(reason) as string });
  });
});
