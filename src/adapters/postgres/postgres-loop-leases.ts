import { LoopLeases } from '../../ports/loop-leases';
import type { PostgresUnitOfWork } from './postgres-unit-of-work';

export class PostgresLoopLeases extends LoopLeases {
  constructor(private readonly database: PostgresUnitOfWork) {
    super();
  }

  override async acquire(name: string, owner: string, ttlMs: number): Promise<{ token: string } | null> {
    const [row] = await this.database.rows<{ token: string }>(
      `INSERT INTO maestro.leases AS l (name, owner, token, expires_at)
       VALUES ($1, $2, nextval('maestro.fencing_tokens'), clock_timestamp() + $3 * interval '1 millisecond')
       ON CONFLICT (name) DO UPDATE SET
         token = CASE WHEN l.owner = excluded.owner AND l.expires_at >= clock_timestamp() THEN l.token ELSE excluded.token END,
         owner = excluded.owner, expires_at = excluded.expires_at
       WHERE l.owner = excluded.owner OR l.expires_at < clock_timestamp()
       RETURNING token`,
      [name, owner, ttlMs],
    );
    return row === undefined ? null : { token: row.token };
  }

  override async release(name: string, owner: string): Promise<void> {
    await this.database.rows(`DELETE FROM maestro.leases WHERE name = $1 AND owner = $2`, [name, owner]);
  }
}
