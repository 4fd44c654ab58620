import { Registry } from 'prom-client';
import { GrpcEventForwarder } from '../../src/adapters/grpc-forwarder/grpc-event-forwarder';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { deliveryCodes } from '../../src/domain/event/delivery';
import { RecordingForwarder } from '../support/recording-forwarder';
import { describeEventForwarderContract } from './event-forwarder.contract';

describeEventForwarderContract('gRPC', async () => {
  const backends = new Map<string, RecordingForwarder>();
  return {
    forwarder: new GrpcEventForwarder(
      { keepAliveTimeMs: 30_000, keepAliveTimeoutMs: 5_000 },
      new PrometheusMetrics(new Registry()),
    ),
    backend: async (conduct) => {
      const backend = await RecordingForwarder.start();
      const fails = typeof conduct === 'object' && 'fails' in conduct;
      backend.conduct = fails ? { status: deliveryCodes.indexOf(conduct.fails), details: conduct.reason } : conduct;
      backends.set(backend.address, backend);
      return backend.address;
    },
    nowhere: async () => {
      const backend = await RecordingForwarder.start();
      await backend.stop();
      return backend.address;
    },
    received: (address) => backends.get(address)!.calls.length,
    dispose: async () => void (await Promise.all([...backends.values()].map((backend) => backend.stop()))),
  };
});
