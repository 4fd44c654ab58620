/** What makes the rooms of `maestro-in-process.ts` misbehave. */

/** An image whose rooms run and say nothing. */
export const silentImage = 'never-pings';
/** An image whose rooms end with an error as soon as they run. */
export const crashingImage = 'crashes-at-once';
/** A scheduler with such a name is never set up: its `create_scheduler` stays in progress. */
export const stuckNamePrefix = 'stuck-';
/** A scheduler with such a name cannot be set up: there is something of that name in the runtime. */
export const takenNamePrefix = 'taken-';
