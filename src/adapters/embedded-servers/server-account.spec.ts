import { accountNamed, allows } from './server-account';

const passwd = 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n';

describe('accountNamed', () => {
  it('finds user and group', () => {
    expect(accountNamed(passwd, 'nobody')).toEqual({ uid: 65534, gid: 65533 });
  });

  it('finds nothing for an unknown name', () => {
    expect(accountNamed(passwd, 'postgres')).toBeUndefined();
  });

  it('never gives root away', () => {
    expect(accountNamed(passwd, 'root')).toBeUndefined();
  });
});

describe('allows', () => {
  const account = { uid: 100, gid: 200 };
  it.each([
    ['lets others pass through a public directory', { mode: 0o40755, uid: 0, gid: 0 }, 0o1, true],
    ["keeps others out of root's private directory", { mode: 0o40700, uid: 0, gid: 0 }, 0o1, false],
    ['judges the owner by the first digit alone', { mode: 0o100077, uid: 100, gid: 0 }, 0o4, false],
    ['judges a group member by the second digit', { mode: 0o100640, uid: 0, gid: 200 }, 0o4, true],
  ])('%s', (_name, file, permission, expected) => {
    expect(allows(file, account, permission)).toBe(expected);
  });
});
