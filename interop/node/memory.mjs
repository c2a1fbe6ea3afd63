// Another provider that keeps everything in memory, with clients and refresh tokens ready
// for a load. Its settings come as JSON in the first argument; it says its tokens on a line.
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

console.info = console.warn = () => {} // it speaks of defaults that a load does not mind
const me = JSON.parse(process.argv[2])

// The adapter that comes along forgets what is beyond the newest thousand.
const kept = new Map()
class Memory {
  constructor(model) {
    this.model = model
  }
  async upsert(id, payload) {
    kept.set(this.model + id, payload)
  }
  async find(id) {
    return kept.get(this.model + id)
  }
  async findByUid() {}
  async findByUserCode() {}
  async destroy(id) {
    kept.delete(this.model + id)
  }
  async consume(id) {
    kept.get(this.model + id).consumed = Math.floor(Date.now() / 1000)
  }
  async revokeByGrantId(grant) {
    for (const [id, payload] of kept) if (payload.grantId === grant) kept.delete(id)
  }
}

const provider = new Provider(me.issuer, {
  adapter: Memory,
  clients: [
    {
      client_id: 'shop', client_secret: me.secret, redirect_uris: ['https://rp.example/callback'],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'], response_types: ['code'], scope: 'openid offline_access stock:read',
    },
  ],
  scopes: ['openid', 'offline_access', 'stock:read'],
  features: {
    introspection: { enabled: true, allowedPolicy: () => true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
  },
  async findAccount(_, sub) {
    return { accountId: sub, claims: () => ({ sub }) }
  },
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
})
const client = await provider.Client.find('shop')
const refresh = []
let access
for (let n = 0; n < me.tokens; n++) {
  const grant = new provider.Grant({ accountId: 'ada', clientId: 'shop' })
  grant.addOIDCScope('offline_access stock:read')
  const grantId = await grant.save()
  const drawn = { accountId: 'ada', client, grantId, gty: 'authorization_code', scope: 'offline_access stock:read' }
  refresh.push(await new provider.RefreshToken(drawn).save())
  access = await new provider.AccessToken(drawn).save()
}
createServer(provider.callback()).listen(me.port, '127.0.0.1', () => process.stdout.write(JSON.stringify({ refresh, access }) + '\n'))
