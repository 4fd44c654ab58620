import { FakeDesiredRoomsWebhook } from '../support/fake-desired-rooms-webhook';
import { describeDesiredRoomsWebhookContract } from './desired-rooms-webhook.contract';

describeDesiredRoomsWebhookContract('fake', async () => {
  const webhook = new FakeDesiredRoomsWebhook();
  let services = 0;
  return {
    webhook,
    service: async (conduct) => {
      const url = `http://service-${(services += 1)}.test/`;
      webhook.setConduct(url, conduct === 'talks otherwise' ? { fails: 'bad_status' } : conduct);
      return url;
    },
    nowhere: async () => 'http://nowhere.test/',
    received: (asked) => webhook.asked.filter(({ url }) => url === asked).length,
    dispose: async () => undefined,
  };
});
