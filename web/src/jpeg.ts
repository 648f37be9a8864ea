// JPEG headers, as in src/ucdir/images/jpeg.py: segments before the first scan, and the quality of the tables.

/** Annex K of the JPEG standard (ITU-T T.81), tables K.1 (luminance) and K.2 (chrominance). */
const ANNEX_K = [
  [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
  ],
  [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, ...(Array(32).fill(99) as number[]),
  ],
] as const;

/** Places of the coefficients of the zigzag order in a table of rows. */
const ZIGZAG = Array.from({ length: 64 }, (_, i) => i).sort((a, b) => {
  const key = (i: number): [number, number] => {
    const [row, column] = [i >> 3, i & 7];
    return [row + column, (row + column) % 2 ? row : column];
  };
  const [[p, q], [r, s]] = [key(a), key(b)];
  return p - r || q - s;
});

export interface JpegHeader {
  precision: number;
  width: number;
  height: number;
  /** Number of the table of each colour component, luminance first. */
  components: number[];
  tables: Map<number, number[]>;
  /** Markers and bodies of the segments APP0 to APP15. */
  segments: [marker: number, body: Uint8Array][];
  hasComments: boolean;
  /** Whether the image's end is there. */
  complete: boolean;
}

export function jpegHeader(data: Uint8Array): JpegHeader {
  const header: JpegHeader = {
    precision: 0, width: 0, height: 0, components: [], tables: new Map(), segments: [], hasComments: false, complete: false,
  };
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 2;
  while (at + 4 <= data.length) {
    const marker = data[at + 1]!;
    if (data[at] !== 0xff || marker === 0 || marker === 1 || marker === 0xff || (marker >= 0xd0 && marker < 0xd9)) {
      at++;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) break;
    const body = data.subarray(at + 4, at + 2 + view.getUint16(at + 2));
    if (marker === 0xdb) readTables(body, header.tables);
    else if (marker >= 0xc0 && marker < 0xd0 && ![0xc4, 0xc8, 0xcc].includes(marker) && body.length >= 6) {
      header.precision ||= body[0]!;
      [header.height, header.width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
      header.components = Array.from({ length: body[5]! }, (_, i) => body[8 + 3 * i] ?? 0);
    } else if (marker >= 0xe0 && marker < 0xf0) header.segments.push([marker, body]);
    else if (marker === 0xfe) header.hasComments = true;
    at += 4 + body.length;
  }
  while (at + 1 < data.length && !header.complete) {
    at = data.indexOf(0xff, at);
    if (at < 0) break;
    header.complete = data[at + 1] === 0xd9;
    at++;
  }
  return header;
}

function readTables(body: Uint8Array, tables: Map<number, number[]>): void {
  for (let at = 0; at < body.length; ) {
    const wide = body[at]! >> 4;
    const end = at + 65 + 64 * wide;
    if (wide > 1 || body.length < end) return;
    const table = new Array<number>(64);
    ZIGZAG.forEach((place, i) => {
      table[place] = wide ? body[at + 1 + 2 * i]! * 256 + body[at + 2 + 2 * i]! : body[at + 1 + i]!;
    });
    tables.set(body[at]! & 15, table);
    at = end;
  }
}

/** The tables of the Independent JPEG Group, rows of vertical frequency. */
export function ijgTables(quality: number): [luminance: number[], chrominance: number[]] {
  const scale = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return ANNEX_K.map((table) =>
    table.map((step) => Math.min(255, Math.max(1, Math.floor((step * scale + 50) / 100)))),
  ) as [number[], number[]];
}

/** The quality 1..100 whose tables are these or, by least squares of their logarithms, come nearest. */
export function estimateQuality({ components, tables }: JpegHeader): number | null {
  const used = [...new Set(components)].slice(0, 2);
  const numbers = used.length ? used : [...tables.keys()].sort((a, b) => a - b).slice(0, 2);
  const found = numbers.flatMap((number) => tables.get(number) ?? []);
  if (!found.length) return null;
  const measured = found.map((step) => Math.log(Math.max(step, 1)));
  let [best, least] = [1, Infinity];
  for (let quality = 1; quality <= 100; quality++) {
    const table = ijgTables(quality).flat();
    const distance = measured.reduce((sum, log, i) => sum + (Math.log(table[i]!) - log) ** 2, 0);
    if (distance < least) [best, least] = [quality, distance];
  }
  return best;
}

const startsWith = (body: Uint8Array, text: string): boolean =>
  [...text].every((letter, i) => body[i] === letter.charCodeAt(0));

function joined(parts: Uint8Array[]): Uint8Array | null {
  if (!parts.length) return null;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The EXIF block of a JPEG file, without the six bytes before it. */
export function exifOfJpeg({ segments }: JpegHeader): Uint8Array | null {
  const found = segments.find(([marker, body]) => marker === 0xe1 && startsWith(body, 'Exif\0\0'));
  return found ? found[1].subarray(6) : null;
}

/** The colour profile of a JPEG file, which may lie in several segments. */
export function iccOfJpeg({ segments }: JpegHeader): Uint8Array | null {
  const parts = segments.filter(([marker, body]) => marker === 0xe2 && startsWith(body, 'ICC_PROFILE\0'));
  parts.sort(([, a], [, b]) => a[12]! - b[12]!);
  return joined(parts.map(([, body]) => body.subarray(14)));
}

/** Names of the metadata that are neither EXIF nor a colour profile. */
export function otherMetadataOfJpeg({ segments, hasComments }: JpegHeader): string[] {
  const has = (marker: number, text: string): boolean =>
    segments.some(([found, body]) => found === marker && startsWith(body, text));
  const found = { XMP: has(0xe1, 'http://ns.adobe.com/x'), IPTC: has(0xed, 'Photoshop 3.0\0'), comments: hasComments };
  return Object.entries(found).flatMap(([name, there]) => (there ? [name] : []));
}

/** A JPEG file with segments of EXIF and a colour profile behind its first marker and JFIF. */
export function jpegWith(jpeg: Uint8Array, exif: Uint8Array | null, icc: Uint8Array | null): Uint8Array<ArrayBuffer>[] {
  const segment = (marker: number, head: string, body: Uint8Array): Uint8Array<ArrayBuffer> => {
    const size = 2 + head.length + body.length;
    const bytes = new Uint8Array(2 + size);
    bytes.set([0xff, marker, size >> 8, size & 255, ...[...head].map((letter) => letter.charCodeAt(0))]);
    bytes.set(body, 4 + head.length);
    return bytes;
  };
  const jfif = jpeg[3] === 0xe0 ? 4 + jpeg[4]! * 256 + jpeg[5]! : 2;
  const pieces = [jpeg.slice(0, jfif)];
  if (exif && exif.length <= 65_527) pieces.push(segment(0xe1, 'Exif\0\0', exif));
  const most = 65_519;
  const count = Math.ceil((icc?.length ?? 0) / most);
  for (let i = 0; icc && i < count && count < 256; i++) {
    pieces.push(segment(0xe2, `ICC_PROFILE\0${String.fromCharCode(i + 1, count)}`, icc.subarray(i * most, (i + 1) * most)));
  }
  return [...pieces, jpeg.slice(jfif)];
}
