import { ApiFailure, domainErrorOf, pauseBeforeRetryMs } from './api-failure';
import type { Status } from './kubernetes-objects';

const nowMs = Date.parse('2026-11-21T10:00:00Z');

function answer(code: number, status: Status | string = {}, retryAfter?: string): ApiFailure {
  const body = typeof status === 'string' ? status : JSON.stringify({ kind: 'Status', code, ...status });
  return ApiFailure.ofAnswer(code, { 'retry-after': retryAfter }, body, nowMs);
}

const forbidden = (message: string): ApiFailure => answer(403, { reason: 'Forbidden', message });

const terminating = { reason: 'Forbidden', details: { causes: [{ reason: 'NamespaceTerminating' }] } };

describe('domainErrorOf', () => {
  it.each<[string, ApiFailure, string, string]>([
    ['no answer', ApiFailure.noAnswer('connect ECONNREFUSED'), 'unavailable', 'runtime.unreachable'],
    ['a wrong spec', answer(422, { reason: 'Invalid' }), 'invalid_argument', 'runtime.spec_invalid'],
    ['a request that is none', answer(400, { reason: 'BadRequest' }), 'invalid_argument', 'runtime.spec_invalid'],
    ['expired credentials', answer(401), 'unavailable', 'runtime.unauthenticated'],
    ['credentials that do not come', ApiFailure.noCredentials('x'), 'unavailable', 'runtime.unauthenticated'],
    [
      'a server that is just starting',
      forbidden('pods "a" is forbidden: not yet ready to handle request'),
      'unavailable',
      'runtime.api_failed',
    ],
    ['a missing right', answer(403, { reason: 'Forbidden' }), 'permission_denied', 'runtime.forbidden'],
    ['a namespace that goes', answer(403, terminating), 'not_found', 'runtime.scheduler_not_found'],
    [
      'a missing right in the words of the authorizer',
      forbidden('pods is forbidden: User "m" cannot create resource "pods" in API group "" in the namespace "arena"'),
      'permission_denied',
      'runtime.forbidden',
    ],
    ['a proxy that lets nobody pass', answer(403, '<html>'), 'permission_denied', 'runtime.forbidden'],
    [
      'a full quota',
      forbidden('pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'),
      'resource_exhausted',
      'runtime.quota_exceeded',
    ],
    [
      'a limit of the namespace',
      forbidden('pods "a" is forbidden: maximum cpu usage per Container is 1, but limit is 2'),
      'failed_precondition',
      'runtime.admission_denied',
    ],
    [
      'a level of security',
      forbidden('pods "a" is forbidden: violates PodSecurity "restricted:latest": hostPort'),
      'failed_precondition',
      'runtime.admission_denied',
    ],
    [
      'a webhook',
      forbidden('admission webhook "policy.example.com" denied the request: no games on Sundays'),
      'failed_precondition',
      'runtime.admission_denied',
    ],
    [
      'a policy',
      forbidden("pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"),
      'failed_precondition',
      'runtime.admission_denied',
    ],
    [
      'a namespace whose controllers have not come yet',
      forbidden(
        'pods "a" is forbidden: error looking up service account arena/default: serviceaccount "default" not found',
      ),
      'unavailable',
      'runtime.scheduler_not_ready',
    ],
    ['nothing there', answer(404, { reason: 'NotFound' }), 'not_found', 'runtime.not_found'],
    ['a taken name', answer(409, { reason: 'AlreadyExists' }), 'already_exists', 'runtime.exists'],
    ['a write that crossed ours', answer(409, { reason: 'Conflict' }), 'unavailable', 'runtime.conflict'],
    ['too many requests', answer(429), 'unavailable', 'runtime.overloaded'],
    ['a broken server', answer(500), 'unavailable', 'runtime.api_failed'],
    ['a proxy without server', answer(503, '<html>'), 'unavailable', 'runtime.api_failed'],
    ['a server that took too long', answer(504, { reason: 'Timeout' }), 'unavailable', 'runtime.api_failed'],
    ['what should not happen', answer(418), 'internal', 'runtime.api_unexpected'],
  ])('%s', (_what, failure, kind, code) => {
    expect(domainErrorOf(failure, 'create pod arena/arena-1')).toMatchObject({ kind, code, cause: failure });
  });

  it("says what was tried, and the server's words", () => {
    const failure = answer(422, { message: 'Pod "arena-1" is invalid: spec.containers[0].image: Required value' });
    expect(domainErrorOf(failure, 'create pod arena/arena-1').message).toBe(
      'Kubernetes did not create pod arena/arena-1: Pod "arena-1" is invalid: spec.containers[0].image: Required value',
    );
  });
});

describe('pauseBeforeRetryMs', () => {
  it.each([
    ['the first pause', answer(500), 1, 0, 50],
    ['it doubles', answer(500), 3, 0, 200],
    ['up to two seconds, were there more attempts', answer(500), 5, 0, 800],
    ['less a fifth at random', answer(500), 1, 1, 40],
    ['without an answer', ApiFailure.noAnswer('gone'), 2, 0, 100],
    ['as long as the server wants', answer(429, {}, '3'), 1, 0, 3_000],
    ['until the server wants', answer(503, {}, 'Sat, 21 Nov 2026 10:00:05 GMT'), 1, 0, 5_000],
    ['what the status says', answer(500, { details: { retryAfterSeconds: 1 } }), 1, 0, 1_000],
    ['a header that says nothing', answer(429, {}, 'soon'), 1, 0, 50],
    ['not a sixth time', answer(500), 6, 0, null],
    ['not a wrong spec', answer(422), 1, 0, null],
    ['not a missing right', answer(403), 1, 0, null],
    ['not a conflict', answer(409), 1, 0, null],
    ['not a change that crossed another', answer(409, { reason: 'Conflict' }), 1, 0, null],
    ['a server that is just starting', forbidden('pods "a" is forbidden: not yet ready to handle request'), 1, 0, 50],
  ])('%s', (_what, failure, attempt, random, expected) => {
    expect(pauseBeforeRetryMs(failure, { attempt, random, makes: false })).toBe(expected);
  });

  it('counts a quota anew that another server counted too, and no name that is taken', () => {
    const message = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified';
    const first = { attempt: 1, random: 0, makes: true };
    expect(pauseBeforeRetryMs(answer(409, { reason: 'Conflict', message }), first)).toBe(50);
    expect(pauseBeforeRetryMs(answer(409, { reason: 'AlreadyExists' }), first)).toBeNull();
  });
});

describe('ApiFailure', () => {
  it.each([
    ['410', ApiFailure.ofStatus({ kind: 'Status', code: 410, reason: 'Expired' })],
    ['a word', ApiFailure.ofStatus({ kind: 'Status', code: 500, reason: 'Expired' })],
  ])('knows by %s that a version is forgotten', (_what, failure) => {
    expect(failure.isExpired).toBe(true);
    expect(answer(500).isExpired).toBe(false);
  });
});
