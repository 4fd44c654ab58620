/** What a service of the game said when it was asked how many rooms there should be. */
export interface WebhookAnswer {
  desired: number;
  /** When it said so, by the clock of `nowMs`; the answer of this very look is of `nowMs`. */
  atMs: number;
}

/** What is known of a webhook that has not answered the last time that it was asked. One of the first two is there. */
export interface WebhookSilence {
  /** The last question that failed, where none was answered since. `detail` is a sentence without the URL's query. */
  failure: { detail: string; atMs: number } | null;
  /** When the question was asked that is still on its way; null where none is. */
  askedAtMs: number | null;
  /** When it is asked again, at the earliest; null while a question is on its way. */
  askedAgainAtMs: number | null;
}

/** What policies go by, besides the fleet. */
export interface PolicyFacts {
  nowMs: number;
  /** The last good answer of each webhook that ever gave one, by its URL. Policies that name the same URL share it. */
  webhookAnswers?: ReadonlyMap<string, WebhookAnswer>;
  /** Of those that did not answer this look, by URL. */
  webhookSilences?: ReadonlyMap<string, WebhookSilence>;
}
