// The service worker, see offline.ts. The build puts the names of the page's files in place of __FILES__.

declare const __FILES__: string[];
declare const __VERSION__: string;
const worker = self as unknown as ServiceWorkerGlobalScope;

const PAGE = `ucdir-page-${__VERSION__}`;
const DATA = 'ucdir-data';
worker.addEventListener('install', (event) => {
  event.waitUntil(caches.open(PAGE).then((cache) => cache.addAll(__FILES__)));
});

worker.addEventListener('activate', (event) => {
  const old = async (): Promise<void> => {
    const names = (await caches.keys()).filter((name) => name.startsWith('ucdir-page-') && name !== PAGE);
    await Promise.all(names.map((name) => caches.delete(name)));
    await worker.clients.claim();
  };
  event.waitUntil(old());
});

// the runtime and the models, which the page names once it knows what it needs; others are deleted
worker.addEventListener('message', (event) => {
  const keep = async (files: string[]): Promise<boolean> => {
    try {
      const cache = await caches.open(DATA);
      const kept = (await cache.keys()).map(({ url }) => url);
      await Promise.all(kept.filter((url) => !files.includes(url)).map((url) => cache.delete(url)));
      const changing = (url: string): boolean => url.endsWith('.json');
      for (const url of files) if (!kept.includes(url) || changing(url)) await cache.add(url).catch(rethrow(kept.includes(url)));
      return true;
    } catch {
      return false;
    }
  };
  event.waitUntil(keep(event.data as string[]).then((done) => event.ports[0]?.postMessage(done)));
});

/** Offline, what is kept already will do. */
const rethrow = (isKept: boolean) => (error: unknown): void => {
  if (!isKept) throw error;
};

worker.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  const { scope } = worker.registration;
  // the server's own addresses are never kept
  if (event.request.method !== 'GET' || !url.href.startsWith(scope) || url.href.startsWith(`${scope}v1/`)) return;
  event.respondWith(answer(event.request, scope));
});

async function answer(request: Request, page: string): Promise<Response> {
  const kept = await caches.match(request.mode === 'navigate' ? page : request.url);
  return isolated(kept ?? (await fetch(request)));
}

/** With the headers that shared memory, and so threads, need; and one that lets nothing leave this origin. */
function isolated(response: Response): Response {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  const body = [101, 204, 205, 304].includes(response.status) ? null : response.body;
  return new Response(body, { status: response.status, statusText: response.statusText, headers });
}
