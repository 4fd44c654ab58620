import { planSchedulerImport, type SchedulerImportPlan } from './plan-scheduler-import';
import type { KeptHistory, SchedulerHistory, VersionRecord } from './scheduler-history';
import { aContainer, aDefinition, type Changes } from './scheduler.fixture';

const at = (day: number) => new Date(Date.UTC(2024, 0, day));

const aVersion = (version: string, day: number, changes: Changes = {}, rollbackVersion = ''): VersionRecord => ({
  version,
  definition: aDefinition(changes),
  rollbackVersion,
  createdAt: at(day),
});

const [one, two] = [aVersion('v1.0.0', 1), aVersion('v1.1.0', 2, { roomsReplicas: 5 }, 'v1.0.0')];
const otherImage = { spec: { containers: [aContainer({ image: 'game:2' })] } };

const inV10 = (changes: Partial<SchedulerHistory> = {}): SchedulerHistory => ({
  name: 'fleet',
  version: 'v1.0.0',
  createdAt: at(1),
  lastDownscaleAt: null,
  versions: [one],
  ...changes,
});
const here = (changes: Partial<KeptHistory> = {}): KeptHistory => ({
  ...inV10(),
  state: 'in-sync',
  isAsImported: true,
  ...changes,
});
const refuse = (reason: string): SchedulerImportPlan => ({ action: 'refuse', reason });
const update = (...changes: string[]): SchedulerImportPlan => ({ action: 'update', changes });

describe('planSchedulerImport', () => {
  test('adds what is not here', () => {
    expect(planSchedulerImport(inV10(), null, false)).toEqual({ action: 'add' });
  });

  test.each<[string, SchedulerHistory, KeptHistory, SchedulerImportPlan]>([
    ['leaves what is the same', inV10(), here(), { action: 'none' }],
    ['passes over the last downscale', inV10({ lastDownscaleAt: at(9) }), here(), { action: 'none' }],
    [
      'leaves what was made here and says the same',
      inV10(),
      here({ createdAt: at(5), isAsImported: false, versions: [aVersion('v1.0.0', 5)] }),
      { action: 'none' },
    ],
    [
      'leaves what an operation touched here without changing it',
      inV10(),
      here({ isAsImported: false, state: 'creating' }),
      { action: 'none' },
    ],
    [
      'follows a new version',
      inV10({ versions: [one, two], version: 'v1.1.0' }),
      here(),
      update('new versions v1.1.0', 'active v1.0.0 → v1.1.0 (roomsReplicas)'),
    ],
    [
      'follows a version that is not active yet',
      inV10({ versions: [one, two] }),
      here(),
      update('new versions v1.1.0'),
    ],
    [
      'follows a switch back',
      inV10({ versions: [one, two] }),
      here({ versions: [one, two], version: 'v1.1.0' }),
      update('active v1.1.0 → v1.0.0 (roomsReplicas)'),
    ],
    [
      'follows a version that v10 rewrote, and says what rooms must be made anew for',
      inV10({ versions: [aVersion('v1.0.0', 1, otherImage, 'v0.9.0')] }),
      here(),
      update('v1.0.0 says otherwise: spec.containers[0].image (major)', 'v1.0.0 rolls back to v0.9.0'),
    ],
    [
      'never touches what was changed here',
      inV10({ versions: [one, two] }),
      here({ isAsImported: false }),
      refuse('it was changed here after its import: v1.0.0 is active here, v1.0.0 in v10'),
    ],
    [
      'never touches a version that was made here',
      inV10(),
      here({ versions: [one, two] }),
      refuse('it has versions here that v10 lacks: v1.1.0'),
    ],
    [
      'never touches a version that was made here under the number that v10 gave to another',
      inV10({ versions: [one, two] }),
      here({ versions: [one, aVersion('v1.1.0', 3)] }),
      refuse('versions of the same number were made here and in v10: v1.1.0'),
    ],
    [
      'never touches another scheduler of the name',
      inV10(),
      here({ createdAt: at(5), versions: [aVersion('v1.0.0', 5, { roomsReplicas: 7 })] }),
      refuse(
        'it is another scheduler of this name: made 2024-01-05T00:00:00.000Z here, 2024-01-01T00:00:00.000Z in v10',
      ),
    ],
    [
      'never brings back what is being deleted',
      inV10(),
      here({ state: 'terminating', isAsImported: false }),
      refuse('it is being deleted here'),
    ],
  ])('%s', (_, wanted, kept, plan) => {
    expect(planSchedulerImport(wanted, kept, false)).toEqual(plan);
  });

  test('stays out of the way of a version change, unless there is nothing to do', () => {
    expect(planSchedulerImport(inV10({ versions: [one, two] }), here(), true)).toEqual(
      refuse('an operation is changing its version here'),
    );
    expect(planSchedulerImport(inV10(), here(), true)).toEqual({ action: 'none' });
  });
});
