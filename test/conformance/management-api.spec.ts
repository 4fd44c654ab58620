import { GrpcClient } from '../support/grpc-client';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import { conformanceGroups } from './conformance-cases';
import { GrpcWire, namesOf, replayCase, RestClient, type Wire } from './replay-case';

/**
 * Every case of `docs/conformance.md`, over both wires, against the management API as it is deployed: its ports, PostgreSQL,
 * Redis, a worker that runs the operations and a watcher that follows the rooms, which are pretended.
 */
describe('the management API keeps the promises of its specification', () => {
  let maestro: MaestroInProcess;
  let rest: RestClient;
  let client: GrpcClient;

  beforeAll(async () => {
    maestro = await startMaestroInProcess(['management-api', 'rooms-api', 'worker', 'runtime-watcher'], {
      // Schedulers that are never set up keep a worker's slot each.
      MAESTRO_WORKERS_CONCURRENCY: '1000',
    });
    rest = new RestClient(`http://127.0.0.1:${maestro.ports.management}`);
    client = new GrpcClient(maestro.ports.managementGrpc);
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await maestro?.close();
  }, 60_000);

  const wires: [name: string, wire: () => Wire][] = [
    ['REST', () => rest],
    ['gRPC', () => new GrpcWire(client)],
  ];
  let replays = 0;

  describe.each(wires)('over %s', (wireName, wire) => {
    for (const { section, title, cases } of conformanceGroups) {
      const replayed = cases.filter(({ restOnly }) => wireName === 'REST' || restOnly === undefined);
      if (replayed.length === 0) continue;
      describe(`${section} ${title}`, () => {
        it.concurrent.each(replayed.map((each) => [each.says, each] as const))(
          '%s',
          async (_says, conformanceCase) => {
            await replayCase(conformanceCase, { wire: wire(), rest, names: namesOf(`${++replays}`) });
          },
          30_000,
        );
      });
    }
  });

  it('says each thing once', () => {
    const sentences = conformanceGroups.flatMap(({ title, cases }) => cases.map(({ says }) => `${title}: ${says}`));
    expect(sentences.filter((sentence, index) => sentences.indexOf(sentence) < index)).toEqual([]);
  });
});
