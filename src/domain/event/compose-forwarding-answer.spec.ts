import { composeForwardingAnswer } from './compose-forwarding-answer';
import type { DeliveryOutcome } from './delivery';

const taken: DeliveryOutcome = { delivered: true, responseCode: 500, responseMessage: 'no' };
const late: DeliveryOutcome = { delivered: false, code: 'DeadlineExceeded', reason: 'no answer' };
const away: DeliveryOutcome = { delivered: false, code: 'Unavailable', reason: 'nobody listens' };

describe('the answer to who sent an event', () => {
  it.each<[string, [string, DeliveryOutcome][], { success: boolean; message: string }]>([
    ['is success where every forwarder took it, whatever it said', [['a', taken]], { success: true, message: '' }],
    [
      'names the forwarder that did not',
      [
        ['a', taken],
        ['b', late],
      ],
      { success: false, message: 'failed to forward event room at "b" with code DeadlineExceeded: no answer' },
    ],
    [
      'says no reason where none is known',
      [['a', { delivered: false, code: 'Internal', reason: '' }]],
      { success: false, message: 'failed to forward event room at "a" with code Internal' },
    ],
    [
      'names every one that did not',
      [
        ['a', away],
        ['b', taken],
        ['say "c"', late],
      ],
      {
        success: false,
        message:
          'failed to forward event room at "a" with code Unavailable: nobody listens; ' +
          'failed to forward event room at "say \\"c\\"" with code DeadlineExceeded: no answer',
      },
    ],
  ])('%s', (_name, deliveries, expected) => {
    expect(composeForwardingAnswer(deliveries.map(([name, outcome]) => ({ forwarder: { name }, outcome })))).toEqual(
      expected,
    );
  });
});
