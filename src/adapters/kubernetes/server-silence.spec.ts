import { ServerSilence } from './server-silence';

describe('ServerSilence', () => {
  let now: number;
  let lines: [string, object, string][];
  let silence: ServerSilence;

  beforeEach(() => {
    now = 0;
    lines = [];
    const write = (level: string) => (fields: object, message: string) => lines.push([level, fields, message]);
    silence = new ServerSilence({ info: write('info'), warn: write('warn') }, () => now);
  });

  it('is told at the first call without answer, then once a minute, and when it is over', () => {
    silence.unanswered('no answer in time');
    for (now = 1_000; now < 60_000; now += 1_000) silence.unanswered('no answer in time');
    expect(lines).toEqual([
      ['warn', { err: 'no answer in time', silent_ms: 0 }, 'the API server of Kubernetes does not answer'],
    ]);
    silence.unanswered('connect ECONNREFUSED');
    expect(lines[1]?.[1]).toEqual({ err: 'connect ECONNREFUSED', silent_ms: 60_000, left_out: 59 });
    now = 70_000;
    silence.answered(403);
    expect(lines.slice(2)).toEqual([['info', { silent_ms: 70_000 }, 'the API server of Kubernetes answers again']]);
    silence.unanswered('no answer in time');
    expect(lines).toHaveLength(4);
  });

  it('of nobody is none to tell of', () => {
    silence.answered(200);
    silence.answered(200);
    expect(lines).toEqual([]);
  });

  it('serves nobody once calls fail and none was served for that long', () => {
    expect(silence.servesNobodyFor(10)).toBe(false);
    silence.answered(404);
    now = 100;
    expect(silence.servesNobodyFor(10)).toBe(false);
    silence.unanswered('no answer in time');
    expect([silence.servesNobodyFor(10), silence.servesNobodyFor(100)]).toEqual([true, false]);
    silence.answered(200);
    now = 200;
    expect(silence.servesNobodyFor(10)).toBe(false);
    silence.answered(503);
    expect(silence.servesNobodyFor(10)).toBe(true);
  });
});
