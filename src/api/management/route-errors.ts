import type { RouteError } from '../http/call-rpc';

/** What the routes can answer beside what every route can, for the documentation. The texts are those of the features. */

export const unknownScheduler = (before = ''): RouteError => ({
  when: 'There is no such scheduler.',
  example: `${before}scheduler arena-eu not found`,
});
export const unknownVersion: RouteError = {
  when: 'There is no such scheduler, or it has no such version.',
  example: 'scheduler arena-eu not found',
};
export const nameTaken: RouteError = {
  when: 'There is a scheduler of this name.',
  example: 'error creating scheduler arena-eu: name already exists',
};
export const invalidDefinition: RouteError = {
  when: 'The definition breaks rules; each has a line that names the field.',
  example: 'Validation Error:\nScheduler.MaxSurge: MaxSurge is a required field',
};
export const invalidPatch: RouteError = {
  when: 'The patched definition breaks rules, each with a line that names the field; or `extensions.clear` names what is not there.',
  example:
    "invalid patched scheduler: Key: 'Scheduler.MaxSurge' Error:Field validation for 'MaxSurge' failed on the 'max_surge' tag",
};
export const openVersionChange = (refusal: string): RouteError => ({
  when: 'Another new version or switch of the scheduler has not ended (cancel it, or wait for it), or the scheduler is being deleted.',
  example: `${refusal}: there is already an ongoing version operation (id: 1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10) for scheduler arena-eu`,
});
export const noChange: RouteError = {
  when: 'The patch asks for nothing.',
  example: 'no change found to scheduler arena-eu',
};
export const versionsContended = (refusal: string): RouteError => ({
  when: 'Version changes follow one another too fast to get between them; try again.',
  example: `${refusal}: version changes of scheduler arena-eu follow one another too fast; try again`,
});
export const invalidListing: RouteError = {
  when: 'The stage, the order or the page is none that there is.',
  example: 'invalid stage filter: done',
};
export const unknownOperation: RouteError = {
  when: 'There is no such scheduler, or no such operation of it.',
  example: 'operation 1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10 not found in scheduler arena-eu',
};
export const invalidRoomListing: RouteError = {
  when: 'The status or the page is none that there is.',
  example: 'perPage must be from 1 to 1000, got 0',
};
export const unknownRoom: RouteError = {
  when: 'There is no such scheduler, or no such room of it.',
  example: 'room arena-eu-x7k2p not found in scheduler arena-eu',
};
export const undrainableRoom: RouteError = {
  when: 'The room was to be drained, and only tries a version.',
  example:
    'room arena-eu-x7k2p of scheduler arena-eu only tries a version: no player is in it, and it goes with its operation',
};
export const operationEnded: RouteError = {
  when: 'The operation has ended.',
  example: 'cannot cancel operation since status "finished" is a final status',
};
export const invalidPauseReason: RouteError = {
  when: 'The reason is too long.',
  example: 'the reason of a pause may have 500 characters, and has 501',
};
export const invalidBacktest: RouteError = {
  when: 'A field breaks its rule, the policy would be refused for a scheduler, or the backtest or its simulated fleet is too large.',
  example: 'malformed request: field "load[3].time": must be later than the time of the point before',
};
export const backtestsBusy: RouteError = {
  when: 'Another backtest is computed.',
  example: 'This process computes another backtest; ask again when it is done, or use `maestro backtest`.',
};
