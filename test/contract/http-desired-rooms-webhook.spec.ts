import { HttpDesiredRoomsWebhook } from '../../src/adapters/http-webhook/http-desired-rooms-webhook';
import { WebhookServices } from '../support/webhook-services';
import { describeDesiredRoomsWebhookContract } from './desired-rooms-webhook.contract';

describeDesiredRoomsWebhookContract('HTTP', async () => {
  const services = new WebhookServices();
  return {
    webhook: new HttpDesiredRoomsWebhook({ allowGuardedAddresses: false }),
    service: (conduct) =>
      services.open(({ socket }, response) => {
        if (conduct === 'talks otherwise') {
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
        } else if (conduct !== 'never answers') response.end(JSON.stringify(conduct));
      }),
    nowhere: () => services.nowhere(),
    received: (url) => services.received(url).length,
    dispose: () => services.close(),
  };
});
