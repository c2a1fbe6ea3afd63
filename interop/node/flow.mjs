// A strict client runs every flow against an issuer. It is told on its standard input, as
// a line of JSON, who it is; it says which address to open, is told where the browser was
// sent, and says in the end what it got. Whatever the library does not accept ends it.
import { createInterface } from 'node:readline'
import { importJWK } from 'jose'
import * as oidc from 'openid-client'
import * as oauth from 'oauth4webapi'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const hear = async () => JSON.parse((await lines.next()).value)
const say = (words) => process.stdout.write(JSON.stringify(words) + '\n')
const must = (holds, what) => {
  if (!holds) throw new Error(what)
}

// answerOf is the address or the form by which the browser came back.
const answerOf = (said) =>
  said.form
    ? new Request(said.callback, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: said.form })
    : new URL(said.callback)

const libraries = {
  async 'openid-client'(me, key) {
    const methods = {
      client_secret_basic: () => oidc.ClientSecretBasic(me.secret),
      client_secret_post: () => oidc.ClientSecretPost(me.secret),
      private_key_jwt: () => oidc.PrivateKeyJwt({ key, kid: me.key.kid }),
      none: () => oidc.None(),
    }
    const registered = { client_secret: me.secret, id_token_signed_response_alg: me.algorithm }
    const config = await oidc.discovery(new URL(me.issuer), me.id, registered, methods[me.method](), {
      execute: [oidc.allowInsecureRequests],
    })
    if (me.machine) {
      const t = await oidc.clientCredentialsGrant(config, { scope: me.scope, resource: me.audience })
      must(t.token_type === 'bearer' && t.expires_in > 0 && !t.refresh_token && !t.id_token, 'client credentials')
      const seen = await oidc.tokenIntrospection(config, t.access_token)
      must(seen.active && seen.client_id === me.id && seen.sub === me.id, 'introspection of a machine')
      return { access: t.access_token }
    }
    const verifier = oidc.randomPKCECodeVerifier()
    const [state, nonce] = [oidc.randomState(), oidc.randomNonce()]
    const address = oidc.buildAuthorizationUrl(config, {
      redirect_uri: me.redirect,
      scope: me.scope,
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...me.more,
    })
    say({ open: address.href })
    const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true, maxAge: 3600 }
    let t = await oidc.authorizationCodeGrant(config, answerOf(await hear()), checks)
    const claims = t.claims()
    const person = await oidc.fetchUserInfo(config, t.access_token, claims.sub)
    if (t.refresh_token) {
      const before = t.refresh_token
      t = await oidc.refreshTokenGrant(config, t.refresh_token)
      must(t.refresh_token && t.refresh_token !== before, 'rotation')
      must(t.claims() === undefined || t.claims().sub === claims.sub, 'the subject after a refresh')
    }
    if (me.method !== 'none') {
      must((await oidc.tokenIntrospection(config, t.access_token)).active, 'introspection')
    }
    await oidc.tokenRevocation(config, t.refresh_token ?? t.access_token)
    if (me.method !== 'none') {
      must(!(await oidc.tokenIntrospection(config, t.access_token)).active, 'introspection after revocation')
    }
    return { claims, person, access: t.access_token }
  },

  async oauth4webapi(me, key) {
    const loose = { [oauth.allowInsecureRequests]: true }
    const methods = {
      client_secret_basic: () => oauth.ClientSecretBasic(me.secret),
      client_secret_post: () => oauth.ClientSecretPost(me.secret),
      private_key_jwt: () => oauth.PrivateKeyJwt({ key, kid: me.key.kid }),
      none: () => oauth.None(),
    }
    const [client, auth, issuer] = [{ client_id: me.id, id_token_signed_response_alg: me.algorithm }, methods[me.method](), new URL(me.issuer)]
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, loose))
    const seen = async (token) =>
      oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, loose))
    if (me.machine) {
      const asked = await oauth.clientCredentialsGrantRequest(as, client, auth, { scope: me.scope, resource: me.audience }, loose)
      const t = await oauth.processClientCredentialsResponse(as, client, asked)
      must((await seen(t.access_token)).active, 'introspection of a machine')
      return { access: t.access_token }
    }
    const verifier = oauth.generateRandomCodeVerifier()
    const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()]
    const address = new URL(as.authorization_endpoint)
    const wanted = {
      client_id: me.id, redirect_uri: me.redirect, response_type: 'code', scope: me.scope, state, nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...me.more,
    }
    for (const [name, value] of Object.entries(wanted)) address.searchParams.set(name, value)
    say({ open: address.href })
    const back = answerOf(await hear())
    const given = oauth.validateAuthResponse(as, client, back instanceof URL ? back : new URLSearchParams(await back.text()), state)
    const got = await oauth.authorizationCodeGrantRequest(as, client, auth, given, me.redirect, verifier, loose)
    let t = await oauth.processAuthorizationCodeResponse(as, client, got, { expectedNonce: nonce, requireIdToken: true, maxAge: 3600 })
    await oauth.validateApplicationLevelSignature(as, got, loose)
    const claims = oauth.getValidatedIdTokenClaims(t)
    const person = await oauth.processUserInfoResponse(as, client, claims.sub, await oauth.userInfoRequest(as, client, t.access_token, loose))
    if (t.refresh_token) {
      t = await oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, auth, t.refresh_token, loose))
    }
    if (me.method !== 'none') must((await seen(t.access_token)).active, 'introspection')
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, t.refresh_token ?? t.access_token, loose))
    if (me.method !== 'none') must(!(await seen(t.access_token)).active, 'introspection after revocation')
    return { claims, person, access: t.access_token }
  },
}

const me = await hear()
const key = me.key && (await importJWK(me.key, me.key.alg))
try {
  say({ done: await libraries[me.library](me, key) })
} catch (error) {
  say({ failed: `${error}${error.cause ? ' because ' + JSON.stringify(error.cause) : ''}`, stack: error.stack })
}
process.exit(0)
