// Colour profiles (ICC.1:2022) of tone curves and, for RGB, a matrix, as in src/ucdir/images/icc.py.

const PLACES = 65_536;
/** Linear sRGB to XYZ under the D50 of profiles. */
const SRGB_TO_D50: Matrix = [
  [0.436087860, 0.385076878, 0.143035262],
  [0.222510535, 0.716886272, 0.060603194],
  [0.013925986, 0.097079576, 0.713894438],
];
/** Profiles within so much of sRGB are taken for sRGB. */
const NEARLY_SRGB = 10 / 255;

type Matrix = number[][];

export const linearToSrgb = (linear: number): number => {
  const v = Math.min(1, Math.max(0, linear));
  return v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055;
};

export const srgbToLinear = (srgb: number): number => {
  const v = Math.min(1, Math.max(0, srgb));
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
};

/** A grey or RGB space, and its way to sRGB and back. Numbers of a pixel lie in [0,1]. */
export class ColourSpace {
  private readonly fromSrgb: Matrix;
  private readonly fromLight: Float32Array[];

  /** `light`: of each channel, sample of 16 bits -> light. `toSrgb`: light to linear sRGB, white to white. */
  constructor(private readonly light: Float32Array[], private readonly toSrgb: Matrix) {
    this.fromSrgb = inverse(toSrgb);
    this.fromLight = light.map((table) => {
      let place = 0; // both rise
      return Float32Array.from({ length: PLACES }, (_, i) => {
        const wanted = srgbToLinear(i / (PLACES - 1));
        while (place < PLACES - 1 && table[place + 1]! < wanted) place++;
        const [low, high] = [table[place]!, table[Math.min(place + 1, PLACES - 1)]!];
        const share = high > low ? Math.min(1, Math.max(0, (wanted - low) / (high - low))) : 0;
        return (place + share) / (PLACES - 1);
      });
    });
  }

  get channels(): number {
    return this.light.length;
  }

  /** Light in [0,1] of a sample of one channel. */
  lightOf(channel: number, sample: number): number {
    return this.light[channel]![Math.round(sample * (PLACES - 1))]!;
  }

  /** The sample of one channel for light, that above 1 included. */
  sampleOf(channel: number, light: number): number {
    return this.fromLight[channel]![Math.round(linearToSrgb(light) * (PLACES - 1))]!;
  }

  /** Samples -> sRGB; what lies outside of it is clipped. */
  srgb(samples: readonly number[]): number[] {
    return times(this.toSrgb, samples.map((value, i) => this.lightOf(i, value))).map(linearToSrgb);
  }

  samples(srgb: readonly number[]): number[] {
    return times(this.fromSrgb, srgb.map(srgbToLinear)).map((light, i) => this.sampleOf(i, light));
  }

  get isNearlySrgb(): boolean {
    const levels = Array.from({ length: 18 }, (_, i) => i / 17);
    const grid = this.channels === 1 ? levels.map((v) => [v]) : levels.flatMap((r) => levels.flatMap((g) => levels.map((b) => [r, g, b])));
    return grid.every((samples) => this.srgb(samples).every((value, i) => Math.abs(value - samples[i]!) <= NEARLY_SRGB));
  }
}

/** How many channels a profile describes; null if it is neither grey nor RGB. */
export function iccChannels(profile: Uint8Array): 1 | 3 | null {
  const name = text(profile, 16, 4);
  return text(profile, 36, 4) !== 'acsp' ? null : name === 'GRAY' ? 1 : name === 'RGB ' ? 3 : null;
}

/** The space of a profile; null if it is nearly sRGB, has no tone curves or matrix, or is damaged. */
export function colourSpace(profile: Uint8Array): ColourSpace | null {
  try {
    const channels = iccChannels(profile);
    const tags = tagsOf(profile);
    const tag = (name: string): DataView => {
      const found = tags.get(name);
      if (!found) throw new RangeError(name);
      return found;
    };
    if (channels === 1) return unlessSrgb(new ColourSpace([light(tag('kTRC'))], [[1]]));
    if (channels !== 3) return null;
    const xyz = ['rXYZ', 'gXYZ', 'bXYZ'].map((name) => [0, 1, 2].map((i) => tag(name).getInt32(8 + 4 * i) / 65_536));
    const matrix = product(inverse(SRGB_TO_D50), transposed(xyz)).map((row) => {
      const sum = row.reduce((a, b) => a + b, 0);
      return row.map((value) => value / sum);
    });
    if (!matrix.flat().every(Number.isFinite)) return null;
    return unlessSrgb(new ColourSpace(['rTRC', 'gTRC', 'bTRC'].map((name) => light(tag(name))), matrix));
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

const unlessSrgb = (space: ColourSpace): ColourSpace | null => (space.isNearlySrgb ? null : space);

const text = (data: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...data.subarray(at, at + length));

function tagsOf(profile: Uint8Array): Map<string, DataView> {
  const view = new DataView(profile.buffer, profile.byteOffset, profile.byteLength);
  const tags = new Map<string, DataView>();
  const count = Math.min(view.getUint32(128), 100);
  for (let at = 132; at < 132 + 12 * count; at += 12) {
    const [start, size] = [view.getUint32(at + 4), view.getUint32(at + 8)];
    if (start + size <= profile.length) tags.set(text(profile, at, 4), new DataView(profile.buffer, profile.byteOffset + start, size));
  }
  return tags;
}

/** The tone curve of a tag `curv` or `para` at 65,536 places. */
function light(tag: DataView): Float32Array {
  const curve = curveOf(tag);
  let highest = 0;
  const table = Float32Array.from({ length: PLACES }, (_, i) => {
    const value = Math.min(1, Math.max(0, curve(i / (PLACES - 1))));
    if (!(highest - value < 0.01)) throw new RangeError('the curve does not rise');
    highest = Math.max(highest, value);
    return highest;
  });
  if (!(table[PLACES - 1]! > table[0]!)) throw new RangeError('the curve does not rise');
  return table;
}

function curveOf(tag: DataView): (x: number) => number {
  const kind = tag.getUint32(0);
  if (kind === 0x63757276) {
    const points = Array.from({ length: Math.min(tag.getUint32(8), 65_536) }, (_, i) => tag.getUint16(12 + 2 * i));
    if (points.length === 0) return (x) => x;
    if (points.length === 1) return (x) => x ** (points[0]! / 256);
    return (x) => {
      const place = x * (points.length - 1);
      const low = Math.min(Math.floor(place), points.length - 2);
      return (points[low]! + (place - low) * (points[low + 1]! - points[low]!)) / 65_535;
    };
  }
  if (kind !== 0x70617261) throw new RangeError('no curve');
  const form = tag.getUint16(8);
  const count = [1, 3, 4, 5, 7][form];
  if (count === undefined) throw new RangeError('the curve is of an unknown kind');
  const given = Array.from({ length: count }, (_, i) => tag.getInt32(12 + 4 * i) / 65_536);
  const [g = 1, a = 1, b = 0] = given;
  let [, , , c = 0, d = 0, e = 0, f = 0] = given;
  if (form === 1 || form === 2) [d, e, c, f] = [a ? -b / a : 0, c, 0, c];
  return (x) => (x >= d ? Math.max(a * x + b, 0) ** g + e : c * x + f);
}

// ------------------------------------------------------------------------------------------------------ matrices

const times = (m: Matrix, v: readonly number[]): number[] => m.map((row) => row.reduce((sum, x, i) => sum + x * v[i]!, 0));
const transposed = (m: Matrix): Matrix => m[0]!.map((_, i) => m.map((row) => row[i]!));
const product = (m: Matrix, n: Matrix): Matrix => transposed(transposed(n).map((column) => times(m, column)));

function inverse(m: Matrix): Matrix {
  if (m.length === 1) return [[1 / m[0]![0]!]];
  const [[a, b, c], [d, e, f], [g, h, i]] = m as [[number, number, number], [number, number, number], [number, number, number]];
  const adjugate = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  const determinant = a * adjugate[0]![0]! + b * adjugate[1]![0]! + c * adjugate[2]![0]!;
  return adjugate.map((row) => row.map((value) => value / determinant));
}
