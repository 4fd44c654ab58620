import { codeOfDelivery, deliveryCodes } from './delivery';

describe('a delivery', () => {
  it.each([
    [200, 'OK'],
    [404, 'NotFound'],
    [406, 'FailedPrecondition'],
    [500, 'Internal'],
    [0, 'Unknown'],
    [201, 'Unknown'],
    [-1, 'Unknown'],
  ])('that was answered with %i is counted as %s', (responseCode, code) => {
    expect(codeOfDelivery({ delivered: true, responseCode, responseMessage: '' })).toBe(code);
  });

  it('that failed is counted as what it failed with', () => {
    expect(codeOfDelivery({ delivered: false, code: 'Unavailable', reason: 'nobody listens' })).toBe('Unavailable');
  });

  it('has a word for each of gRPC’s 17 codes', () => {
    expect(deliveryCodes).toHaveLength(17);
    expect([deliveryCodes[0], deliveryCodes[4], deliveryCodes[14]]).toEqual(['OK', 'DeadlineExceeded', 'Unavailable']);
  });
});
