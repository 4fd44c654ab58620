import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** The user that an embedded server runs as. */
export interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Who the embedded servers run as: undefined means as ourselves. PostgreSQL refuses to run as root, so root lends it
 * the user `postgres` if the machine has one, else `nobody`; nothing is added to the machine. Data that a server left
 * decides first: it stays with its owner, also when the next start is by `sudo`.
 */
export function chooseServerAccount(existingData?: string): ServerAccount | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const owner = existingData === undefined ? undefined : ownerOf(existingData);
  if (owner !== undefined && owner.uid !== 0) return owner;
  const passwd = readFileSync('/etc/passwd', 'utf8');
  return accountNamed(passwd, 'postgres') ?? accountNamed(passwd, 'nobody');
}

/** The user and group ids of a name in the text of /etc/passwd (passwd(5)), or undefined. */
export function accountNamed(passwd: string, name: string): ServerAccount | undefined {
  for (const line of passwd.split('\n')) {
    const [user, , uid, gid] = line.split(':');
    if (user === name && Number(uid) > 0) return { uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}

/**
 * Whether the account may read the file or pass through the directory: it and every directory above it let the account
 * in by their mode. Access lists beyond the mode are not read; where they matter the answer errs to the mode's side.
 */
export function canReach(path: string, account: ServerAccount): boolean {
  const real = realpathOrUndefined(path);
  if (real === undefined) return false;
  const stat = statSync(real);
  if (!allows(stat, account, stat.isDirectory() ? 0o1 : 0o4)) return false;
  for (let at = dirname(real); ; at = dirname(at)) {
    if (!allows(statSync(at), account, 0o1)) return false;
    if (at === dirname(at)) return true;
  }
}

/** Whether the mode grants the account the permission (1 execute or pass, 2 write, 4 read). */
export function allows(
  file: { mode: number; uid: number; gid: number },
  account: ServerAccount,
  permission: number,
): boolean {
  const shift = file.uid === account.uid ? 6 : file.gid === account.gid ? 3 : 0;
  return ((file.mode >> shift) & permission) === permission;
}

function ownerOf(path: string): ServerAccount | undefined {
  try {
    const { uid, gid } = statSync(path);
    return { uid, gid };
  } catch {
    return undefined;
  }
}

function realpathOrUndefined(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
