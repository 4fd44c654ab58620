import { FakeEventForwarder } from '../support/fake-event-forwarder';
import { describeEventForwarderContract } from './event-forwarder.contract';

let nextPort = 1;

describeEventForwarderContract('fake', async () => {
  const forwarder = new FakeEventForwarder();
  return {
    forwarder,
    backend: async (conduct) => {
      const address = `backend:${nextPort++}`;
      const fails = typeof conduct === 'object' && 'fails' in conduct;
      forwarder.setBackend(address, fails ? { failure: conduct.fails, reason: conduct.reason } : conduct);
      return address;
    },
    nowhere: async () => `nowhere:${nextPort++}`,
    received: (address) => forwarder.sent.filter(({ endpoint }) => endpoint.address === address).length,
    dispose: async () => undefined,
  };
});
