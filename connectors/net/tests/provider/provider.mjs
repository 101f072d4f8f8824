// A certified authorization server for tests. It says on its first line where it is and with which keys.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const callback = 'http://127.0.0.1:7070/oauth/callback';
const code = {
  redirect_uris: [callback],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
};
const machine = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
const secret = 'a-secret-of-at-least-thirty-two-bytes';
const clients = [
  { client_id: 'web', client_secret: secret, token_endpoint_auth_method: 'client_secret_basic', ...code },
  { client_id: 'app', token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true,
    require_pushed_authorization_requests: true, ...code },
  { client_id: 'key', token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [{ ...ec.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig' }] }, ...machine },
  { client_id: 'mac', client_secret: secret, token_endpoint_auth_method: 'client_secret_jwt', ...machine },
  { client_id: 'post', client_secret: secret, token_endpoint_auth_method: 'client_secret_post', ...machine },
  { client_id: 'device', token_endpoint_auth_method: 'none', redirect_uris: [], response_types: [],
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'] },
];

let handle;
const calls = {};
const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/calls') {
    response.end(JSON.stringify(calls));
    return;
  }
  calls[path] = (calls[path] ?? 0) + 1;
  handle(request, response);
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    cookies: { keys: ['of tests'] },
    scopes: ['openid', 'offline_access', 'read'],
    ttl: { AccessToken: 3600, ClientCredentials: 3600, RefreshToken: 86400, Session: 86400, Grant: 86400,
      Interaction: 600, IdToken: 3600, DeviceCode: 600, AuthorizationCode: 60 },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    pkce: { required: () => true },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
      introspection: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      revocation: { enabled: true },
      userinfo: { enabled: true },
    },
  });
  handle = provider.callback();
  const key = ec.privateKey.export({ format: 'pem', type: 'pkcs8' });
  console.log(JSON.stringify({ issuer, key, secret }));
});
