// Traces of JPEG compression in pixels: a simpler form of src/ucdir/inspection/jpeg_traces.py, frequency by frequency.

import { ijgTables } from './jpeg';

const FREQUENCIES = [
  [0, 1], [1, 0], [0, 2], [1, 1], [2, 0], [0, 3], [1, 2], [2, 1], [3, 0], [0, 4], [4, 0], [2, 2],
] as const;
const STEPS = Array.from({ length: 159 }, (_, i) => i + 2);
const NOISE = [0.45, 1, 2];
const OUTLIERS = 0.05;
const ENOUGH = 24;
const CERTAIN = 0.35;
const FEWEST = 4;
const CONTROLS = [[3, 5], [5, 3], [1, 6], [6, 1]] as const;
const MOST_BLOCKS = 1500;
const SOME_BLOCKS = 300;
const ZERO = 0.75;
const REGION = 2048;

interface Grey {
  width: number;
  height: number;
  data: Float32Array;
}

/** Coefficients of blocks, 64 each. */
type Blocks = Float32Array;

/** Steps of the table, by place in it. */
type Steps = Map<number, number>;

/** The quality, 1 to 100, of the compression that an image went through; null where nothing is found. */
export function findJpegQuality(
  pixels: { width: number; height: number; channels: 1 | 3; data: Uint8Array },
): number | null {
  const grey = middle(pixels);
  if (Math.min(grey.width, grey.height) < 24) return null;
  let strongest: { quality: number; row: number; column: number } | null = null;
  for (const [row, column] of grids(grey)) {
    const steps = stepsOf(coefficients(grey, row, column, MOST_BLOCKS));
    const quality = steps.size ? nearestQuality(steps) : Infinity;
    if (quality < (strongest?.quality ?? Infinity)) strongest = { quality, row, column };
  }
  if (!strongest) return null;
  const { row, column, quality } = strongest;
  const found = CONTROLS.filter(
    ([down, across]) => stepsOf(coefficients(grey, (row + down) % 8, (column + across) % 8, MOST_BLOCKS)).size,
  );
  return found.length > 1 ? null : quality;
}

/** Luma of the middle `REGION` pixels of each side, which begins at multiples of 8. */
function middle({ width, height, channels, data }: Parameters<typeof findJpegQuality>[0]): Grey {
  const [top, left] = [height, width].map((side) => Math.floor(Math.max(0, side - REGION) / 16) * 8) as [number, number];
  const [h, w] = [Math.min(REGION, height - top), Math.min(REGION, width - left)];
  const grey = new Float32Array(h * w);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const at = ((top + y) * width + left + x) * channels;
      grey[y * w + x] = channels === 1 ? data[at]! : 0.299 * data[at]! + 0.587 * data[at + 1]! + 0.114 * data[at + 2]!;
    }
  }
  return { width: w, height: h, data: grey };
}

/** Grids that are tried: of the last compression and, where pixels jump at other borders, of an earlier one. */
function grids(grey: Grey): [number, number][] {
  let [best, most] = [0, -1];
  for (let i = 0; i < 64; i++) {
    const blocks = coefficients(grey, i >> 3, i & 7, SOME_BLOCKS);
    const zeros = blocks.reduce((count, value) => count + Number(Math.abs(value) < ZERO), 0) / Math.max(1, blocks.length);
    if (zeros > most) [best, most] = [i, zeros];
  }
  const [rows, columns] = [phases(grey, false), phases(grey, true)];
  const places = new Set([0, best, ...rows.flatMap((row) => columns.map((column) => 8 * row + column))]);
  return [...places].map((i) => [i >> 3, i & 7]);
}

/** Rows or columns, modulo 8, before which pixels jump most: the two first. */
function phases({ width, height, data }: Grey, across: boolean): number[] {
  const [length, stride] = across ? [width, 1] : [height, width];
  const [lines, line] = across ? [height, width] : [width, 1];
  const jumps = Array.from({ length: length - 1 }, (_, i) => {
    let sum = 0;
    for (let n = 0; n < lines; n++) sum += Math.abs(data[n * line + (i + 1) * stride]! - data[n * line + i * stride]!);
    return sum / lines;
  });
  const excess = jumps.slice(1, -1).map((jump, i) => jump - (jumps[i]! + jumps[i + 2]!) / 2);
  const byPhase = Array.from({ length: 8 }, (_, phase) => {
    const part = excess.filter((_, i) => (i + 2) % 8 === phase);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  return [...byPhase.keys()].sort((a, b) => byPhase[a]! - byPhase[b]!).slice(-2);
}

/** Orthonormal DCT-II; rows are frequencies. */
const DCT = Array.from({ length: 64 }, (_, i) => {
  const [k, x] = [i >> 3, i & 7];
  return (Math.cos(((2 * x + 1) * k * Math.PI) / 16) / 2) * (k ? 1 : Math.SQRT1_2);
});

/** Coefficients of at most so many blocks from all over an image whose grid begins at (top, left). */
function coefficients({ width, height, data }: Grey, top: number, left: number, most: number): Blocks {
  const [rows, columns] = [Math.floor((height - top) / 8), Math.floor((width - left) / 8)];
  const corners: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const corner = (top + 8 * row) * width + left + 8 * column;
      if (!isClipped(data, corner, width)) corners.push(corner);
    }
  }
  const stride = Math.ceil(corners.length / most) || 1;
  const blocks = new Float32Array(Math.ceil(corners.length / stride) * 64);
  const half = new Float64Array(64);
  for (let n = 0; n < blocks.length / 64; n++) {
    const corner = corners[n * stride]!;
    for (let k = 0; k < 8; k++) {
      for (let x = 0; x < 8; x++) {
        let sum = 0;
        for (let y = 0; y < 8; y++) sum += DCT[8 * k + y]! * data[corner + y * width + x]!;
        half[8 * k + x] = sum;
      }
    }
    for (let k = 0; k < 8; k++) {
      for (let l = 0; l < 8; l++) {
        let sum = 0;
        for (let x = 0; x < 8; x++) sum += half[8 * k + x]! * DCT[8 * l + x]!;
        blocks[64 * n + 8 * k + l] = sum;
      }
    }
  }
  return blocks;
}

function isClipped(data: Float32Array, corner: number, width: number): boolean {
  for (let y = 0; y < 8; y++) {
    for (let x = 0; x < 8; x++) {
      const value = data[corner + y * width + x]!;
      if (value <= 0 || value >= 255) return true;
    }
  }
  return false;
}

/** The steps of the frequencies where they are certain; none if those are few. */
function stepsOf(blocks: Blocks): Steps {
  const steps: Steps = new Map();
  for (const [down, across] of FREQUENCIES) {
    const values: number[] = [];
    for (let at = 8 * down + across; at < blocks.length; at += 64) {
      const value = Math.abs(blocks[at]!);
      if (value > 1.5) values.push(value);
    }
    if (values.length < ENOUGH) continue;
    for (const noise of NOISE) {
      let [best, highest] = [0, -Infinity];
      for (const step of STEPS) {
        const factor = (step * (1 - OUTLIERS)) / (noise * Math.sqrt(2 * Math.PI));
        let score = 0;
        for (const value of values) {
          const distance = (value - step * Math.round(value / step)) / noise;
          score += Math.log(factor * Math.exp(-0.5 * distance * distance) + OUTLIERS);
        }
        if (score > highest) [best, highest] = [step, score];
      }
      if (highest / values.length > CERTAIN) {
        steps.set(8 * down + across, best);
        break;
      }
    }
  }
  return steps.size >= FEWEST ? steps : new Map();
}

/** The quality whose luminance table comes nearest to some of its steps, by the median of their logarithms. */
function nearestQuality(steps: Steps): number {
  let [best, least] = [1, Infinity];
  for (let quality = 1; quality <= 100; quality++) {
    const [table] = ijgTables(quality);
    const distance = [...steps].map(([place, step]) => Math.abs(Math.log(table[place]! / step))).sort((a, b) => a - b);
    const n = distance.length;
    const median = (distance[(n - 1) >> 1]! + distance[n >> 1]!) / 2;
    const total = median + (0.1 * distance.reduce((sum, one) => sum + one, 0)) / n;
    if (total < least) [best, least] = [quality, total];
  }
  return best;
}
