// The two engines, without a browser: what is sent to a server or a worker, and what is left after cancelling.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { BrowserEngine } from '../src/browser_engine';
import type { Request } from '../src/engine';
import { ServerEngine } from '../src/server_engine';
import type { Call } from '../src/worker';

const model = { name: 'jpeg_restoration', task: 'jpeg_restoration', scalars: {}, bytes: 0, files: {} };
const request = (seed: number): Request => ({ model, seed, scalars: {}, brighten: 1, fidelity: 0 });
const file = new File(['photo'], 'photo.jpg');
const ignore = (): void => undefined;

afterEach(() => vi.unstubAllGlobals());

describe('server', () => {
  const sent: { form: FormData; id: string }[] = [];

  function stub(): ServerEngine {
    sent.length = 0;
    const getRandomValues = crypto.getRandomValues.bind(crypto);
    vi.stubGlobal('crypto', { getRandomValues }); // all that browsers have for plain HTTP
    vi.stubGlobal('EventSource', class { addEventListener = ignore; close = ignore; });
    vi.stubGlobal('createImageBitmap', (blob: Blob) => Promise.resolve(blob));
    vi.stubGlobal('fetch', (address: string, { body, headers, signal }: { body: FormData; headers: Record<string, string>; signal: AbortSignal }) => {
      if (signal.aborted) return Promise.reject(signal.reason as Error);
      if (address.endsWith('inspect')) return Promise.resolve(new Response('{"jpeg_quality": {}}'));
      sent.push({ form: body, id: headers['X-Request-ID']! });
      return Promise.resolve(new Response(String(body.get('seed'))));
    });
    return new ServerEngine('https://host/');
  }

  test('a photo is restored where the page is served without TLS', async () => {
    const engine = stub();
    const { signal } = new AbortController();
    await engine.inspect(file, signal);
    expect(engine.hasResult).toBe(false);
    await engine.restore(request(0), ignore, signal);
    await engine.restore(request(1), ignore, signal);
    expect(engine.hasResult).toBe(true);
    expect(sent.map(({ id }) => id)).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), expect.not.stringMatching(sent[0]!.id)]);
  });

  test('what is saved is what is shown, also after another restoration was cancelled', async () => {
    const engine = stub();
    const { signal } = new AbortController();
    await engine.inspect(file, signal);
    await engine.restore(request(0), ignore, signal);
    await expect(engine.restore(request(1), ignore, AbortSignal.abort())).rejects.toThrow();
    expect(engine.hasResult).toBe(true);
    expect(await (await engine.save('png')).text()).toBe('0');
    expect(await (await engine.save('jpeg')).text()).toBe('0');
  });
});

describe('browser', () => {
  const calls: Call['kind'][] = [];

  /** Workers that answer at once, but those of `silent` never. */
  function stub(silent: Call['kind'][]): BrowserEngine {
    calls.length = 0;
    vi.stubGlobal('Worker', class {
      onmessage: ((event: { data: unknown }) => void) | null = null;
      terminate = ignore;
      postMessage({ kind }: Call): void {
        calls.push(kind);
        if (!silent.includes(kind)) queueMicrotask(() => this.onmessage?.({ data: { result: kind } }));
      }
    });
    return new BrowserEngine('https://host/', 'wasm');
  }

  const cancelled = async (work: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
    const controller = new AbortController();
    const done = work(controller.signal);
    setTimeout(() => controller.abort());
    await expect(done).rejects.toThrow();
  };

  test('cancelling takes the restoration, and the photo is read again however often', async () => {
    const silent: Call['kind'][] = [];
    const engine = stub(silent);
    const { signal } = new AbortController();
    await engine.inspect(file, signal);
    await engine.restore(request(0), ignore, signal);
    expect(engine.hasResult).toBe(true);
    silent.push('inspect', 'restore');
    await cancelled((one) => engine.restore(request(1), ignore, one));
    expect(engine.hasResult).toBe(false);
    await cancelled((one) => engine.restore(request(1), ignore, one)); // while it is read again
    silent.length = calls.length = 0;
    await engine.restore(request(1), ignore, signal);
    expect(calls).toEqual(['inspect', 'restore']);
    expect(engine.hasResult).toBe(true);
  });

  test('models that cannot be fetched are said to be missing', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
    await expect(stub([]).models()).rejects.toMatchObject({ code: 'noModels' });
  });
});
