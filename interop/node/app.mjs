// An application that signs people in with openid-client and is told of sign-outs by the
// back channel. Its settings come as JSON in the first argument.
import { createServer } from 'node:http'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oidc from 'openid-client'

const me = JSON.parse(process.argv[2])
const config = await oidc.discovery(new URL(me.issuer), me.id, me.secret, oidc.ClientSecretBasic(me.secret), { execute: [oidc.allowInsecureRequests] })
const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri))
const own = `http://localhost:${me.port}`
const flows = new Map() // by state
const people = new Map() // by cookie

const routes = {
  async 'GET /login'(_, answer) {
    const verifier = oidc.randomPKCECodeVerifier()
    const [state, nonce] = [oidc.randomState(), oidc.randomNonce()]
    flows.set(state, { verifier, nonce })
    const address = oidc.buildAuthorizationUrl(config, {
      redirect_uri: own + '/callback', scope: 'openid email', state, nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    })
    answer.writeHead(303, { location: address.href }).end()
  },
  async 'GET /callback'(request, answer) {
    const here = new URL(request.url, own)
    const state = here.searchParams.get('state')
    const { verifier, nonce } = flows.get(state)
    flows.delete(state)
    const tokens = await oidc.authorizationCodeGrant(config, here, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true })
    const cookie = oidc.randomState()
    people.set(cookie, tokens)
    answer.writeHead(303, { location: own + '/me', 'set-cookie': `node_app=${cookie}; HttpOnly; Path=/` }).end()
  },
  async 'GET /me'(request, answer) {
    const tokens = people.get(cookieOf(request))
    answer.writeHead(tokens ? 200 : 401, { 'content-type': 'application/json' })
    answer.end(JSON.stringify(tokens ? { sub: tokens.claims().sub, access: tokens.access_token } : {}))
  },
  async 'GET /logout'(request, answer) {
    const tokens = people.get(cookieOf(request))
    people.delete(cookieOf(request))
    const address = oidc.buildEndSessionUrl(config, { post_logout_redirect_uri: own + '/me', id_token_hint: tokens.id_token })
    answer.writeHead(303, { location: address.href }).end()
  },
  async 'POST /backchannel'(request, answer) {
    let body = ''
    for await (const part of request) body += part
    const token = new URLSearchParams(body).get('logout_token')
    const { payload } = await jwtVerify(token, keys, { issuer: me.issuer, audience: me.id, typ: 'logout+jwt', requiredClaims: ['jti', 'iat', 'events'] })
    if (!payload.events['http://schemas.openid.net/event/backchannel-logout'] || payload.nonce !== undefined) throw new Error('no logout token')
    for (const [cookie, tokens] of people) {
      if (tokens.claims().sid === payload.sid || (!payload.sid && tokens.claims().sub === payload.sub)) people.delete(cookie)
    }
    answer.writeHead(200, { 'cache-control': 'no-store' }).end()
  },
}

const cookieOf = (request) => /(?:^|; )node_app=([^;]*)/.exec(request.headers.cookie ?? '')?.[1]

createServer((request, answer) => {
  const route = routes[`${request.method} ${new URL(request.url, own).pathname}`]
  if (!route) return answer.writeHead(404).end()
  route(request, answer).catch((error) => {
    console.error(error)
    answer.writeHead(400, { 'content-type': 'text/plain' }).end(String(error))
  })
}).listen(me.port, 'localhost', () => console.log('ready'))
