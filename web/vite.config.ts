import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import type { Plugin } from 'vite';

/** What shared memory needs, and with it threads of WebAssembly. */
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/** Tell the service worker which files the page consists of; the runtime's are kept when one is needed. */
const serviceWorkerFiles: Plugin = {
  name: 'service-worker-files',
  enforce: 'post',
  generateBundle(_, bundle) {
    const worker = bundle['sw.js'];
    if (worker?.type !== 'chunk') throw new Error('there is no sw.js');
    const names = Object.keys(bundle).filter((name) => name !== 'sw.js' && !name.includes('ort-wasm'));
    const fixed = readdirSync('public', { withFileTypes: true }).filter((one) => one.isFile());
    const files = ['./', ...names.filter((name) => name !== 'index.html'), ...fixed.map(({ name }) => name)].sort();
    // names hold hashes of what the files contain, but for the page's own
    const page = bundle['index.html'];
    const contents = [...names, worker.code, page?.type === 'asset' ? page.source : ''];
    const version = contents.reduce((hash, one) => hash.update(one), createHash('sha256')).digest('hex').slice(0, 12);
    worker.code = worker.code.replaceAll('__FILES__', JSON.stringify(files)).replaceAll('__VERSION__', JSON.stringify(version));
  },
};

export default defineConfig({
  base: './',
  server: { headers },
  preview: { headers },
  // the runtime's WebAssembly stays a file of its own, which threads load, too
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'development|production'] },
  worker: { format: 'es' },
  plugins: [serviceWorkerFiles],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { index: 'index.html', sw: 'src/sw.ts' },
      output: { entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
  test: { include: ['tests/**/*.test.ts'] },
});
