// The engine of `ucdir serve`, see docs/serve.md: photos are sent to the server that the page came from.

import { EngineError, type Engine, type Format, type Found, type OnProgress, type Request } from './engine';
import type { Model } from './model';

interface ServerModels {
  models: { name: string; task: string; scalars: string[] }[];
  scalars: Record<string, { unit: string; minimum: number; maximum: number }>;
}

interface Inspection {
  format: string;
  width: number;
  height: number;
  jpeg_quality: { tables: number | null; pixels: number | null };
}

const TYPES: Record<Format, string> = { png: 'image/png', jpeg: 'image/jpeg' };

export class ServerEngine implements Engine {
  readonly name = 'server';
  private file: File | null = null;
  private request: Request | null = null;
  private restored: Blob | null = null;

  get hasResult(): boolean {
    return this.restored !== null;
  }

  constructor(private readonly base: string) {}

  /** Rejects where there is no such server. */
  async models(): Promise<Model[]> {
    const response = await fetch(`${this.base}v1/models`, { headers: { Accept: 'application/json' } });
    if (!response.ok) throw new EngineError('noModels');
    const { models, scalars } = (await response.json()) as ServerModels;
    return models.map(({ name, task, scalars: names }) => ({
      name,
      task,
      scalars: Object.fromEntries(names.map((one) => {
        const { unit, minimum, maximum } = scalars[one]!;
        return [one, { unit, range: [minimum, maximum] }];
      })),
      bytes: 0,
      files: {},
    }));
  }

  async inspect(file: File, signal: AbortSignal): Promise<Found> {
    [this.file, this.request, this.restored] = [file, null, null];
    const [response, picture] = await Promise.all([
      this.post('inspect', new FormData(), {}, signal),
      createImageBitmap(file).catch(() => null),
    ]);
    const { format, width, height, jpeg_quality } = (await response.json()) as Inspection;
    const quality = jpeg_quality.pixels ?? jpeg_quality.tables;
    return { format, width, height, quality, fromPixels: jpeg_quality.pixels !== null, leftOut: [], picture };
  }

  async restore(request: Request, onProgress: OnProgress, signal: AbortSignal): Promise<ImageBitmap> {
    const restored = await this.restoredAs(request, 'png', onProgress, signal);
    [this.request, this.restored] = [request, restored]; // both, or neither where it is cancelled
    return createImageBitmap(restored);
  }

  async adjust(fidelity: number, signal: AbortSignal): Promise<ImageBitmap> {
    return this.restore({ ...this.request!, fidelity }, () => undefined, signal);
  }

  async save(format: Format): Promise<Blob> {
    return format === 'png' ? this.restored! : this.restoredAs(this.request!, format, () => undefined, new AbortController().signal);
  }

  private async restoredAs(request: Request, format: Format, onProgress: OnProgress, signal: AbortSignal): Promise<Blob> {
    const { model, seed, scalars, brighten, fidelity } = request;
    const form = new FormData();
    const fields = { model: model.name, seed, fidelity, ...scalars, ...(brighten === 1 ? {} : { brighten }) };
    for (const [name, value] of Object.entries(fields)) form.set(name, String(value));
    // not randomUUID, which browsers have for HTTPS and localhost only
    const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const events = new EventSource(`${this.base}v1/progress/${id}`);
    events.addEventListener('progress', ({ data }: MessageEvent<string>) => {
      const { fraction } = JSON.parse(data) as { fraction?: number };
      if (fraction) onProgress(fraction);
    });
    for (const end of ['done', 'failed', 'cancelled', 'error']) events.addEventListener(end, () => events.close());
    try {
      const response = await this.post('restore', form, { Accept: TYPES[format], 'X-Request-ID': id }, signal);
      return await response.blob();
    } finally {
      events.close();
    }
  }

  private async post(address: string, form: FormData, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    form.set('image', this.file!);
    const response = await fetch(`${this.base}v1/${address}`, { method: 'POST', body: form, headers, signal });
    if (response.ok) return response;
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new EngineError('failed', problem?.detail ? { sentence: problem.detail } : { reason: response.status });
  }
}
