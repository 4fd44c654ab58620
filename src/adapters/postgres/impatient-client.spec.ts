import { ImpatientClient } from './impatient-client';

describe('a connection to PostgreSQL', () => {
  it('that ends while nobody listens does not end the process', () => {
    expect(new ImpatientClient().emit('error', new Error('terminating connection due to administrator command'))).toBe(
      true,
    );
  });
});
