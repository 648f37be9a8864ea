// Noise by place, as in src/ucdir/diffusion/noise.py: ε at a pixel is a function of (seed, step, position).
// The numbers are NumPy's: SeedSequence, Philox4x64-10, and the ziggurat method for float32.

/** Side in pixels of the squares that are drawn at once; part of the definition. */
const CELL = 128;

/** Standard normal numbers [3,height,width] of a rectangle whose corner lies at (top, left). */
export function noiseByPlace(
  seed: number, step: number, height: number, width: number, top = 0, left = 0,
): Float32Array {
  const noise = new Float32Array(3 * height * width);
  const cell = new Float32Array(3 * CELL * CELL);
  for (let row = Math.floor(top / CELL); row * CELL < top + height; row++) {
    for (let column = Math.floor(left / CELL); column * CELL < left + width; column++) {
      fillNormal(cell, philoxKey([seed, step, row, column]));
      const [y0, y1] = [Math.max(row * CELL, top), Math.min((row + 1) * CELL, top + height)];
      const [x0, x1] = [Math.max(column * CELL, left), Math.min((column + 1) * CELL, left + width)];
      for (let channel = 0; channel < 3; channel++) {
        for (let y = y0; y < y1; y++) {
          const from = (channel * CELL + y - row * CELL) * CELL + x0 - column * CELL;
          noise.set(cell.subarray(from, from + x1 - x0), (channel * height + y - top) * width + x0 - left);
        }
      }
    }
  }
  return noise;
}

// ------------------------------------------------------------------------------------ numpy.random.SeedSequence

/** The key of Philox, four words of 32 bits, the lowest first. */
export function philoxKey(numbers: readonly number[]): Uint32Array {
  const entropy = numbers.flatMap((n) => (n < 2 ** 32 ? [n] : [n % 2 ** 32, Math.floor(n / 2 ** 32)]));
  let constant = 0x43b0d7e5;
  const hash = (value: number): number => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mix = (x: number, y: number): number => {
    const mixed = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) | 0;
    return mixed ^ (mixed >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to]!, hash(pool[from]!));
  }
  for (const word of entropy.slice(4)) {
    for (let to = 0; to < 4; to++) pool[to] = mix(pool[to]!, hash(word));
  }
  constant = 0x8b51f9dd;
  return Uint32Array.from(pool, (word) => {
    word ^= constant;
    constant = Math.imul(constant, 0x58f38ded);
    word = Math.imul(word, constant);
    return word ^ (word >>> 16);
  });
}

// ------------------------------------------------------------------------------------------ Philox4x64-10

/** The upper 32 bits of a product of two unsigned numbers of 32 bits. */
function high(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const low = Math.imul(a0, b0) >>> 16;
  const left = (Math.imul(a1, b0) >>> 0) + low;
  const right = (Math.imul(a0, b1) >>> 0) + (left & 0xffff);
  return (Math.imul(a1, b1) + ((left / 65536) | 0) + ((right / 65536) | 0)) >>> 0;
}

/** Words of 32 bits, in the order in which NumPy takes them. */
class Philox {
  private readonly words = new Int32Array(8);
  private at = 8;
  private counter = 0;

  constructor(private readonly key: Uint32Array) {}

  next(): number {
    if (this.at === 8) this.fill();
    return this.words[this.at++]!;
  }

  /** A number in [0,1) of 24 bits. */
  float(): number {
    return (this.next() >>> 8) / 2 ** 24;
  }

  /** Ten rounds on a counter of four words of 64 bits: a, b, c, d, each its lower and its upper half. */
  private fill(): void {
    let a = ++this.counter | 0, A = 0, b = 0, B = 0, c = 0, C = 0, d = 0, D = 0;
    let k = this.key[0]! | 0, K = this.key[1]! | 0, l = this.key[2]! | 0, L = this.key[3]! | 0;
    for (let round = 0; round < 10; round++) {
      // p = 0xd2e7470ee14c6c93 · a and q = 0xca5a826395121157 · c, of 128 bits; e and f are carries
      let sum = high(0xe14c6c93, a) + (Math.imul(0xe14c6c93, A) >>> 0) + (Math.imul(0xd2e7470e, a) >>> 0);
      const p0 = Math.imul(0xe14c6c93, a);
      const p1 = sum | 0;
      sum = high(0xe14c6c93, A) + high(0xd2e7470e, a) + (Math.imul(0xd2e7470e, A) >>> 0) + ((sum / 2 ** 32) | 0);
      const p2 = sum | 0;
      const p3 = (high(0xd2e7470e, A) + ((sum / 2 ** 32) | 0)) | 0;
      sum = high(0x95121157, c) + (Math.imul(0x95121157, C) >>> 0) + (Math.imul(0xca5a8263, c) >>> 0);
      const q0 = Math.imul(0x95121157, c);
      const q1 = sum | 0;
      sum = high(0x95121157, C) + high(0xca5a8263, c) + (Math.imul(0xca5a8263, C) >>> 0) + ((sum / 2 ** 32) | 0);
      const q2 = sum | 0;
      const q3 = (high(0xca5a8263, C) + ((sum / 2 ** 32) | 0)) | 0;
      a = q2 ^ b ^ k;
      A = q3 ^ B ^ K;
      b = q0;
      B = q1;
      c = p2 ^ d ^ l;
      C = p3 ^ D ^ L;
      d = p0;
      D = p1;
      // the key goes on by 0x9e3779b97f4a7c15 and 0xbb67ae8584caa73b
      sum = (k >>> 0) + 0x7f4a7c15;
      k = sum | 0;
      K = (K + 0x9e3779b9 + (sum >= 2 ** 32 ? 1 : 0)) | 0;
      sum = (l >>> 0) + 0x84caa73b;
      l = sum | 0;
      L = (L + 0xbb67ae85 + (sum >= 2 ** 32 ? 1 : 0)) | 0;
    }
    const words = this.words;
    words[0] = a;
    words[1] = A;
    words[2] = b;
    words[3] = B;
    words[4] = c;
    words[5] = C;
    words[6] = d;
    words[7] = D;
    this.at = 0;
  }
}

// ------------------------------------------------------------------ the ziggurat of 256 layers (Marsaglia, Tsang 2000)

const R = 3.6541528853610088;
/** Area of a layer, and of the lowest with its tail. */
const AREA = 0.004928673233974658;
const limits = new Int32Array(256);
const widths = new Float32Array(256);
const heights = new Float32Array(256);
{
  const density = (x: number): number => Math.exp(-0.5 * x * x);
  const base = AREA / density(R);
  limits[0] = Math.round((R / base) * 2 ** 23);
  [widths[0], widths[255]] = [base / 2 ** 23, R / 2 ** 23];
  [heights[0], heights[255]] = [1, density(R)];
  let edge = R;
  for (let i = 254; i > 0; i--) {
    const next = Math.sqrt(-2 * Math.log(AREA / edge + density(edge)));
    limits[i + 1] = Math.round((next / edge) * 2 ** 23);
    edge = next;
    [widths[i], heights[i]] = [edge / 2 ** 23, density(edge)];
  }
}

/** Fill with standard normal numbers. */
export function fillNormal(numbers: Float32Array, key: Uint32Array): void {
  const words = new Philox(key);
  for (let i = 0; i < numbers.length; i++) numbers[i] = normal(words);
}

function normal(words: Philox): number {
  for (;;) {
    const word = words.next();
    const layer = word & 0xff;
    const place = (word >>> 9) & 0x7fffff;
    const size = Math.fround(place * widths[layer]!);
    const x = word & 0x100 ? -size : size;
    if (place < limits[layer]!) return x;
    if (layer === 0) {
      for (;;) {
        const beyond = Math.fround(-Math.fround(1 / R) * Math.fround(Math.log1p(-words.float())));
        const y = -Math.fround(Math.log1p(-words.float()));
        if (Math.fround(y + y) > Math.fround(beyond * beyond)) {
          const tail = Math.fround(Math.fround(R) + beyond);
          return place & 0x100 ? -tail : tail;
        }
      }
    }
    const step = Math.fround(heights[layer - 1]! - heights[layer]!);
    if (Math.fround(Math.fround(step * words.float()) + heights[layer]!) < Math.exp(-0.5 * x * x)) return x;
  }
}
