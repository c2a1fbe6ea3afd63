// Another provider, which nobody here wrote, with one client of each kind: it is asked what
// ours is asked. Its settings come as JSON in the first argument.
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const me = JSON.parse(process.argv[2])
const provider = new Provider(me.issuer, {
  clients: [
    {
      client_id: me.web.client_id, client_secret: me.web.client_secret, redirect_uris: [me.callback],
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      scope: 'openid profile email offline_access', token_endpoint_auth_method: 'client_secret_basic',
    },
    {
      client_id: me.machine.client_id, client_secret: me.machine.client_secret, redirect_uris: [], response_types: [],
      grant_types: ['client_credentials'], scope: 'stock:read', token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  scopes: ['openid', 'profile', 'email', 'offline_access', 'stock:read'],
  features: {
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    claimsParameter: { enabled: true },
  },
  cookies: { keys: ['a key of this test'] },
  pkce: { required: () => true },
})
createServer(provider.callback()).listen(me.port, 'localhost')
