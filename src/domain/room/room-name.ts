/** Letters and digits that Kubernetes uses for generated names: none that form words or look alike. */
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789';
const suffixLength = 5;
/** A room's name is a pod's host name too: an RFC 1123 label. */
const maxNameLength = 63;

/**
 * A name for a new room: the scheduler's, cut where it is too long, and five random characters (14 million names).
 * `random` answers a number from 0 to 1 for each character. Two rooms may draw the same name: the store refuses the second.
 */
export function roomName(scheduler: string, random: () => number): string {
  const prefix = scheduler.slice(0, maxNameLength - suffixLength - 1).replace(/-+$/, '');
  const draw = (): string =>
    suffixAlphabet.charAt(Math.min(Math.floor(random() * suffixAlphabet.length), suffixAlphabet.length - 1));
  return `${prefix}-${Array.from({ length: suffixLength }, draw).join('')}`;
}
