// A photo from a file that need not be trusted, upright, with 8 or 16 bits a sample as its file has them.

import decodeJpeg from '@jsquash/jpeg/decode';
import { decode as decodePng } from 'fast-png';
import { cleanExif, orientationOf } from './exif';
import { colourSpace, iccChannels, linearToSrgb, srgbToLinear, type ColourSpace } from './icc';
import { estimateQuality, exifOfJpeg, iccOfJpeg, jpegHeader, otherMetadataOfJpeg } from './jpeg';
import { findJpegQuality } from './jpeg_traces';
import { otherMetadataOfPng, pngChunk } from './png';
import type { Source } from './restoration';

/** Interleaved samples, 0..255 or 0..65535. */
export interface Samples {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array | Uint16Array;
}

/** What a photo is refused for; `code` is a key of the dictionary, `values` what its sentence names. */
export class PhotoError extends Error {
  constructor(readonly code: 'notImage' | 'damaged' | 'tooLarge' | 'tooDeep', readonly values: Record<string, string | number> = {}) {
    super(code);
  }
}

export interface Photo {
  pixels: Samples;
  alpha: Samples['data'] | null;
  format: string;
  /** By the file's tables. */
  fileQuality: number | null;
  /** What the pixels show, where the file shows none or a clearly higher one. */
  pixelsQuality: number | null;
  exif: Uint8Array | null;
  icc: Uint8Array | null;
  /** The space of the profile; null where that is nearly sRGB. */
  space: ColourSpace | null;
  /** Names of the metadata that are in the file and will not be in the restored one. */
  leftOut: string[];
}

/** Largest width x height: what is held of a photo takes about 30 bytes a pixel. */
export const MAX_PIXELS = 64_000_000;
/** By how much an earlier quality is lower than the file's own where it counts instead. */
const CLEARLY_LOWER = 10;

export async function readPhoto(file: Blob): Promise<Photo> {
  const data = new Uint8Array(await file.arrayBuffer());
  const decoded = await decode(data, file);
  const { width, height, channels } = decoded.pixels;
  const icc = decoded.icc && iccChannels(decoded.icc) === channels ? decoded.icc : null;
  const orientation = orientationOf(decoded.exif);
  const [w, h] = orientation >= 5 ? [height, width] : [width, height];
  const turn = (samples: Samples): Samples['data'] => upright(samples, orientation);
  const pixels = { width: w, height: h, channels, data: turn(decoded.pixels) };
  const alpha = decoded.alpha && turn({ width, height, channels: 1, data: decoded.alpha });
  const fileQuality = decoded.quality;
  const traces = pixels.data instanceof Uint8Array ? findJpegQuality(pixels as Samples & { data: Uint8Array }) : null;
  return {
    pixels,
    alpha: alpha?.every((value) => value === (alpha instanceof Uint16Array ? 65_535 : 255)) ? null : alpha,
    format: decoded.format,
    fileQuality,
    pixelsQuality: traces === null || (fileQuality !== null && traces > fileQuality - CLEARLY_LOWER) ? null : traces,
    exif: decoded.exif && cleanExif(decoded.exif, w, h),
    icc,
    space: icc && colourSpace(icc),
    leftOut: decoded.leftOut,
  };
}

// ------------------------------------------------------------------------------------------------------- decoding

interface Decoded {
  pixels: Samples;
  alpha: Samples['data'] | null;
  format: string;
  quality: number | null;
  exif: Uint8Array | null;
  icc: Uint8Array | null;
  leftOut: string[];
}

async function decode(data: Uint8Array<ArrayBuffer>, file: Blob): Promise<Decoded> {
  const head = String.fromCharCode(...data.subarray(0, 12));
  if (head.startsWith('\xff\xd8\xff')) return fromJpeg(data, file);
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return fromPng(data, file);
  const format = /^RIFF....WEBP/s.test(head) ? 'WebP' : /^....ftypavi[fs]/s.test(head) ? 'AVIF'
    : head.startsWith('GIF8') ? 'GIF' : head.startsWith('BM') ? 'BMP' : '';
  return { ...await byBrowser(file, format), leftOut: otherMetadata(data, format) };
}

function checkSize(width: number, height: number): void {
  if (width * height > MAX_PIXELS) {
    throw new PhotoError('tooLarge', { megapixels: Math.ceil((width * height) / 1e6), most: MAX_PIXELS / 1e6 });
  }
}

/** Names of the metadata of a WebP or AVIF file, whose pixels alone the browser gives. */
function otherMetadata(data: Uint8Array, format: string): string[] {
  const marks: Record<string, Record<string, string>> = {
    WebP: { EXIF: 'EXIF', XMP: 'XMP ', ICC: 'ICCP' }, AVIF: { EXIF: 'Exif', XMP: 'rdf+xml', ICC: 'colrprof' },
  };
  if (!(format in marks)) return [];
  // a WebP file's metadata stand before or behind its pixels, those of AVIF are listed at the beginning
  const text = new TextDecoder('latin1').decode(format === 'WebP' ? data : data.subarray(0, 4096));
  return Object.entries(marks[format]!).flatMap(([name, mark]) => (text.includes(mark) ? [name] : []));
}

/** By MozJPEG's decoder, as its numbers are those of libjpeg in every browser; CMYK by the browser's own. */
async function fromJpeg(data: Uint8Array<ArrayBuffer>, file: Blob): Promise<Decoded> {
  const header = jpegHeader(data);
  const { components, width, height } = header;
  checkSize(width, height);
  if (header.precision > 8) throw new PhotoError('tooDeep', { bits: header.precision });
  if (!header.complete || !width || !height) throw new PhotoError('damaged', { format: 'JPEG' });
  const known = {
    format: 'JPEG', quality: estimateQuality(header), exif: exifOfJpeg(header), leftOut: otherMetadataOfJpeg(header),
  };
  if (components.length === 4) {
    const decoded = await byBrowser(file, 'JPEG', 'none');
    return { ...decoded, ...known };
  }
  let rgba: Uint8ClampedArray;
  try {
    rgba = (await decodeJpeg(data.buffer)).data;
  } catch {
    throw new PhotoError('damaged', { format: 'JPEG' });
  }
  const pixels = withoutAlpha(rgba, width, height, components.length === 1 ? 1 : 3);
  return { pixels, alpha: null, icc: iccOfJpeg(header), ...known };
}

/** 8 or 16 bits as they are stored; palettes and less than 8 bits by the browser. */
async function fromPng(data: Uint8Array<ArrayBuffer>, file: Blob): Promise<Decoded> {
  const header = pngChunk(data, 'IHDR');
  if (header?.length !== 13) throw new PhotoError('damaged', { format: 'PNG' });
  const view = new DataView(header.buffer, header.byteOffset, 13);
  checkSize(view.getUint32(0), view.getUint32(4));
  const [depth, colour] = [header[8]!, header[9]!];
  if (!pngChunk(data, 'IEND')) throw new PhotoError('damaged', { format: 'PNG' });
  try {
    if (colour === 3 || depth < 8 || pngChunk(data, 'tRNS')) {
      const decoded = await byBrowser(file, 'PNG');
      const icc = colour === 3 || colour === 2 ? decodePng(data).iccEmbeddedProfile?.profile ?? null : null;
      return { ...decoded, exif: pngChunk(data, 'eXIf'), icc, leftOut: otherMetadataOfPng(data) };
    }
    const { width, height, channels: samples, data: found, iccEmbeddedProfile } = decodePng(data, { checkCrc: true });
    const channels = samples < 3 ? 1 : 3;
    const make = (length: number): Samples['data'] => (found instanceof Uint16Array ? new Uint16Array(length) : new Uint8Array(length));
    const known = {
      format: 'PNG', quality: null, exif: pngChunk(data, 'eXIf'), icc: iccEmbeddedProfile?.profile ?? null,
      leftOut: otherMetadataOfPng(data),
    };
    if (samples === channels) {
      return { pixels: { width, height, channels, data: found as Samples['data'] }, alpha: null, ...known };
    }
    const [pixels, alpha] = [make(width * height * channels), make(width * height)];
    for (let i = 0; i < width * height; i++) {
      for (let j = 0; j < channels; j++) pixels[i * channels + j] = found[i * samples + j]!;
      alpha[i] = found[i * samples + channels]!;
    }
    return { pixels: { width, height, channels, data: pixels }, alpha, ...known };
  } catch {
    throw new PhotoError('damaged', { format: 'PNG' });
  }
}

/** By the browser's own decoder, without a conversion of colours, and upright unless `orientation` is none. */
async function byBrowser(file: Blob, format: string, orientation: 'from-image' | 'none' = 'from-image'): Promise<Decoded> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: format === 'JPEG' ? 'default' : 'none', premultiplyAlpha: 'none', imageOrientation: orientation,
    });
  } catch {
    throw format ? new PhotoError('damaged', { format }) : new PhotoError('notImage');
  }
  const { width, height } = bitmap;
  checkSize(width, height);
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const alpha = Uint8Array.from({ length: width * height }, (_, i) => rgba[4 * i + 3]!);
  return { pixels: withoutAlpha(rgba, width, height, 3), alpha, format: format || 'image', quality: null, exif: null, icc: null, leftOut: [] };
}

function withoutAlpha(rgba: Uint8ClampedArray, width: number, height: number, channels: 1 | 3): Samples {
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    for (let j = 0; j < channels; j++) data[i * channels + j] = rgba[4 * i + j]!;
  }
  return { width, height, channels, data };
}

/** Samples turned by an EXIF orientation 1..8. */
export function upright({ width, height, channels, data }: Samples, orientation: number): Samples['data'] {
  if (orientation <= 1) return data;
  const turned = data.slice();
  const [right, down] = [[2, 3, 6, 7].includes(orientation), [3, 4, 7, 8].includes(orientation)];
  const swapped = orientation >= 5;
  const [w, h] = swapped ? [height, width] : [width, height];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [u, v] = [right ? w - 1 - x : x, down ? h - 1 - y : y];
      const from = swapped ? u * width + v : v * width + u;
      for (let i = 0; i < channels; i++) turned[(y * w + x) * channels + i] = data[from * channels + i]!;
    }
  }
  return turned;
}

// ----------------------------------------------------------------------------- what networks see, and the way back

const peakOf = (data: Samples['data']): number => (data instanceof Uint16Array ? 65_535 : 255);

/** A photo as networks see it, in the numbers of sRGB; what is fully transparent has the colours around it. */
export function sourceOf({ pixels, alpha, space }: Photo): Source {
  const { width, height, channels } = pixels;
  const data = alpha?.includes(0) ? filled(pixels, Uint8Array.from(alpha, (value) => Number(value > 0))) : pixels.data;
  const peak = peakOf(pixels.data);
  return {
    width,
    height,
    read(into, rows, columns) {
      const plane = rows.length * columns.length;
      let to = 0;
      for (const row of rows) {
        for (const column of columns) {
          const from = (row * width + column) * channels;
          if (space) {
            const srgb = space.srgb(sampleAt(data, from, channels, peak));
            for (let i = 0; i < 3; i++) into[to + i * plane] = srgb[channels === 1 ? 0 : i]! * 2 - 1;
          } else {
            for (let i = 0; i < 3; i++) {
              into[to + i * plane] = Math.fround(data[from + (channels === 1 ? 0 : i)]! / (peak / 2)) - 1;
            }
          }
          to++;
        }
      }
    },
  };
}

/** A copy in which pixels that are not known have the mean of known ones: of 2x2 pixels, of 2x2 of these, and so on. */
function filled<T extends Uint8Array | Uint16Array | Float32Array>(
  { width, height, channels, data }: { width: number; height: number; channels: number; data: T }, known: Uint8Array,
): T {
  const result = data.slice() as T;
  if (!known.includes(0) || !known.includes(1)) return result;
  const [w, h] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const [means, counts] = [new Float32Array(w * h * channels), new Uint8Array(w * h)];
  const coarser = (i: number): number => (Math.floor(i / width) >> 1) * w + ((i % width) >> 1);
  for (let i = 0; i < width * height; i++) {
    if (!known[i]) continue;
    counts[coarser(i)]!++;
    for (let j = 0; j < channels; j++) means[coarser(i) * channels + j]! += data[i * channels + j]!;
  }
  for (let i = 0; i < means.length; i++) means[i]! /= Math.max(1, counts[Math.floor(i / channels)]!);
  const coarse = filled({ width: w, height: h, channels, data: means }, counts.map((count) => Math.min(count, 1)));
  for (let i = 0; i < width * height; i++) {
    if (known[i]) continue;
    for (let j = 0; j < channels; j++) result[i * channels + j] = coarse[coarser(i) * channels + j]!;
  }
  return result;
}

const sampleAt = (data: ArrayLike<number>, at: number, channels: number, peak: number): number[] =>
  Array.from({ length: channels }, (_, i) => data[at + i]! / peak);

/** The photo with its light multiplied, in its own space; what exceeds white is white. */
export function amplified(photo: Photo, ratio: number): Photo {
  const { pixels, space } = photo;
  const peak = peakOf(pixels.data);
  const table = (of: (code: number) => number): Samples['data'] => {
    const made = pixels.data instanceof Uint16Array ? new Uint16Array(peak + 1) : new Uint8Array(peak + 1);
    return made.map((_, code) => clipped(of(code / peak) * peak, peak));
  };
  const tables = Array.from({ length: pixels.channels }, (_, i) =>
    table((code) => space ? space.sampleOf(i, space.lightOf(i, code) * ratio) : linearToSrgb(srgbToLinear(code) * ratio)),
  );
  const data = pixels.data.slice();
  for (let i = 0; i < data.length; i++) data[i] = tables[i % pixels.channels]![data[i]!]!;
  return { ...photo, pixels: { ...pixels, data } };
}

/** How many pixels away from everything else black or white is kept pure. */
const PURE_RADIUS = 4;

/**
 * The restored photo in its own space. Fully transparent pixels stay as they are, and so does black or white with nothing
 * else near.
 *
 * @param restored number [0,3·H·W) -> value in about [-1,1]
 * @param amount how much of the restoration is applied, 0 to 1
 */
export function finished({ pixels, alpha, space }: Photo, restored: (i: number) => number, amount = 1): Samples {
  const { width, height, channels, data } = pixels;
  const [peak, plane] = [peakOf(data), width * height];
  const result = data.slice();
  const [black, white] = [alone(pixels, 0), alone(pixels, peak)];
  const rgb = [0, 0, 0];
  const value = (i: number, own: number): number => own + amount * (Math.min(1, Math.max(-1, restored(i))) - own);
  for (let i = 0; i < plane; i++) {
    if (alpha?.[i] === 0 || black?.[i] || white?.[i]) continue;
    const at = i * channels;
    const own = space ? space.srgb(sampleAt(data, at, channels, peak)) : null;
    let grey = 0;
    for (let j = 0; j < 3; j++) {
      const k = channels === 1 ? 0 : j;
      const restoredValue = value(j * plane + i, own ? own[k]! * 2 - 1 : data[at + k]! / (peak / 2) - 1);
      if (channels === 1) grey += restoredValue / 3;
      else if (own) rgb[j] = restoredValue / 2 + 0.5;
      else result[at + j] = clipped((restoredValue + 1) * (peak / 2), peak);
    }
    if (space && own) {
      const now = space.samples(channels === 1 ? [grey / 2 + 0.5] : rgb);
      const was = space.samples(own);
      for (let j = 0; j < channels; j++) result[at + j] = clipped(data[at + j]! + (now[j]! - was[j]!) * peak, peak);
    } else if (channels === 1) result[at] = clipped((grey + 1) * (peak / 2), peak);
  }
  return { ...pixels, data: result };
}

const clipped = (value: number, peak: number): number => Math.min(peak, Math.max(0, Math.round(value)));

/** Where all channels of a pixel, and of all within `PURE_RADIUS` of it, have this level; null if nowhere. */
function alone({ width, height, channels, data }: Samples, level: number): Uint8Array | null {
  let found: Uint8Array = new Uint8Array(width * height);
  let any = false;
  for (let i = 0; i < found.length; i++) {
    let same = true;
    for (let j = 0; j < channels && same; j++) same = data[i * channels + j] === level;
    if (same) [found[i], any] = [1, true];
  }
  if (!any) return null;
  for (const [length, stride, lines, line] of [[height, width, width, 1], [width, 1, height, width]] as const) {
    const before = found;
    found = before.slice();
    for (let n = 0; n < lines; n++) {
      // the nearest pixels before and behind that are not of this level
      for (const [from, step] of [[0, 1], [length - 1, -1]] as const) {
        let since = PURE_RADIUS + 1;
        for (let i = from; i >= 0 && i < length; i += step) {
          const at = n * line + i * stride;
          since = before[at] ? since + 1 : 0;
          if (since <= PURE_RADIUS) found[at] = 0;
        }
      }
    }
  }
  return found.includes(1) ? found : null;
}

/** RGBA in sRGB, to be looked at. */
export function shown({ space, alpha }: Photo, { width, height, channels, data }: Samples): ImageData {
  const [image, peak] = [new ImageData(width, height), peakOf(data)];
  for (let i = 0; i < width * height; i++) {
    const rgb = space ? space.srgb(sampleAt(data, i * channels, channels, peak)) : null;
    for (let j = 0; j < 3; j++) {
      const k = channels === 1 ? 0 : j;
      image.data[4 * i + j] = rgb ? rgb[k]! * 255 : (data[i * channels + k]! / peak) * 255;
    }
    image.data[4 * i + 3] = alpha ? (alpha[i]! / peak) * 255 : 255;
  }
  return image;
}
