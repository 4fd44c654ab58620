import { RecordedLog } from '../../test/support/recorded-log';
import { RepeatedWarnings, repeatedWarningIntervalMs } from './repeated-warnings';

describe('a warning that repeats', () => {
  let now: number;
  let log: RecordedLog;
  let warnings: RepeatedWarnings;

  beforeEach(() => {
    [now, log] = [0, new RecordedLog()];
    warnings = new RepeatedWarnings(log, () => now);
  });

  const said = () => log.lines.map(({ level, message, fields }) => [level, message, fields]);

  it('is written at once, then once per interval with the count of those left out', () => {
    for (const room of ['a', 'b', 'c']) warnings.warn({ room }, 'not stored');
    now = repeatedWarningIntervalMs - 1;
    warnings.warn({ room: 'd' }, 'not stored');
    expect(said()).toEqual([['warn', 'not stored', { room: 'a' }]]);
    now = repeatedWarningIntervalMs;
    for (const room of ['e', 'f']) warnings.warn({ room }, 'not stored');
    expect(said().slice(1)).toEqual([['warn', 'not stored', { room: 'e', left_out: 3 }]]);
    now = 10 * repeatedWarningIntervalMs;
    warnings.warn({ room: 'g' }, 'not stored');
    now = 20 * repeatedWarningIntervalMs;
    warnings.warn({ room: 'h' }, 'not stored');
    expect(said().slice(2)).toEqual([
      ['warn', 'not stored', { room: 'g', left_out: 1 }],
      ['warn', 'not stored', { room: 'h' }],
    ]);
  });

  it('hides no other message, and no other kind of the same', () => {
    for (let time = 0; time < 2; time++) {
      warnings.warn({}, 'not stored', 'away');
      warnings.warn({}, 'not stored', 'full');
      warnings.warn({}, 'not served', 'away');
    }
    expect(said().map(([, message]) => message)).toEqual(['not stored', 'not stored', 'not served']);
  });
});
