import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';

/** A database of Maestro v10 for one test, filled with `v10-database.sql`. */
export interface V10UnderTest {
  url: string;
  /** v10 goes on: what it writes while, or after, it is imported. Answers the rows of the last statement. */
  sql<R = Record<string, unknown>>(text: string, parameters?: unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

const dump = readFileSync(join(__dirname, 'v10-database.sql'), 'utf8');
let made = 0;

/** On the server of `serverUrl`, in a database of its own, or in that of the address itself. */
export async function openV10Database(serverUrl: string, { inSameDatabase = false } = {}): Promise<V10UnderTest> {
  const url = new URL(serverUrl);
  if (!inSameDatabase) {
    url.pathname = `/v10_${(made += 1)}`;
    await withClient(serverUrl, (client) => client.query(`CREATE DATABASE ${url.pathname.slice(1)}`));
  }
  const client = new Client({ connectionString: url.href });
  await client.connect();
  await client.query(dump);
  return {
    url: url.href,
    sql: async <R>(text: string, parameters?: unknown[]) => (await client.query(text, parameters)).rows as R[],
    close: async () => {
      if (inSameDatabase) {
        await client.query(
          'DROP TABLE public.scheduler_versions, public.schedulers, public.users, public.schema_migrations',
        );
      }
      await client.end();
    },
  };
}

async function withClient(url: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await work(client).finally(() => client.end());
}
