// A certified authorization server for tests. It says on its first line where it is and with which keys. Its argument
// is a folder with the certificates of `ca`, `server` and `stranger`.
import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { join } from 'node:path';
import { Provider } from 'oidc-provider';

const file = (name) => readFileSync(join(process.argv[2], name));
const stranger = new X509Certificate(file('stranger.pem'));
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const callback = 'http://127.0.0.1:7070/oauth/callback';
const code = {
  redirect_uris: [callback],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
};
const machine = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
const secret = 'a-secret-of-at-least-thirty-two-bytes';
const bound = { tls_client_certificate_bound_access_tokens: true };
const clients = [
  { client_id: 'web', client_secret: secret, token_endpoint_auth_method: 'client_secret_basic', ...code },
  { client_id: 'app', token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true,
    require_pushed_authorization_requests: true, ...code },
  { client_id: 'key', token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [{ ...ec.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig' }] }, ...machine },
  { client_id: 'mac', client_secret: secret, token_endpoint_auth_method: 'client_secret_jwt', ...machine },
  { client_id: 'post', client_secret: secret, token_endpoint_auth_method: 'client_secret_post', ...machine },
  { client_id: 'certified', token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=client',
    ...bound, ...code },
  { client_id: 'self-signed', token_endpoint_auth_method: 'self_signed_tls_client_auth', ...bound, ...machine,
    jwks: { keys: [{ ...stranger.publicKey.export({ format: 'jwk' }), x5c: [stranger.raw.toString('base64')] }] } },
  { client_id: 'public', token_endpoint_auth_method: 'none', ...bound, ...code },
  { client_id: 'device', token_endpoint_auth_method: 'none', redirect_uris: [], response_types: [],
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'] },
];

let handle;
const calls = {};
const answer = (request, response) => {
  const path = `${request.socket.encrypted ? 'tls ' : ''}${request.url.split('?')[0]}`;
  if (path === '/calls') {
    response.end(JSON.stringify(calls));
    return;
  }
  calls[path] = (calls[path] ?? 0) + 1;
  handle(request, response);
};
const listening = (server) => new Promise((done) => {
  server.listen(0, '127.0.0.1', () => done(server.address().port));
});
const identity = { key: file('server.key'), cert: file('server.pem'), ca: file('ca.pem') };
// Who shows no certificate, or one of somebody unknown, is for the provider to judge.
const asking = { requestCert: true, rejectUnauthorized: false };

Promise.all([
  listening(createServer(answer)),
  listening(createSecureServer({ ...identity, ...asking }, answer)),
]).then(([port, securePort]) => {
  const issuer = `http://127.0.0.1:${port}`;
  const secured = `https://127.0.0.1:${securePort}`;
  const provider = new Provider(issuer, {
    clients,
    clientAuthMethods: ['client_secret_basic', 'client_secret_jwt', 'client_secret_post', 'private_key_jwt', 'none',
      'tls_client_auth', 'self_signed_tls_client_auth'],
    cookies: { keys: ['of tests'] },
    scopes: ['openid', 'offline_access', 'read'],
    ttl: { AccessToken: 3600, ClientCredentials: 3600, RefreshToken: 86400, Session: 86400, Grant: 86400,
      Interaction: 600, IdToken: 3600, DeviceCode: 600, AuthorizationCode: 60 },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    pkce: { required: () => true },
    discovery: {
      mtls_endpoint_aliases: {
        token_endpoint: `${secured}/token`,
        revocation_endpoint: `${secured}/token/revocation`,
        introspection_endpoint: `${secured}/token/introspection`,
        pushed_authorization_request_endpoint: `${secured}/request`,
      },
    },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
      introspection: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: ({ socket }) => socket.getPeerX509Certificate?.(),
        certificateAuthorized: ({ socket }) => socket.authorized === true,
        certificateSubjectMatches: ({ socket }, _, expected) => socket.getPeerX509Certificate().subject === expected,
      },
      pushedAuthorizationRequests: { enabled: true },
      revocation: { enabled: true },
      userinfo: { enabled: true },
    },
  });
  handle = provider.callback();
  const key = ec.privateKey.export({ format: 'pem', type: 'pkcs8' });
  console.log(JSON.stringify({ issuer, secured, key, secret }));
});
