// The peers on Node: one process serves one of them. Its arguments are the
// candidate's name, its port and the folder that all share.
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { RedisStore } from 'connect-redis';
import express from 'express';
import { expressjwt } from 'express-jwt';
import session from 'express-session';
import { createClient } from 'redis';

const [name, port, folder] = process.argv.slice(2);
const read = (file) => readFileSync(join(folder, file), 'utf8');
const users = () => read('users').trimEnd().split('\n');

const hello = (response, user) => response.type('text/plain').send(`Hello ${user}!\n`);
const refuse = (response) => response.status(401).type('text/plain').send('Please sign in.\n');

// Two headers that cost time and that the others do not send are left out.
const app = express();
app.disable('x-powered-by');
app.disable('etag');

// Every candidate gets its credentials in here, and then answers GET /.
const candidates = {
  express() {
    const [user] = users();
    app.get('/', (_, response) => hello(response, user));
  },

  async 'express-session'() {
    const client = createClient({ url: read('redis') });
    await client.connect();
    const store = new RedisStore({ client });
    const secret = randomBytes(32).toString('hex');
    const headers = await Promise.all(users().map(async (user) => {
      const id = randomBytes(24).toString('base64url');
      await store.set(id, { cookie: { originalMaxAge: null, httpOnly: true, path: '/' }, user });
      const mac = createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '');
      return `Cookie: connect.sid=${encodeURIComponent(`s:${id}.${mac}`)}\n`;
    }));
    writeFileSync(join(folder, `${name}.headers`), headers.join(''));
    app.use(session({ store, secret, resave: false, saveUninitialized: false }));
    app.get('/', (request, response) => (
      request.session.user ? hello(response, request.session.user) : refuse(response)));
  },

  'express-jwt-es256': () => tokens('ES256'),
  'express-jwt-rs256': () => tokens('RS256'),
};

function tokens(algorithm) {
  app.use(expressjwt({
    secret: read(`${algorithm}.pem`), algorithms: [algorithm], issuer: read('issuer'), audience: read('audience'),
  }));
  app.get('/', (request, response) => hello(response, request.auth.sub));
  // Express tells a handler of errors by its four parameters.
  app.use((error, request, response, next) => (
    error.name === 'UnauthorizedError' ? refuse(response) : next(error)));
}

await candidates[name]();
app.listen(Number(port), '127.0.0.1', () => console.log('ready'));
