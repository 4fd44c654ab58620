import { causeLine, lastLines, saysPortTaken } from './start-on-free-port';

describe('saysPortTaken', () => {
  it.each([
    ['PostgreSQL', 'LOG:  could not bind IPv4 address "127.0.0.1": Address already in use', true],
    [
      'Redis',
      '# Warning: Could not create server TCP listening socket 127.0.0.1:6379: bind: Address already in use',
      true,
    ],
    ['Node', 'Error: listen EADDRINUSE: address already in use 127.0.0.1:6379', true],
    ['a server with another trouble', 'FATAL:  could not write lock file', false],
  ])('understands %s', (_server, log, expected) => {
    expect(saysPortTaken(log)).toBe(expected);
  });
});

describe('lastLines', () => {
  it('quotes the last three lines that say something', () => {
    expect(lastLines('one\ntwo\n\nthree\n  four  \n\n')).toBe('two / three / four');
  });

  it('does not quote a line twice', () => {
    expect(lastLines('the port is taken\nthe port is taken\n')).toBe('the port is taken');
  });
});

describe('causeLine', () => {
  it.each([
    [
      'PostgreSQL’s error, without time and process',
      '2025-11-21 09:00:00.123 UTC [42] FATAL:  could not write to file "x": No space left on device\nchild process exited with exit code 1\n',
      'FATAL:  could not write to file "x": No space left on device',
    ],
    [
      'the error behind a warning',
      'initdb: warning: odd\ninitdb: error: could not create directory "y": Read-only file system\ninitdb: hint: z',
      'initdb: error: could not create directory "y": Read-only file system',
    ],
    [
      'the first line, where none is marked',
      '\nENOSPC: no space left on device, write\n  at x',
      'ENOSPC: no space left on device, write',
    ],
    [
      'the hint that makes it clear',
      'FATAL:  could not extend file "a": wrote only 4096 of 8192 bytes at block 8\nHINT:  Check free disk space.\n',
      'FATAL:  could not extend file "a": wrote only 4096 of 8192 bytes at block 8 (Check free disk space)',
    ],
    ['nothing in nothing', '\n', ''],
  ])('finds %s', (_case, text, line) => {
    expect(causeLine(text)).toBe(line);
  });
});
