// What restores photos: this browser, or the server that the page came from.

import type { Model } from './model';

/** What was found in a photo's file. */
export interface Found {
  format: string;
  width: number;
  height: number;
  /** JPEG quality that counts, and whether the pixels show it rather than the file's tables. */
  quality: number | null;
  fromPixels: boolean;
  /** Names of the metadata that the restored file will not have. */
  leftOut: string[];
  /** The photo as it is, in sRGB; null where the browser cannot show it. */
  picture: ImageBitmap | null;
}

export interface Request {
  model: Model;
  seed: number;
  scalars: Record<string, number>;
  /** How many times to amplify the light first. */
  brighten: number;
  /** Share of the sampled detail that is left out, 0 to 1. */
  fidelity: number;
}

export type Format = 'png' | 'jpeg';

/** Called with the share that is done, 0 to 1. */
export type OnProgress = (share: number) => void;

/** A sentence of the dictionary that says why something failed, or one of the server's own. */
export class EngineError extends Error {
  constructor(readonly code: string, readonly values: Record<string, string | number> = {}) {
    super(code);
  }
}

/** One photo at a time: the one that was inspected last. All reject with an `EngineError`, or an AbortError. */
export interface Engine {
  readonly name: 'browser' | 'server';
  /** Whether there is a restoration to adjust and to save: cancelling or a failure may have taken it. */
  readonly hasResult: boolean;
  models(): Promise<Model[]>;
  inspect(file: File, signal: AbortSignal): Promise<Found>;
  /** Restore the photo, and give what it looks like. */
  restore(request: Request, onProgress: OnProgress, signal: AbortSignal): Promise<ImageBitmap>;
  /** The same with other fidelity, of the restoration that there is. */
  adjust(fidelity: number, signal: AbortSignal): Promise<ImageBitmap>;
  /** The file of the restored photo, with its EXIF and colour profile. */
  save(format: Format): Promise<Blob>;
}
