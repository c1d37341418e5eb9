// How the page is built and, while it is written, served: `npm run dev` answers what is not the page's from the plane
// whose kubeconfig QUARTERDECK_KUBECONFIG names, in the name of that file's user.
import type { ClientRequest, IncomingMessage } from 'node:http';
import react from '@vitejs/plugin-react';
import { defineConfig, type ProxyOptions } from 'vite';
import { kubeconfig } from './scripts/kubeconfig.ts';

const PLANE = [
  '/api',
  '/apis',
  '/openapi',
  '/version',
  '/graphql',
  '/stream',
  '/session',
  '/livez',
  '/readyz',
];

function proxy(): Record<string, ProxyOptions> {
  const file = process.env['QUARTERDECK_KUBECONFIG'];
  if (!file) return {};
  const { server, ca, cert, key } = kubeconfig(file);
  const target = { ...urlParts(server), ca, cert, key };
  const { origin } = new URL(server);
  const configure: ProxyOptions['configure'] = (proxy) => {
    // The plane takes writes and terminals from its own page alone. What this page sends is passed on as that; what another
    // site has the browser send stays another site's, and is refused.
    const asOwn = (passed: ClientRequest, { headers }: IncomingMessage) => {
      if (headers.origin && headers.origin === `http://${headers.host}`) passed.setHeader('origin', origin);
    };
    proxy.on('proxyReq', asOwn);
    proxy.on('proxyReqWs', asOwn);
  };
  return Object.fromEntries(PLANE.map((path) => [path, { target, changeOrigin: true, ws: true, configure }]));
}

function urlParts(server: string) {
  const url = new URL(server);
  return { protocol: url.protocol, host: url.hostname, port: Number(url.port) };
}

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    // A preload hint for what is loaded lazily would make it part of the first load.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    sourcemap: false,
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: proxy() },
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.{ts,tsx}'],
    setupFiles: ['tests/setup.ts'],
    testTimeout: 60_000,
  },
} as Parameters<typeof defineConfig>[0]);
