import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  matchLoad,
  matchLoads,
  nextRoomStatus,
  roomTransitions,
  statusTable,
  statusTableIndex,
  type MatchLoad,
  type StatusFacts,
} from './next-room-status';
import {
  instanceStatuses,
  pingStatuses,
  roomStatuses,
  type InstanceStatus,
  type PingStatus,
  type RoomStatus,
} from './room';

/** Cells of a text table whose columns are the nine statuses, by row name. */
function readTable(text: string): Record<string, string[]> {
  const table: Record<string, string[]> = {};
  for (const line of text.trim().split('\n')) {
    const [name = '', ...cells] = line.trim().split(/\s+/);
    table[name] = cells;
  }
  return table;
}

/** `rooms.md` 2.4: Y allowed, - refused, = no change. Columns in the order of `roomStatuses`. */
const v10 = readTable(`
  pending     = Y Y Y Y Y - - -
  unready     Y = Y Y Y Y - Y -
  ready       - Y = Y Y Y - Y Y
  occupied    - Y Y = Y Y - Y -
  terminating - Y Y - = Y Y - -
  error       - Y Y - Y = - - -
  terminated  - - - - - - = - -
  active      - Y Y Y Y Y - = -
  allocated   - Y Y Y Y Y - Y =
`);

const ours = readTable(`
  pending     pending     unready     ready       occupied    terminating error       terminated active      allocated
  unready     unready     unready     ready       occupied    terminating error       terminated active      allocated
  ready       unready     unready     ready       occupied    terminating error       terminated active      allocated
  occupied    unready     unready     ready       occupied    terminating error       terminated active      allocated
  terminating terminating terminating terminating terminating terminating terminating terminated terminating terminating
  error       unready     unready     ready       occupied    terminating error       terminated active      allocated
  terminated  refused     refused     refused     refused     refused     refused     terminated refused     refused
  active      unready     unready     ready       occupied    terminating error       terminated active      allocated
  allocated   unready     unready     ready       occupied    terminating error       terminated active      allocated
`);

const whyWeDiffer: [RegExp, string][] = [
  [/^terminating -> /, 'a dying room never comes back'],
  [/ -> terminated$/, 'a room may die without a farewell'],
  [/ -> pending$/, 'pending is for rooms that never were up'],
  [/^pending -> active$/, 'a room for several matches may start with some'],
  [/^error -> (occupied|active)$/, 'a room may recover with its matches'],
  [/ -> allocated$/, 'a room may recover with the caller that it was given to'],
];

interface Cell {
  from: RoomStatus;
  to: RoomStatus;
  result: RoomStatus | 'refused';
  before: RoomStatus | 'refused';
  sentence: string;
}

const cells: Cell[] = roomStatuses.flatMap((from) =>
  roomStatuses.map((to, column) => {
    const mark = v10[from]?.[column];
    const before = mark === '=' ? from : mark === 'Y' ? to : 'refused';
    const result = ours[from]?.[column] as Cell['result'];
    const why = whyWeDiffer.find(([pattern]) => pattern.test(`${from} -> ${to}`))?.[1] ?? 'no reason given';
    const sentence =
      `${from} -> ${to} ${result === 'refused' ? 'is refused' : `gives ${result}`}` +
      (result === before ? ', as in v10' : ` (v10: ${before}): ${why}`);
    return { from, to, result, before, sentence };
  }),
);

describe('roomTransitions', () => {
  test.each(cells)('$sentence', ({ from, to, result, sentence }) => {
    expect(roomTransitions[from][to]).toBe(result);
    expect(sentence).not.toContain('no reason given');
  });

  test('all 81 cells are above', () => {
    expect(cells).toHaveLength(81);
  });

  test('the README shows this table', () => {
    const readme = readFileSync(join(__dirname, 'README.md'), 'utf8');
    const rows = readme
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) =>
        line
          .split('|')
          .map((cell) => cell.trim())
          .slice(1, -1),
      )
      .filter(([name]) => name !== undefined && name in roomTransitions);
    expect(rows).toEqual(roomStatuses.map((from) => [from, ...roomStatuses.map((to) => roomTransitions[from][to])]));
  });
});

describe('matchLoad', () => {
  test.each([
    [0, 1, 'single'],
    [3, 1, 'single'],
    [0, 3, 'none'],
    [-1, 3, 'none'],
    [1, 3, 'some'],
    [2, 3, 'some'],
    [3, 3, 'full'],
    [4, 3, 'full'],
    [1, 2, 'some'],
  ])('%p running of at most %p is %s', (running, max, expected) => {
    expect(matchLoad(running, max)).toBe(expected);
  });
});

describe('nextRoomStatus', () => {
  interface Row {
    sentence: string;
    current: RoomStatus;
    ping: PingStatus;
    instance?: InstanceStatus;
    matches?: MatchLoad;
    hasOpenAllocation?: boolean;
    next: RoomStatus | 'refused';
  }
  const rows: Row[] = [
    {
      sentence: 'a room that was given to a caller and still says ready stays allocated',
      current: 'allocated',
      ping: 'ready',
      hasOpenAllocation: true,
      next: 'allocated',
    },
    {
      sentence: 'a room that was given to a caller and says occupied is occupied',
      current: 'allocated',
      ping: 'occupied',
      hasOpenAllocation: true,
      next: 'occupied',
    },
    {
      sentence: 'an allocated room whose allocation is over and that says ready is ready again',
      current: 'allocated',
      ping: 'ready',
      next: 'ready',
    },
    {
      sentence: 'an allocated room whose allocation is over and whose instance is not ready is unready',
      current: 'allocated',
      ping: 'ready',
      instance: 'pending',
      next: 'unready',
    },
    {
      sentence: 'an allocated room whose instance dies is terminating, whatever the allocation',
      current: 'allocated',
      ping: 'ready',
      instance: 'terminating',
      hasOpenAllocation: true,
      next: 'terminating',
    },
    {
      sentence: 'an allocated room whose instance is not ready for a moment stays allocated',
      current: 'allocated',
      ping: 'ready',
      instance: 'pending',
      hasOpenAllocation: true,
      next: 'allocated',
    },
    {
      sentence: 'a room that failed and recovers while a caller still holds it is allocated again',
      current: 'error',
      ping: 'ready',
      hasOpenAllocation: true,
      next: 'allocated',
    },
    {
      sentence: 'a room that failed while a caller holds it is an error room, whatever the allocation',
      current: 'allocated',
      ping: 'ready',
      instance: 'error',
      hasOpenAllocation: true,
      next: 'error',
    },
    {
      sentence: 'a room for several matches is ready although a slot of it was given to a caller',
      current: 'ready',
      ping: 'ready',
      matches: 'none',
      hasOpenAllocation: true,
      next: 'ready',
    },
    {
      sentence: 'a room that was allocated for one match and now takes several follows its matches',
      current: 'allocated',
      ping: 'ready',
      matches: 'some',
      hasOpenAllocation: true,
      next: 'active',
    },
    {
      sentence: 'a room for several matches that says ready but is full is occupied',
      current: 'ready',
      ping: 'ready',
      matches: 'full',
      next: 'occupied',
    },
    {
      sentence: 'a room for several matches that says occupied with some is active',
      current: 'occupied',
      ping: 'occupied',
      matches: 'some',
      next: 'active',
    },
    {
      sentence: 'a room for several matches without any is ready',
      current: 'active',
      ping: 'occupied',
      matches: 'none',
      next: 'ready',
    },
    {
      sentence: 'a room for several matches whose instance is not ready is unready, whatever its matches',
      current: 'active',
      ping: 'occupied',
      instance: 'pending',
      matches: 'some',
      next: 'unready',
    },
    {
      sentence: 'a room for several matches may start with some',
      current: 'pending',
      ping: 'occupied',
      matches: 'some',
      next: 'active',
    },
    {
      sentence: 'a room for one match follows its own word',
      current: 'pending',
      ping: 'occupied',
      next: 'occupied',
    },
    {
      sentence: 'a new room whose instance is up but which has not pinged is unready',
      current: 'pending',
      ping: 'unknown',
      next: 'unready',
    },
    {
      sentence: 'a new room whose instance is not up yet stays pending',
      current: 'pending',
      ping: 'unknown',
      instance: 'pending',
      next: 'pending',
    },
    {
      sentence: 'a ready room whose instance stops being ready is not allocatable',
      current: 'ready',
      ping: 'ready',
      instance: 'pending',
      next: 'unready',
    },
    {
      sentence: 'a ready room that says terminated is terminated at once',
      current: 'ready',
      ping: 'terminated',
      next: 'terminated',
    },
    {
      sentence: 'a terminating room whose late ping says ready stays terminating',
      current: 'terminating',
      ping: 'ready',
      next: 'terminating',
    },
    {
      sentence: 'a terminated room refuses a late ping',
      current: 'terminated',
      ping: 'ready',
      next: 'refused',
    },
  ];

  test.each(rows)(
    '$sentence',
    ({ current, ping, instance = 'ready', matches = 'single', hasOpenAllocation = false, next }) => {
      expect(nextRoomStatus({ current, ping, instance, matches, hasOpenAllocation })).toBe(next);
    },
  );

  const news = fc.record({
    ping: fc.constantFrom(...pingStatuses),
    instance: fc.constantFrom(...instanceStatuses),
    matches: fc.constantFrom(...matchLoads),
    hasOpenAllocation: fc.boolean(),
  });
  /** Every status that a room passes through while it hears this news. */
  const follow = (start: RoomStatus, story: Omit<StatusFacts, 'current'>[]): RoomStatus[] => {
    const path = [start];
    for (const facts of story) {
      const next = nextRoomStatus({ current: path.at(-1) ?? start, ...facts });
      if (next !== 'refused') path.push(next);
    }
    return path;
  };

  test('from terminating nothing but terminating and terminated is ever reached', () => {
    fc.assert(
      fc.property(fc.array(news), (story) => {
        expect(['terminating', 'terminated']).toEqual(expect.arrayContaining(follow('terminating', story)));
      }),
    );
  });

  test('a room that left pending never is pending again', () => {
    fc.assert(
      fc.property(fc.array(news), (story) => {
        const path = follow('pending', story);
        const left = path.findIndex((status) => status !== 'pending');
        if (left >= 0) expect(path.slice(left)).not.toContain('pending');
      }),
    );
  });

  test('without an open allocation, or with several matches, no room is allocated', () => {
    fc.assert(
      fc.property(fc.constantFrom(...roomStatuses), news, (current, facts) => {
        const { matches, hasOpenAllocation } = facts;
        fc.pre(matches !== 'single' || !hasOpenAllocation);
        expect(nextRoomStatus({ current, ...facts })).not.toBe('allocated');
      }),
    );
  });

  test('only a terminated room refuses', () => {
    fc.assert(
      fc.property(fc.constantFrom(...roomStatuses), news, (current, facts) => {
        if (nextRoomStatus({ current, ...facts }) === 'refused') expect(current).toBe('terminated');
      }),
    );
  });

  test('a room for one match is never ready while a caller holds it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...roomStatuses), news, (current, facts) => {
        const given = { ...facts, matches: 'single', hasOpenAllocation: true } as const;
        expect(nextRoomStatus({ current, ...given })).not.toBe('ready');
      }),
    );
  });
});

describe('statusTable', () => {
  const table = statusTable();

  test('agrees with the function on all 1800 combinations', () => {
    const seen = new Set<number>();
    for (const current of roomStatuses)
      for (const ping of pingStatuses)
        for (const instance of instanceStatuses)
          for (const matches of matchLoads)
            for (const hasOpenAllocation of [false, true]) {
              const facts = { current, ping, instance, matches, hasOpenAllocation };
              const index = statusTableIndex(facts);
              const next = nextRoomStatus(facts);
              expect(table[index]).toBe(next === 'refused' ? '-' : String(roomStatuses.indexOf(next)));
              seen.add(index);
            }
    expect(table).toHaveLength(1800);
    expect(seen.size).toBe(1800);
  });

  test('is in the order that the scripts compute', () => {
    // current occupied (3), ping ready (1), instance ready (2), load some (2), with an open allocation (1)
    const facts = {
      current: 'occupied',
      ping: 'ready',
      instance: 'ready',
      matches: 'some',
      hasOpenAllocation: true,
    } as const;
    expect(statusTableIndex(facts)).toBe((((3 * 5 + 1) * 5 + 2) * 4 + 2) * 2 + 1);
  });
});
