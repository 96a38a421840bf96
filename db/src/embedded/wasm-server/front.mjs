// Lets many PostgreSQL clients share the one backend of a PGlite database, over its wire protocol.
//
// The backend is one session. So that clients do not disturb one another,
// - a client's messages up to its Sync are one unit, and units never interleave;
// - a client inside `begin … commit` keeps the backend until its transaction ends, or until it hangs up: then it is rolled back;
// - the names of prepared statements get a prefix for each client, and are dropped when it leaves.
// What stays shared are session settings (`set …`) and session advisory locks.

import { createServer } from 'node:net';

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;
const PROTOCOL_3 = 196608;
// A batch of 10,000 events with names of 256 bytes is under 4 MiB; nothing legitimate comes near this.
const LONGEST_MESSAGE = 64 * 1024 * 1024;

const CLOSE_PATIENCE_MS = 5_000;

/** Takes turns: `acquire` resolves when all who asked before have released. */
class Turns {
  #last = Promise.resolve();

  acquire() {
    let release;
    const mine = new Promise((resolve) => (release = resolve));
    const before = this.#last;
    this.#last = before.then(() => mine);
    return before.then(() => release);
  }
}

const message = (type, ...parts) => {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const cstring = (text) => Buffer.from(`${text}\0`);
const int32 = (n) => {
  const b = Buffer.alloc(4);
  b.writeInt32BE(n);
  return b;
};
const readyForQuery = (status) => message('Z', Buffer.from(status));
const errorResponse = (code, text) =>
  message('E', cstring('SFATAL'), cstring('VFATAL'), cstring(`C${code}`), cstring(`M${text}`), Buffer.from([0]));

/** Gives the statement named in a Parse, Bind, Describe or Close message the client's prefix; unnamed ones stay unnamed. */
const renameStatement = (msg, prefix) => {
  const type = String.fromCharCode(msg[0]);
  let at;
  if (type === 'P') at = 5;
  else if (type === 'B') at = msg.indexOf(0, 5) + 1;
  else if ((type === 'D' || type === 'C') && msg[5] === 0x53 /* S */) at = 6;
  else return msg;
  if (msg[at] === 0) return msg;
  const renamed = Buffer.concat([msg.subarray(0, at), Buffer.from(prefix), msg.subarray(at)]);
  renamed.writeInt32BE(renamed.length - 1, 1);
  return renamed;
};

/** The transaction status in the last ReadyForQuery of a reply: I (none), T (in one), E (in a failed one). */
const statusOf = (reply) => String.fromCharCode(reply[reply.length - 1]);

class Client {
  #socket;
  #db;
  #turns;
  #prefix;
  #parameters;
  #buffer = Buffer.alloc(0);
  #started = false;
  #unit = [];
  #release = null;
  #status = 'I';
  #gone = false;

  constructor({ socket, db, turns, id, parameters }) {
    this.#socket = socket;
    this.#db = db;
    this.#turns = turns;
    this.#prefix = `c${id}_`;
    this.#parameters = parameters;
  }

  async serve() {
    this.#socket.setNoDelay(true);
    try {
      for await (const chunk of this.#socket) {
        this.#buffer = this.#buffer.length ? Buffer.concat([this.#buffer, chunk]) : chunk;
        await this.#consume();
        if (this.#gone) break;
      }
    } catch (error) {
      if (!['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(error.code)) console.error(error);
    } finally {
      // A client that cannot be tidied up after must not end the server for the others.
      await this.#leave().catch((error) => console.error(error));
      this.#socket.destroy();
    }
  }

  async #consume() {
    for (;;) {
      if (!this.#started) {
        if (this.#buffer.length < 8) return;
        const length = this.#buffer.readInt32BE(0);
        if (length < 8 || length > 10_000) return this.#hangUp();
        if (this.#buffer.length < length) return;
        const code = this.#buffer.readInt32BE(4);
        this.#buffer = this.#buffer.subarray(length);
        this.#startup(code);
      } else {
        if (this.#buffer.length < 5) return;
        const length = 1 + this.#buffer.readInt32BE(1);
        if (length < 5 || length > LONGEST_MESSAGE) return this.#hangUp();
        if (this.#buffer.length < length) return;
        const msg = this.#buffer.subarray(0, length);
        this.#buffer = this.#buffer.subarray(length);
        await this.#accept(msg);
      }
      if (this.#gone) return;
    }
  }

  #startup(code) {
    if (code === SSL_REQUEST || code === GSS_REQUEST) {
      this.#socket.write('N');
    } else if (code === CANCEL_REQUEST) {
      this.#hangUp();
    } else if (code === PROTOCOL_3) {
      this.#started = true;
      const parameters = Object.entries(this.#parameters).map(([k, v]) => message('S', cstring(k), cstring(v)));
      this.#socket.write(
        Buffer.concat([message('R', int32(0)), ...parameters, message('K', int32(1), int32(0)), readyForQuery('I')]),
      );
    } else {
      this.#socket.write(errorResponse('08P01', 'only version 3.0 of the protocol is spoken here'));
      this.#hangUp();
    }
  }

  async #accept(msg) {
    const type = String.fromCharCode(msg[0]);
    if (type === 'X') return this.#hangUp();
    this.#unit.push(renameStatement(msg, this.#prefix));
    if (type === 'Q' || type === 'S') {
      const unit = this.#unit;
      this.#unit = [];
      await this.#run(unit);
    }
  }

  async #run(unit) {
    this.#release ??= await this.#turns.acquire();
    if (!this.#socket.destroyed) {
      const replies = [];
      for (const msg of unit) {
        replies.push(Buffer.from(await this.#db.execProtocolRaw(new Uint8Array(msg))));
      }
      const reply = Buffer.concat(replies);
      this.#status = statusOf(reply);
      this.#socket.write(reply);
    }
    this.#releaseIfIdle();
  }

  #releaseIfIdle() {
    if (this.#status === 'I' && this.#release) {
      this.#release();
      this.#release = null;
    }
  }

  #hangUp() {
    this.#gone = true;
    this.#socket.end();
  }

  async #leave() {
    this.#gone = true;
    this.#release ??= await this.#turns.acquire();
    if (this.#status !== 'I') await this.#db.exec('rollback');
    const { rows } = await this.#db.query('select name from pg_prepared_statements where starts_with(name, $1)', [this.#prefix]);
    for (const { name } of rows) await this.#db.exec(`deallocate "${name}"`);
    this.#status = 'I';
    this.#releaseIfIdle();
  }
}

/** Serves `db` at `path`; resolves once it listens. `close` waits for what is under way, but not for ever for a client that has a
 * transaction open: that is rolled back by the end of the backend. */
export const listen = async ({ db, path, parameters }) => {
  const turns = new Turns();
  const sockets = new Set();
  let id = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    new Client({ socket, db, turns, id: ++id, parameters }).serve();
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(path, resolve));
  return {
    async close() {
      server.close();
      await Promise.race([turns.acquire(), new Promise((resolve) => setTimeout(resolve, CLOSE_PATIENCE_MS))]);
      for (const socket of sockets) socket.destroy();
    },
  };
};
