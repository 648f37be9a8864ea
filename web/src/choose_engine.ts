// The server that the page came from, where it is `ucdir serve`; else this browser.

import { BrowserEngine } from './browser_engine';
import type { Engine } from './engine';
import type { Model } from './model';
import { findDevice, modelFile, RUNTIME_FILES, threads } from './networks';
import { ServerEngine } from './server_engine';
import { say } from './words';

interface Chosen {
  engine: Engine;
  models: Model[];
  /** Says what it runs on. */
  device: () => string;
  /** Addresses of what is needed without a network, beside the page itself; null where that is a server. */
  offlineFiles: string[] | null;
}

export async function chooseEngine(base: string): Promise<Chosen> {
  const server = new ServerEngine(base);
  const found = await server.models().catch(() => null);
  if (found) return { engine: server, models: found, device: () => '', offlineFiles: null };
  const device = await findDevice();
  const engine = new BrowserEngine(base, device);
  const models = await engine.models();
  const what = (): string =>
    device === 'webgpu' ? say('deviceGpu') : threads() > 1 ? say('deviceThreads', { threads: threads() }) : say('deviceThread');
  return {
    engine,
    models,
    device: () => say('device', { device: what() }),
    offlineFiles: [
      ...RUNTIME_FILES[device].map((file) => new URL(file, base).href),
      `${base}models/index.json`,
      ...models.flatMap((model) => Object.keys(model.files).map((file) => modelFile(base, model, file))),
    ],
  };
}
