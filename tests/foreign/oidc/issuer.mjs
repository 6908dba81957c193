// A real OpenID Connect issuer on loopback: `node issuer.mjs FOLDER_OF_NODE_MODULES SETTINGS`.
// SETTINGS is JSON: {"port": 0, "people": {"li.wei": {...claims}}, "robots": {"ci": {...claims}}, "audience": "..."}.
// Prints its address. A line on standard input is a command: "rotate" makes a new signing key and forgets the old one;
// "break" answers everything with 500, "mend" ends that; each is answered with a line.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder, text] = process.argv.slice(2);
const settings = JSON.parse(text);
const resolve = createRequire(`${folder}/package.json`).resolve;
const { default: Provider } = await import(pathToFileURL(resolve('oidc-provider')));

function key() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: randomUUID() };
}

function provider(issuer) {
  const robots = Object.keys(settings.robots ?? {}).map((name) => ({
    client_id: name,
    client_secret: `${name}-secret`,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  }));
  const made = new Provider(issuer, {
    jwks: { keys: [key()] },
    clients: [
      {
        client_id: 'suanli',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: ['http://127.0.0.1/callback'], // of any port: RFC 8252, 7.3
      },
      ...robots,
    ],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups', 'tenant'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, ...(settings.people[id] ?? {}) }),
    }),
    extraTokenClaims: (_, token) => settings.robots?.[token.clientId],
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    features: {
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (context) =>
          context.oidc.client?.clientId === 'suanli' ? undefined : settings.audience,
        getResourceServerInfo: () => ({
          scope: '',
          audience: settings.audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    ttl: { IdToken: settings.id_token_s ?? 3600, DeviceCode: 300, ClientCredentials: 7200 },
    cookies: { keys: [randomUUID()] },
    issueRefreshToken: (_, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    rotateRefreshToken: true,
  });
  return made.callback();
}

let handle;
let broken = false;
let asked = {};
const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  asked[path] = (asked[path] ?? 0) + 1;
  if (broken) response.writeHead(500).end();
  else handle(request, response);
});
server.listen(settings.port ?? 0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  handle = provider(issuer);
  console.log(issuer);
  createInterface({ input: process.stdin }).on('line', (line) => {
    if (line === 'rotate') handle = provider(issuer);
    if (line === 'break') broken = true;
    if (line === 'mend') broken = false;
    console.log(line === 'asked' ? JSON.stringify(asked) : 'done');
  }).on('close', () => process.exit(0));
});
