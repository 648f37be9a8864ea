// EXIF of the upright image, as in src/ucdir/images/exif.py: orientation 1, its size, no thumbnail. Everything else keeps
// its place, so makers' notes stay readable.

interface Ifd {
  /** Tag -> where its value is stored, and whether that is of 16 or 32 bits; others are absent. */
  entries: Map<number, { at: number; wide: boolean }>;
  /** Where the offset of the next IFD is stored. */
  link: number;
}

const ORIENTATION = 0x0112;
const EXIF_IFD = 0x8769;

class Structure {
  readonly view: DataView;
  readonly little: boolean;

  constructor(readonly data: Uint8Array) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.little = data[0] === 0x49;
    if (!['II*\0', 'MM\0*'].includes(String.fromCharCode(...data.subarray(0, 4)))) throw new RangeError('no EXIF');
  }

  ifd(at: number): Ifd {
    const count = this.view.getUint16(at, this.little);
    const link = at + 2 + 12 * count;
    this.view.getUint32(link, this.little); // within the block, or it throws
    const entries = new Map<number, { at: number; wide: boolean }>();
    for (let field = at + 2; field < link; field += 12) {
      const kind = this.view.getUint16(field + 2, this.little);
      if (kind === 3 || kind === 4) {
        entries.set(this.view.getUint16(field, this.little), { at: field + 8, wide: kind === 4 });
      }
    }
    return { entries, link };
  }

  get(ifd: Ifd, tag: number): number {
    const entry = ifd.entries.get(tag);
    if (!entry) return 0;
    return entry.wide ? this.view.getUint32(entry.at, this.little) : this.view.getUint16(entry.at, this.little);
  }

  set(ifd: Ifd, tag: number, value: number): void {
    const entry = ifd.entries.get(tag);
    if (!entry) return;
    if (entry.wide) this.view.setUint32(entry.at, value, this.little);
    else this.view.setUint16(entry.at, value, this.little);
  }

  get main(): Ifd {
    return this.ifd(this.view.getUint32(4, this.little));
  }
}

/** The orientation 1..8 of an EXIF block; 1 where there is none. */
export function orientationOf(exif: Uint8Array | null): number {
  try {
    const structure = exif && new Structure(exif);
    const found = structure ? structure.get(structure.main, ORIENTATION) : 1;
    return found >= 1 && found <= 8 ? found : 1;
  } catch {
    return 1;
  }
}

/** A copy for the upright image; null where the block is damaged. */
export function cleanExif(exif: Uint8Array, width: number, height: number): Uint8Array | null {
  try {
    const structure = new Structure(exif.slice());
    const { main, data, view, little } = structure;
    const sub = structure.get(main, EXIF_IFD);
    for (const ifd of [main, ...(sub ? [structure.ifd(sub)] : [])]) {
      structure.set(ifd, ORIENTATION, 1);
      for (const tag of [0x0100, 0xa002]) structure.set(ifd, tag, width);
      for (const tag of [0x0101, 0xa003]) structure.set(ifd, tag, height);
    }
    const next = view.getUint32(main.link, little);
    view.setUint32(main.link, 0, little);
    if (next) {
      const thumbnail = structure.ifd(next);
      const start = structure.get(thumbnail, 0x0201);
      const end = start + structure.get(thumbnail, 0x0202);
      if (data[start] === 0xff && data[start + 1] === 0xd8 && end <= data.length) data.fill(0, start, end);
    }
    return data;
  } catch {
    return null;
  }
}
