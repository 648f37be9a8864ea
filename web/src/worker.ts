// Holds one photo and its restoration, off the page's own thread.

import encodeJpeg from '@jsquash/jpeg/encode';
import type { Format, Found, Request } from './engine';
import { jpegWith } from './jpeg';
import type { Networks } from './model';
import { openNetworks, type Device } from './networks';
import { amplified, finished, PhotoError, readPhoto, shown, sourceOf, type Photo, type Samples } from './photo';
import { encodePng } from './png';
import { amountOf, isOutOfMemory, predict, sample, Tiles, type Planes } from './restoration';

export interface RestoreRequest extends Request {
  base: string;
  device: Device;
}

export type Call =
  | { kind: 'inspect'; file: Blob }
  | { kind: 'restore'; request: RestoreRequest }
  | { kind: 'adjust'; fidelity: number }
  | { kind: 'save'; format: Format };

export type Reply =
  | { progress: number }
  | { result: Found | ImageBitmap | Blob }
  | { failed: string; values: Record<string, string | number> };

/** Images of up to this many pixels are not split. */
const WHOLE_PIXELS = 1_400_000;
const PATCH_SIZE = 896;
/** Where a machine has little memory, or says so. */
const SMALL_PATCH_SIZE = 512;
/** Of JPEG files: quality 95, 4:4:4, with the tables that `ucdir restore` writes. */
const JPEG_SETTINGS = { quality: 95, quant_table: 0, auto_subsample: false, chroma_subsample: 1, progressive: false };

let photo: Photo | null = null;
let networks: { name: string; opened: Promise<Networks> } | null = null;
/** The photo as it is restored: amplified where that is asked for. */
let bright: { ratio: number; photo: Photo } | null = null;
let prediction: { model: string; ratio: number; guidance: Planes } | null = null;
let restoration: { guidance: Planes; residual: Planes; amount: number } | null = null;
let fidelity = 0;

const answers: { [K in Call['kind']]: (call: Extract<Call, { kind: K }>) => Promise<unknown> } = {
  async inspect({ file }) {
    [photo, bright, prediction, restoration] = [null, null, null, null];
    photo = await readPhoto(file);
    const { format, fileQuality, pixelsQuality, pixels, leftOut } = photo;
    const { width, height } = pixels;
    const quality = pixelsQuality ?? fileQuality;
    const picture = await bitmap(photo, pixels);
    return { format, width, height, quality, fromPixels: pixelsQuality !== null, leftOut, picture } satisfies Found;
  },

  async restore({ request }) {
    try {
      return await restored(request);
    } catch (error) {
      if (request.device === 'wasm') throw error;
      [networks, prediction] = [null, null];
      return restored({ ...request, device: 'wasm' }); // a GPU that fails is passed over
    }
  },

  async adjust(call) {
    fidelity = call.fidelity;
    return bitmap(some(photo), result());
  },

  async save({ format }) {
    const { alpha, exif, icc } = some(photo);
    const samples = result();
    if (format === 'png') return encodePng(samples, alpha, exif, icc);
    const jpeg = await encodeJpeg(rgba(samples), {
      ...JPEG_SETTINGS, color_space: samples.channels === 1 ? 1 : 3,
    });
    return new Blob(jpegWith(new Uint8Array(jpeg), exif, icc), { type: 'image/jpeg' });
  },
};

async function restored(request: RestoreRequest): Promise<ImageBitmap> {
  const { base, device, model, seed, brighten: ratio } = request;
  const scalars = ratio === 1 ? request.scalars : { exposure_ratio: ratio, ...request.scalars };
  if (bright?.ratio !== ratio) bright = { ratio, photo: ratio === 1 ? some(photo) : amplified(some(photo), ratio) };
  const image = sourceOf(bright.photo);
  restoration = null;
  if (networks?.name !== model.name) {
    networks = { name: model.name, opened: openNetworks(base, model, device) };
    networks.opened.catch(() => (networks = null));
  }
  const opened = await networks.opened;
  if (prediction?.model !== model.name || prediction.ratio !== ratio) prediction = null;
  const memory = (navigator as { deviceMemory?: number }).deviceMemory ?? 8;
  const whole = image.width * image.height <= WHOLE_PIXELS;
  const patchSize = memory < 4 ? SMALL_PATCH_SIZE : whole ? Math.max(image.width, image.height) + 16 : PATCH_SIZE;
  const onProgress = (done: number, total: number): void => post({ progress: done / total });
  const options = { seed, scalars, patchSize, onProgress };
  const tiles = Tiles.of(opened, prediction === null);
  const guidance = prediction?.guidance ?? (await predict(image, opened, options, tiles));
  prediction = { model: model.name, ratio, guidance };
  const residual = await sample(image, guidance, opened, options, tiles);
  restoration = { guidance, residual, amount: amountOf(model.task, scalars) };
  fidelity = request.fidelity;
  return bitmap(some(photo), result());
}

function some<T>(value: T | null): T {
  if (value === null) throw new Error('there is no photo');
  return value;
}

function result(): Samples {
  const { guidance, residual, amount } = some(restoration);
  return finished(some(bright).photo, (i) => guidance.get(i) + (1 - fidelity) * residual.get(i), amount);
}

/** Samples of 8 bits, opaque; without a conversion of colours. */
function rgba({ width, height, channels, data }: Samples): ImageData {
  const image = new ImageData(width, height);
  const wide = data instanceof Uint16Array;
  for (let i = 0; i < width * height; i++) {
    for (let j = 0; j < 3; j++) {
      const value = data[i * channels + (channels === 1 ? 0 : j)]!;
      image.data[4 * i + j] = wide ? Math.floor((value * 255 + 32_767) / 65_535) : value;
    }
    image.data[4 * i + 3] = 255;
  }
  return image;
}

const bitmap = (of: Photo, samples: Samples): Promise<ImageBitmap> =>
  createImageBitmap(shown(of, samples), { premultiplyAlpha: 'none', colorSpaceConversion: 'none' });

function post(reply: Reply): void {
  const result = 'result' in reply ? reply.result : null;
  const picture = result instanceof ImageBitmap ? result : result && 'picture' in result ? result.picture : null;
  self.postMessage(reply, { transfer: picture ? [picture] : [] });
}

self.onmessage = async ({ data }: MessageEvent<Call>): Promise<void> => {
  try {
    const answer = answers[data.kind] as (call: Call) => Promise<never>;
    post({ result: await answer(data) });
  } catch (error) {
    if (error instanceof PhotoError) post({ failed: error.code, values: error.values });
    else if (isOutOfMemory(error)) post({ failed: 'noMemory', values: {} });
    else post({ failed: 'failed', values: { reason: error instanceof Error ? error.message : String(error) } });
  }
};
