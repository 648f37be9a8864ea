// PNG files: chunks of metadata, and an encoder of 8 or 16 bits that filters every row.

import type { Samples } from './photo';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** The body of the first chunk of a name; null without one. */
export function pngChunk(data: Uint8Array, name: string): Uint8Array | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 8; at + 12 <= data.length; at += 12 + view.getUint32(at)) {
    if (String.fromCharCode(...data.subarray(at + 4, at + 8)) === name) {
      return data.subarray(at + 8, at + 8 + view.getUint32(at));
    }
  }
  return null;
}

/** Names of the metadata that are neither EXIF nor a colour profile. */
export function otherMetadataOfPng(data: Uint8Array): string[] {
  const text = pngChunk(data, 'iTXt');
  const isXmp = text !== null && String.fromCharCode(...text.subarray(0, 17)) === 'XML:com.adobe.xmp';
  const found = {
    XMP: isXmp, comments: (text !== null && !isXmp) || ['tEXt', 'zTXt'].some((name) => pngChunk(data, name) !== null),
  };
  return Object.entries(found).flatMap(([name, there]) => (there ? [name] : []));
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(name: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(body, 8);
  let crc = ~0;
  for (const byte of bytes.subarray(4, -4)) crc = CRC[(crc ^ byte) & 255]! ^ (crc >>> 8);
  view.setUint32(8 + body.length, ~crc);
  return bytes;
}

async function compressed(parts: Iterable<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
  const zlib = new CompressionStream('deflate');
  const writer = zlib.writable.getWriter();
  const result = new Response(zlib.readable).arrayBuffer();
  for (const part of parts) {
    await writer.ready;
    void writer.write(part);
  }
  await writer.close();
  return new Uint8Array(await result);
}

/** A PNG file. */
export async function encodePng(
  pixels: Samples, alpha: Samples['data'] | null, exif: Uint8Array | null, icc: Uint8Array | null,
): Promise<Blob> {
  const { width, height, channels, data } = pixels;
  const wide = data instanceof Uint16Array;
  const samples = channels + Number(alpha !== null);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([wide ? 16 : 8, (channels === 3 ? 2 : 0) + (alpha ? 4 : 0)], 8);
  const step = samples * (wide ? 2 : 1);
  const row = (y: number, line: Uint8Array): void => {
    for (let x = 0; x < width; x++) {
      for (let i = 0; i < samples; i++) {
        const place = y * width + x;
        const value = i < channels ? data[place * channels + i]! : alpha![place]!;
        const at = x * samples + i;
        if (wide) line.set([value >> 8, value & 255], 2 * at);
        else line[at] = value;
      }
    }
  };
  const body = await compressed(filtered(width * step, height, step, row));
  const profile = icc && (await compressed([new Uint8Array(icc)]));
  const parts = [Uint8Array.from(SIGNATURE), chunk('IHDR', header)];
  if (profile) parts.push(chunk('iCCP', Uint8Array.of(0x69, 0x63, 0x63, 0, 0, ...profile)));
  if (exif) parts.push(chunk('eXIf', exif));
  return new Blob([...parts, chunk('IDAT', body), chunk('IEND', new Uint8Array(0))], { type: 'image/png' });
}

/** Rows with the filter Sub, Up or Paeth in front, whichever leaves the smallest numbers. */
function* filtered(
  bytes: number, height: number, step: number, row: (y: number, line: Uint8Array) => void,
): Generator<Uint8Array<ArrayBuffer>> {
  let above = new Uint8Array(bytes);
  let line = new Uint8Array(bytes);
  const candidates = [1, 2, 4].map((filter) => Uint8Array.from({ length: bytes + 1 }, (_, i) => (i ? 0 : filter)));
  const [sub, up, paeth] = candidates as [Uint8Array, Uint8Array, Uint8Array];
  for (let y = 0; y < height; y++) {
    row(y, line);
    const sums = [0, 0, 0] as [number, number, number];
    for (let i = 0; i < bytes; i++) {
      const value = line[i]!;
      const left = i < step ? 0 : line[i - step]!;
      const top = above[i]!;
      const corner = i < step ? 0 : above[i - step]!;
      const [p, q, r] = [Math.abs(top - corner), Math.abs(left - corner), Math.abs(left + top - 2 * corner)];
      const near = p <= q && p <= r ? left : q <= r ? top : corner;
      sub[i + 1] = value - left;
      up[i + 1] = value - top;
      paeth[i + 1] = value - near;
      sums[0] += Math.abs((sub[i + 1]! << 24) >> 24);
      sums[1] += Math.abs((up[i + 1]! << 24) >> 24);
      sums[2] += Math.abs((paeth[i + 1]! << 24) >> 24);
    }
    yield candidates[sums.indexOf(Math.min(...sums))]!.slice();
    [above, line] = [line, above];
  }
}
