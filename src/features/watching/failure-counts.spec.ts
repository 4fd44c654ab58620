import { FailureCounts } from './failure-counts';

describe('the counts of failed instances', () => {
  const counted: string[] = [];
  const counts = new FailureCounts({
    instanceFailed: (scheduler, reason) => {
      counted.push(`${scheduler}: ${reason}`);
    },
  });
  const room = {
    scheduler: 'arena',
    id: 'room-1',
    status: 'error',
    description: 'ErrImagePull',
    placementProblem: null,
  } as const;
  const news = { isNews: true };
  beforeEach(() => {
    counted.length = 0;
    counts.keepOnly([]);
  });

  it('have each instance once for each reason', () => {
    counts.note(room, news);
    counts.note({ ...room, status: 'pending', description: '' }, news);
    counts.note({ ...room, description: 'ImagePullBackOff' }, news);
    counts.note({ ...room, description: 'CrashLoopBackOff' }, news);
    counts.note({ ...room, id: 'room-2' }, news);
    counts.note({ ...room, scheduler: 'other' }, news);
    expect(counted).toEqual(['arena: image_pull', 'arena: crash_loop', 'arena: image_pull', 'other: image_pull']);
  });

  it('have restarts beside what the instance says, and ends that nobody here asked for', () => {
    const lastEnd = { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs: null };
    const restarted = { ...room, status: 'ready', description: '', restarts: { count: 1, lastEnd } } as const;
    counts.note(restarted, news);
    counts.note({ ...restarted, restarts: { count: 2, lastEnd } }, news);
    counts.noteUnaskedEnd(room, 'deleted by someone else, not by this Maestro');
    counts.noteUnaskedEnd(room, '');
    expect(counted).toEqual(['arena: oom_killed', 'arena: deleted']);
  });

  it('leave out what was known before, also when it is said again', () => {
    counts.note(room, { isNews: false });
    counts.note(room, news);
    expect(counted).toEqual([]);
  });

  it('begin anew with an instance of a name that had gone', () => {
    counts.note(room, news);
    counts.forget(room);
    counts.note(room, news);
    counts.note({ ...room, id: 'room-2' }, news);
    counts.keepOnly([{ ...room, id: 'room-2' }]);
    counts.note(room, news);
    counts.note({ ...room, id: 'room-2' }, news);
    expect(counted).toHaveLength(4);
  });
});
