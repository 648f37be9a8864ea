// The engine in this browser: a worker that holds the photo. Cancelling ends the worker, which frees its memory at once.

import { EngineError, type Engine, type Format, type Found, type OnProgress, type Request } from './engine';
import type { Model } from './model';
import type { Device } from './networks';
import type { Call, Reply } from './worker';

export class BrowserEngine implements Engine {
  readonly name = 'browser';
  hasResult = false;
  private worker: Worker | null = null;
  private file: File | null = null;

  /** `base`: address of the page's folder. */
  constructor(private readonly base: string, private readonly device: Device) {}

  async models(): Promise<Model[]> {
    const response = await fetch(`${this.base}models/index.json`).catch(() => null);
    if (!response?.ok) throw new EngineError('noModels');
    return (await response.json()) as Model[];
  }

  async inspect(file: File, signal: AbortSignal): Promise<Found> {
    this.file = file;
    this.hasResult = false;
    return this.call<Found>({ kind: 'inspect', file }, signal);
  }

  async restore(request: Request, onProgress: OnProgress, signal: AbortSignal): Promise<ImageBitmap> {
    if (!this.worker && this.file) await this.inspect(this.file, signal); // a new worker after cancelling
    this.hasResult = false;
    const call = { kind: 'restore', request: { ...request, base: this.base, device: this.device } } as const;
    const restored = await this.call<ImageBitmap>(call, signal, onProgress);
    this.hasResult = true;
    return restored;
  }

  adjust(fidelity: number): Promise<ImageBitmap> {
    return this.call({ kind: 'adjust', fidelity });
  }

  save(format: Format): Promise<Blob> {
    return this.call({ kind: 'save', format });
  }

  private waiting: Promise<unknown> = Promise.resolve();

  /** One call after the other. */
  private call<T>(call: Call, signal?: AbortSignal, onProgress?: OnProgress): Promise<T> {
    const answer = this.waiting.then(() => this.answer<T>(call, signal, onProgress));
    this.waiting = answer.catch(() => undefined);
    return answer;
  }

  private answer<T>(call: Call, signal?: AbortSignal, onProgress?: OnProgress): Promise<T> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const worker = (this.worker ??= new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }));
      const end = (): void => {
        worker.terminate();
        this.worker = null;
        this.hasResult = false;
      };
      const abort = (): void => {
        end();
        reject(signal!.reason as Error);
      };
      signal?.addEventListener('abort', abort, { once: true });
      worker.onerror = (event) => {
        end();
        reject(new EngineError(/memory/i.test(event.message) ? 'noMemory' : 'failed', { reason: event.message }));
      };
      worker.onmessage = ({ data }: MessageEvent<Reply>) => {
        if ('progress' in data) {
          onProgress?.(data.progress);
          return;
        }
        signal?.removeEventListener('abort', abort);
        if ('failed' in data) {
          if (data.failed === 'noMemory') end();
          reject(new EngineError(data.failed, data.values));
        } else resolve(data.result as T);
      };
      worker.postMessage(call);
    });
  }
}
