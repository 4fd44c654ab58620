import { countFleet, emptyFleetCounts } from './count-fleet';
import { aRoom } from './room.fixture';

describe('countFleet', () => {
  test('counts rooms and instances by status, and running matches', () => {
    const counts = countFleet([
      aRoom(),
      aRoom(),
      aRoom({ status: 'active', runningMatches: 2 }),
      aRoom({ status: 'pending', instance: { status: 'pending' } }),
    ]);
    const empty = emptyFleetCounts();
    expect(counts).toEqual({
      rooms: { ...empty.rooms, ready: 2, active: 1, pending: 1 },
      instances: { ...empty.instances, ready: 3, pending: 1 },
      runningMatches: 2,
    });
  });

  test('leaves validation rooms out', () => {
    expect(countFleet([aRoom({ validation: true, runningMatches: 1 })])).toEqual(emptyFleetCounts());
  });
});
