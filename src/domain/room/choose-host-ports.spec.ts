import fc from 'fast-check';
import { DomainError } from '../errors';
import type { PortRange } from '../scheduler/scheduler';
import { chooseHostPorts } from './choose-host-ports';

const aContainer = (ports: (PortRange | undefined)[], name = 'game') => ({
  name,
  ports: ports.map((hostPortRange, index) => ({ name: `port-${index}`, hostPortRange })),
});
const none: ReadonlySet<number> = new Set();
const range = (start: number, end: number): PortRange => ({ start, end });
const codeOf = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error instanceof DomainError ? error.code : error;
  }
};

describe('chooseHostPorts', () => {
  const draws = fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true }));

  test('five ports of 1000-1004 are a permutation of all five', () => {
    fc.assert(
      fc.property(draws, (stream) => {
        const [ports = []] = chooseHostPorts({
          containers: [aContainer(Array<undefined>(5).fill(undefined))],
          portRange: range(1000, 1004),
          taken: none,
          random: () => Number(stream.next().value),
        });
        expect([...ports].sort()).toEqual([1000, 1001, 1002, 1003, 1004]);
      }),
    );
  });

  test('seven ports of 1000-1004 are refused, naming range and port', () => {
    const choose = () =>
      chooseHostPorts({
        containers: [aContainer(Array<undefined>(7).fill(undefined))],
        portRange: range(1000, 1004),
        taken: none,
        random: () => 0.3,
      });
    expect(choose).toThrow(
      'Host port range 1000-1004 has no free port left for port "port-5" of container "game"; widen the range or run fewer rooms.',
    );
    expect(codeOf(choose)).toBe('room.host_ports_exhausted');
  });

  test('a range of one port has one', () => {
    expect(
      chooseHostPorts({
        containers: [aContainer([undefined])],
        portRange: range(1000, 1000),
        taken: none,
        random: () => 1,
      }),
    ).toEqual([[1000]]);
  });

  test('ports are handed out by container and port', () => {
    const containers = [
      aContainer([range(1, 9), range(100, 109)], 'game'),
      aContainer([], 'quiet'),
      aContainer([range(200, 209)], 'side'),
    ];
    expect(chooseHostPorts({ containers, portRange: undefined, taken: none, random: () => 0 })).toEqual([
      [1, 100],
      [],
      [200],
    ]);
  });

  test('the last free port of a nearly full range is found', () => {
    const taken = new Set(Array.from({ length: 4999 }, (_, index) => 40_000 + index));
    expect(
      chooseHostPorts({
        containers: [aContainer([undefined])],
        portRange: range(40_000, 44_999),
        taken,
        random: () => 0,
      }),
    ).toEqual([[44_999]]);
  });

  test('a port moves where another one has no choice', () => {
    const containers = [aContainer([range(1000, 1001), range(1000, 1000)])];
    expect(chooseHostPorts({ containers, portRange: undefined, taken: none, random: () => 0 })).toEqual([[1001, 1000]]);
  });

  test('overlapping ranges that are too small together are refused', () => {
    const containers = [aContainer([range(1000, 1001), range(1000, 1001), range(1000, 1001)])];
    expect(codeOf(() => chooseHostPorts({ containers, portRange: undefined, taken: none, random: () => 0 }))).toBe(
      'room.host_ports_exhausted',
    );
  });

  test('a port without any range is refused', () => {
    expect(
      codeOf(() =>
        chooseHostPorts({ containers: [aContainer([undefined])], portRange: undefined, taken: none, random: () => 0 }),
      ),
    ).toBe('room.host_port_range_missing');
  });

  test('whatever the ranges, chosen ports are distinct, free and in range, and a refusal is never wrong', () => {
    const smallRange = fc
      .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 3 }))
      .map(([start, more]) => range(start, start + more));
    const canPlace = (ranges: PortRange[], used: Set<number>): boolean => {
      const [first, ...rest] = ranges;
      if (!first) return true;
      for (let port = first.start; port <= first.end; port++) {
        if (!used.has(port) && canPlace(rest, new Set([...used, port]))) return true;
      }
      return false;
    };
    fc.assert(
      fc.property(
        fc.array(smallRange, { maxLength: 5 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }),
        draws,
        (ranges, takenPorts, stream) => {
          const taken = new Set(takenPorts);
          const result = codeOf(() =>
            chooseHostPorts({
              containers: [aContainer(ranges)],
              portRange: undefined,
              taken,
              random: () => Number(stream.next().value),
            }),
          );
          if (!canPlace(ranges, taken)) return expect(result).toBe('room.host_ports_exhausted');
          const [ports = []] = result as number[][];
          expect(new Set(ports).size).toBe(ranges.length);
          ports.forEach((port, index) => {
            expect(taken.has(port)).toBe(false);
            expect(port).toBeGreaterThanOrEqual(ranges[index]?.start ?? Infinity);
            expect(port).toBeLessThanOrEqual(ranges[index]?.end ?? -Infinity);
          });
        },
      ),
    );
  });
});
