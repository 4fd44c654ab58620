import type { FoundPlace } from '../domain/room/plan-room-adoption';

/**
 * The rooms of a Maestro v10 in the cluster that ours uses, by the labels that v10 gives them. Nothing is ended or started by it:
 * what is taken carries our mark from then on, and our runtime finds it.
 *
 * All calls throw as the runtime does: `runtime.unreachable` and the like (unavailable), `runtime.forbidden` (permission_denied).
 */
export abstract class V10Rooms {
  /** What the cluster has of this scheduler; null when it has no place of this name. */
  abstract find(scheduler: string): Promise<FoundPlace | null>;

  /** Marks a room as ours. Idempotent. `gone`: it ended meanwhile, or another has its name. */
  abstract takeRoom(scheduler: string, id: string, uid: string): Promise<'taken' | 'gone'>;

  /**
   * Marks the place itself as ours: from then on rooms can be started in it, and it is left standing when its scheduler is
   * deleted. Idempotent. `changed`: it is not as it was found;
   * nothing was written.
   */
  abstract takePlace(scheduler: string, place: FoundPlace): Promise<'taken' | 'changed'>;
}
