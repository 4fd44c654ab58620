import fc from 'fast-check';
import { DomainError } from '../errors';
import type { PortRange } from '../scheduler/scheduler';
import {
  chooseHostPorts,
  hostPortKey,
  wantedHostPorts,
  type CountHolders,
  type WantedHostPort,
} from './choose-host-ports';
import { lacksHostPort } from './failure-reason';
import { hostPoolOf } from './host-pool';

const range = (start: number, end: number): PortRange => ({ start, end });
const want = (wantedRange: PortRange, protocol = 'tcp', name = 'port-0'): WantedHostPort => ({
  container: 'game',
  name,
  protocol,
  range: wantedRange,
});
const wants = (count: number, wantedRange: PortRange): WantedHostPort[] =>
  Array.from({ length: count }, (_, index) => want(wantedRange, 'tcp', `port-${index}`));
const held =
  (counts: Record<string, number> = {}): CountHolders =>
  (protocol, port) =>
    counts[`${protocol}/${port}`] ?? 0;
const alone = { holders: held(), hosts: 1, random: () => 0 };
const failureOf = (run: () => unknown): DomainError => {
  try {
    run();
  } catch (error) {
    return error as DomainError;
  }
  throw new Error('it did not fail');
};
const draws = fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true }));

describe('wantedHostPorts', () => {
  const container = (name: string, ...ranges: (PortRange | undefined)[]) => ({
    name,
    ports: ranges.map((hostPortRange, index) => ({ name: `port-${index}`, protocol: 'udp', hostPortRange })),
  });

  it("takes the scheduler's range for all ports, by container and port", () => {
    const wanted = wantedHostPorts([container('a', range(1, 2), undefined), container('b', range(3, 4))], range(8, 9));
    expect(wanted.map((port) => [port.container, port.name, port.range])).toEqual([
      ['a', 'port-0', range(8, 9)],
      ['a', 'port-1', range(8, 9)],
      ['b', 'port-0', range(8, 9)],
    ]);
  });

  it("takes each port's own range where the scheduler has none", () => {
    const wanted = wantedHostPorts([container('a', range(1, 2), range(3, 4))], undefined);
    expect(wanted.map((port) => port.range)).toEqual([range(1, 2), range(3, 4)]);
  });

  it('refuses a port without any range', () => {
    const { code, kind } = failureOf(() => wantedHostPorts([container('a', range(1, 2), undefined)], undefined));
    expect([code, kind]).toEqual(['room.host_port_range_missing', 'invalid_argument']);
  });
});

describe('chooseHostPorts', () => {
  it('gives five ports of 1000-1004 a permutation of all five', () => {
    fc.assert(
      fc.property(draws, (stream) => {
        const random = () => Number(stream.next().value);
        const ports = chooseHostPorts({ ...alone, wanted: wants(5, range(1000, 1004)), random });
        expect([...ports].sort()).toEqual([1000, 1001, 1002, 1003, 1004]);
      }),
    );
  });

  it('refuses seven ports of 1000-1004, and names range, protocol and port', () => {
    const error = failureOf(() => chooseHostPorts({ ...alone, wanted: wants(7, range(1000, 1004)) }));
    expect(error).toMatchObject({ code: 'room.host_ports_exhausted', kind: 'resource_exhausted' });
    expect(lacksHostPort((error as Error).message)).toBe(true);
    expect(error.message).toBe(
      'Host port range 1000-1004 has no TCP port left for port "port-5" of container "game": 0 of its 5 numbers are taken (a number can be had once, because rooms run on 1 machine), and this room needs more than the rest; widen the range, run fewer rooms.',
    );
  });

  it('says how many are taken and how many machines bound that', () => {
    const holders = held({ 'UDP/7': 2, 'UDP/8': 3, 'TCP/7': 1 });
    const error = failureOf(() => chooseHostPorts({ ...alone, wanted: [want(range(7, 8), 'udp')], holders, hosts: 2 }));
    expect(error.message).toBe(
      'Host port range 7-8 has no UDP port left for port "port-0" of container "game": each of its 2 numbers is taken (a number can be had 2 times, because rooms run on 2 machines); widen the range, run fewer rooms or add machines.',
    );
    expect(error.details).toEqual({ range: range(7, 8), protocol: 'UDP', held: 2, hosts: 2 });
  });

  it.each<[string, Record<string, number>, number, number | null]>([
    ['the only number that nobody holds', { 'TCP/1': 1, 'TCP/3': 1 }, 1, 2],
    ['a number that nobody holds, also where others may be had again', { 'TCP/1': 1, 'TCP/3': 1 }, 9, 2],
    ['the number that the fewest hold', { 'TCP/1': 3, 'TCP/2': 2, 'TCP/3': 1 }, 9, 3],
    ['the number that still may be had', { 'TCP/1': 2, 'TCP/2': 2, 'TCP/3': 1 }, 2, 3],
    ['a number that only another protocol uses', { 'TCP/1': 1, 'UDP/2': 1, 'TCP/3': 1 }, 1, 2],
    ['none where each is held once and there is one machine', { 'TCP/1': 1, 'TCP/2': 1, 'TCP/3': 1 }, 1, null],
    ['none where more rooms hold them than there are machines', { 'TCP/1': 5, 'TCP/2': 3, 'TCP/3': 3 }, 2, null],
    ['none that must not be had', { 'TCP/1': Infinity, 'TCP/2': Infinity, 'TCP/3': Infinity }, 9, null],
  ])('takes %s', (_what, counts, hosts, expected) => {
    const choose = () => chooseHostPorts({ ...alone, wanted: [want(range(1, 3))], holders: held(counts), hosts });
    if (expected === null) expect(failureOf(choose).code).toBe('room.host_ports_exhausted');
    else expect(choose()).toEqual([expected]);
  });

  it.each<[string, Record<string, number>, Record<string, number>, number | null]>([
    ['a number that nobody holds in any pool', { 'TCP/1': 1 }, { 'TCP/3': 100 }, 2],
    [
      'the number that the fewest of the pool hold, whoever has it elsewhere',
      { 'TCP/1': 1, 'TCP/2': 1 },
      { 'TCP/3': 100 },
      3,
    ],
    ['of these the one that the fewest hold elsewhere', {}, { 'TCP/1': 100, 'TCP/2': 99, 'TCP/3': 100 }, 2],
    ['none where the pool has its machines full', { 'TCP/1': 2, 'TCP/2': 2, 'TCP/3': 2 }, {}, null],
  ])('where other pools have rooms, takes %s', (_what, own, others, expected) => {
    const choose = () =>
      chooseHostPorts({ ...alone, wanted: [want(range(1, 3))], holders: held(own), elsewhere: held(others), hosts: 2 });
    if (expected === null) expect(failureOf(choose).code).toBe('room.host_ports_exhausted');
    else expect(choose()).toEqual([expected]);
  });

  it('names the pool whose machines are full', () => {
    const pool = hostPoolOf({ affinity: 'games', toleration: '' });
    const facts = { ...alone, wanted: [want(range(7, 7))], holders: held({ 'TCP/7': 2 }), hosts: 2, pool };
    const { message, details } = failureOf(() => chooseHostPorts(facts));
    expect(message).toContain(
      '(a number can be had 2 times, because rooms with affinity "games" and no toleration run on 2 machines)',
    );
    expect(details).toMatchObject({ pool, hosts: 2 });
  });

  it('gives ports of different protocols the same number where there is no other', () => {
    const wanted = [want(range(5, 5), 'tcp'), want(range(5, 5), 'UDP')];
    expect(chooseHostPorts({ ...alone, wanted })).toEqual([5, 5]);
  });

  it('does not give a room the same number twice, however its protocol is written', () => {
    const wanted = [want(range(5, 5), 'tcp'), want(range(5, 5), 'TCP')];
    expect(failureOf(() => chooseHostPorts({ ...alone, wanted })).code).toBe('room.host_ports_exhausted');
  });

  it('finds the last free port of a nearly full range', () => {
    const holders: CountHolders = (_protocol, port) => (port < 44_999 ? 1 : 0);
    expect(chooseHostPorts({ ...alone, wanted: [want(range(40_000, 44_999))], holders })).toEqual([44_999]);
  });

  it('moves a port where another one has no choice', () => {
    expect(chooseHostPorts({ ...alone, wanted: [want(range(1000, 1001)), want(range(1000, 1000))] })).toEqual([
      1001, 1000,
    ]);
  });

  it('moves a port rather than to give a number again', () => {
    const wanted = [want(range(1, 2)), want(range(1, 1))];
    expect(chooseHostPorts({ wanted, holders: held(), hosts: 2, random: () => 0 })).toEqual([2, 1]);
  });

  describe('whatever is held and wanted', () => {
    const smallRange = fc
      .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 3 }))
      .map(([start, more]) => range(start, start + more));
    const facts = fc.record({
      wanted: fc.array(fc.tuple(smallRange, fc.constantFrom('tcp', 'udp')), { maxLength: 5 }),
      counts: fc.dictionary(
        fc.tuple(fc.constantFrom('TCP', 'UDP'), fc.integer({ min: 1, max: 9 })).map((parts) => parts.join('/')),
        fc.integer({ min: 1, max: 3 }),
        { maxKeys: 12 },
      ),
      others: fc.dictionary(
        fc.tuple(fc.constantFrom('TCP', 'UDP'), fc.integer({ min: 1, max: 9 })).map((parts) => parts.join('/')),
        fc.integer({ min: 1, max: 9 }),
        { maxKeys: 12 },
      ),
      hosts: fc.integer({ min: 1, max: 3 }),
    });

    /** The most numbers without holder that any choice has; null when there is no choice at all. */
    function bestOf(
      wanted: WantedHostPort[],
      counts: Record<string, number>,
      others: Record<string, number>,
      hosts: number,
      used: string[] = [],
    ): number | null {
      const [first, ...rest] = wanted;
      if (!first) return 0;
      let best: number | null = null;
      for (let port = first.range.start; port <= first.range.end; port++) {
        const key = hostPortKey(first.protocol, port);
        const holders = counts[key] ?? 0;
        if (used.includes(key) || holders >= hosts) continue;
        const ofRest = bestOf(rest, counts, others, hosts, [...used, key]);
        const isFree = holders === 0 && others[key] === undefined;
        if (ofRest !== null) best = Math.max(best ?? 0, ofRest + (isFree ? 1 : 0));
      }
      return best;
    }

    it('ports are distinct, in range and within the bound, as few as possible are held, and a refusal is never wrong', () => {
      fc.assert(
        fc.property(facts, draws, ({ wanted: pairs, counts, others, hosts }, stream) => {
          const wanted = pairs.map(([wantedRange, protocol]) => want(wantedRange, protocol));
          const choose = () =>
            chooseHostPorts({
              wanted,
              holders: held(counts),
              elsewhere: held(others),
              hosts,
              random: () => Number(stream.next().value),
            });
          const best = bestOf(wanted, counts, others, hosts);
          if (best === null) return expect(failureOf(choose).code).toBe('room.host_ports_exhausted');
          const ports = choose();
          const keys = ports.map((port, index) => hostPortKey(wanted[index]!.protocol, port));
          expect(new Set(keys).size).toBe(wanted.length);
          ports.forEach((port, index) => {
            expect(port).toBeGreaterThanOrEqual(wanted[index]!.range.start);
            expect(port).toBeLessThanOrEqual(wanted[index]!.range.end);
            expect(counts[keys[index]!] ?? 0).toBeLessThan(hosts);
          });
          expect(keys.filter((key) => counts[key] === undefined && others[key] === undefined)).toHaveLength(best);
        }),
        { numRuns: 500 },
      );
    });
  });
});
