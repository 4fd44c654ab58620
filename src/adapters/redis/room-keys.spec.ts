import { allPartitionKeys, hearingKey, partitionOf, partitionTag, schedulerKeys, scriptKeys } from './room-keys';

describe('partitionOf', () => {
  // Frozen: another value would lose the rooms of that scheduler. Computed apart, with Python.
  it.each([
    ['', 25],
    ['a', 32],
    ['pvp', 1],
    ['foobar', 52],
    ['scheduler-1', 48],
    ['scheduler-2', 57],
    ['zooba-us', 19],
    ['arena', 19],
    ['Ünïcode-测试', 62],
    ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 15],
  ])('puts %p in partition %i', (scheduler, partition) => {
    expect(partitionOf(scheduler)).toBe(partition);
  });

  it('spreads schedulers evenly', () => {
    const sizes = new Array<number>(64).fill(0);
    for (let number = 0; number < 6_400; number += 1) {
      const partition = partitionOf(`scheduler-${number}`);
      sizes[partition] = sizes[partition]! + 1;
    }
    expect(Math.min(...sizes)).toBeGreaterThan(50);
    expect(Math.max(...sizes)).toBeLessThan(150);
  });
});

describe('schedulerKeys', () => {
  it('tags all keys of a scheduler and its partition alike, so that one cluster node holds them', () => {
    const keys = scriptKeys(schedulerKeys('pvp'));
    expect(keys).toHaveLength(23);
    expect(new Set(keys).size).toBe(23);
    const tag = partitionTag(partitionOf('pvp'));
    for (const key of keys) {
      // Redis Cluster takes what stands between the first { and the } after it.
      expect(/\{(.*?)\}/.exec(key)![0]).toBe(tag);
      expect(key.startsWith('maestro:')).toBe(true);
    }
  });

  it('keeps the tag and the schedulers apart whatever the name holds', () => {
    const names = ['a', 'a:rooms', 'a:', ':a', '{p00}', 'a}b{c', 'ü', 'a b'];
    const keys = names.flatMap((name) => scriptKeys(schedulerKeys(name)).slice(0, 7));
    expect(new Set(keys).size).toBe(names.length * 7);
    expect(/\{(.*?)\}/.exec(schedulerKeys('{p00}').rooms)![0]).toBe(partitionTag(partitionOf('{p00}')));
  });

  it('is the same for ever', () => {
    expect(scriptKeys(schedulerKeys('pvp'))).toEqual([
      'maestro:{p01}:scheduler:pvp:rooms',
      'maestro:{p01}:scheduler:pvp:counts',
      'maestro:{p01}:scheduler:pvp:by-status',
      'maestro:{p01}:scheduler:pvp:metadata',
      'maestro:{p01}:scheduler:pvp:transitions',
      'maestro:{p01}:scheduler:pvp:hosts',
      'maestro:{p01}:scheduler:pvp:free',
      'maestro:{p01}:scheduler:pvp:allocations',
      'maestro:{p01}:scheduler:pvp:waiting',
      'maestro:{p01}:events',
      'maestro:{p01}:resyncs',
      'maestro:{p01}:allocation-times',
      'maestro:{p01}:scheduler:pvp:ids',
      'maestro:{p01}:scheduler:pvp:ended',
      'maestro:{p01}:scheduler:pvp:early-ends',
      'maestro:{p01}:scheduler:pvp:end-reasons',
      'maestro:{p01}:schedulers',
      'maestro:{p01}:synced',
      'maestro:{p01}:scheduler:pvp:waiters',
      'maestro:{p01}:scheduler:pvp:not-created',
      'maestro:{p01}:scheduler:pvp:lost',
      'maestro:{p01}:scheduler:pvp:health-record',
      'maestro:{p01}:scheduler:pvp:failures',
    ]);
    expect(hearingKey).toBe('maestro:{p00}:hearing');
  });
});

describe('allPartitionKeys', () => {
  it('names 64 partitions', () => {
    const keys = allPartitionKeys();
    expect(new Set(keys.map((each) => each.synced)).size).toBe(64);
    expect(keys[7]).toEqual({
      schedulers: 'maestro:{p07}:schedulers',
      synced: 'maestro:{p07}:synced',
      events: 'maestro:{p07}:events',
      resyncs: 'maestro:{p07}:resyncs',
      allocationTimes: 'maestro:{p07}:allocation-times',
    });
  });
});
