// Restores an image: initial prediction, residual sampled by diffusion, sum (Fig. 1 left), as in src/ucdir/pipeline.py.

import type { Networks } from './model';
import { noiseByPlace } from './noise';
import { SAMPLERS } from './samplers';
import { mirrored, smallestPatch, split, type Patch } from './tiles';

/** An image that is read patch by patch: fills planes [3,h,w] of pixels at rows and columns, in [-1,1]. */
export interface Source {
  height: number;
  width: number;
  read(into: Float32Array, rows: Int32Array, columns: Int32Array): void;
}

export interface Options {
  seed: number;
  scalars: Record<string, number>;
  /** Longest side of a patch in pixels, overlaps included. */
  patchSize: number;
  /** Called after each patch as (done, in all), in pixels that networks have seen. */
  onProgress: (done: number, total: number) => void;
}

/** An image [3,height,width] with 16 bits a number, which takes half of the memory of float32. */
export class Planes implements Source {
  private static readonly STEPS = 10_000; // a 78th of an 8-bit level; the range is ±3.2
  private readonly numbers: Int16Array;

  constructor(readonly height: number, readonly width: number) {
    this.numbers = new Int16Array(3 * height * width);
  }

  get(i: number): number {
    return this.numbers[i]! / Planes.STEPS;
  }

  read(into: Float32Array, rows: Int32Array, columns: Int32Array): void {
    gather(this.numbers, this.height, this.width, into, rows, columns);
    for (let i = 0; i < into.length; i++) into[i]! /= Planes.STEPS;
  }

  write(patch: Patch, result: Float32Array): void {
    const limit = 32_767;
    eachKept(patch, this.height, this.width, (from, to) => {
      const number = Math.round(result[from]! * Planes.STEPS);
      if (Number.isNaN(number)) throw new Error('notFinite');
      this.numbers[to] = Math.max(-limit, Math.min(limit, number));
    });
  }
}

/** Initial prediction and sampled residual, whose sum is the restored image. */
export interface Restoration {
  guidance: Planes;
  residual: Planes;
}

/** How much of a restoration is applied, by JPEG quality; linear in between. */
const AMOUNTS = [[30, 1], [60, 0.65], [80, 0.4], [100, 0]] as const;

/** How much of a restoration is applied, 0 to 1: less the better a JPEG file is. */
export function amountOf(task: string, scalars: Record<string, number>): number {
  const quality = scalars.jpeg_quality;
  if (task !== 'jpeg_restoration' || quality === undefined) return 1;
  const above = AMOUNTS.findIndex(([at]) => at >= quality);
  if (above <= 0) return above ? 0 : 1;
  const [[low, most], [high, least]] = [AMOUNTS[above - 1]!, AMOUNTS[above]!];
  return most + ((quality - low) / (high - low)) * (least - most);
}

/** Sec. 3.1: the initial prediction of a whole image. */
export async function predict(image: Source, networks: Networks, options: Options, tiles: Tiles): Promise<Planes> {
  const guidance = new Planes(image.height, image.width);
  await tiles.run(image, 1, options, async (patch, height, width) =>
    guidance.write(patch, await networks.predict(tiles.read(image, patch), height, width)),
  );
  return guidance;
}

/** Sample the residual: Eq. 1 backwards. */
export async function sample(
  image: Source, guidance: Planes, networks: Networks, options: Options, tiles: Tiles,
): Promise<Planes> {
  const { height, width } = image;
  const { pipeline, noise_levels: levels, prediction } = networks.manifest;
  const noise = (step: number): Float32Array => noiseByPlace(options.seed, step, height, width);
  const residual = new Planes(height, width);
  const sampler = SAMPLERS[pipeline.sampler];
  if (!sampler) throw new Error(`sampler ${pipeline.sampler}`);

  /** A forward pass on a patch: the predicted residual, limited to its range and still scaled. */
  const denoise = async (patch: Patch, h: number, w: number, x: Float32Array, level: number): Promise<Float32Array> => {
    const start = tiles.read(guidance, patch);
    const output = await networks.denoise(x, tiles.read(image, patch), start, h, w, level, options.scalars);
    const std = Math.sqrt(Math.max(0, 1 - level ** 2));
    const { residual_scale: scale, residual_range: range } = pipeline;
    return output.map((value, i) => {
      const r = prediction === 'noise' ? (x[i]! - std * value) / level : value;
      const centre = range === 'image' ? start[i]! : 0;
      return Math.max(scale * (-1 - centre), Math.min(scale * (1 - centre), r));
    });
  };

  const start = Math.sqrt(1 - levels[0]! ** 2) * pipeline.noise_scale;
  let x: Float32Array | null = null;
  if (levels.length > 2) {
    x = await sampler({
      x: noise(0).map((value) => start * value),
      levels,
      noise,
      eta: pipeline.eta,
      denoise: async (now, level) => {
        const whole = new Float32Array(now.length);
        await tiles.run(image, DENOISING_COST, options, async (patch, h, w) => {
          const result = await denoise(patch, h, w, tiles.gather(now, image, patch), level);
          eachKept(patch, height, width, (from, to) => (whole[to] = result[from]!));
        });
        return whole;
      },
    });
  }
  const last = levels.at(-2)!;
  await tiles.run(image, DENOISING_COST, options, async (patch, h, w) => {
    const noisy = x ? tiles.gather(x, image, patch) : tiles.noise(image, patch, options.seed, start);
    const result = await denoise(patch, h, w, noisy, last);
    residual.write(patch, result.map((value) => value / pipeline.residual_scale));
  });
  return residual;
}

/** About how much longer a forward pass of the diffusion model takes than one of the predictor. */
const DENOISING_COST = 3;

/** Forward passes patch by patch; where the memory does not hold a patch, smaller ones are taken from then on. */
export class Tiles {
  private done = 0;
  private limit = Infinity;

  /** `passes`: of the diffusion model, and whether the predictor runs, too. */
  constructor(
    private readonly receptiveField: number, private readonly multipleOf: number, private readonly passes: number,
    private readonly predicts = true,
  ) {}

  static of(networks: Networks, predicts: boolean): Tiles {
    const { receptive_field, multiple_of, noise_levels, pipeline } = networks.manifest;
    const steps = noise_levels.length - 1;
    return new Tiles(receptive_field, multiple_of, pipeline.sampler === 'heun' ? 2 * steps - 1 : steps, predicts);
  }

  /** Call `forward` with every patch of an image, and its height and width. */
  async run(
    { height, width }: Source, cost: number, options: Options,
    forward: (patch: Patch, height: number, width: number) => Promise<void>,
  ): Promise<void> {
    const smallest = smallestPatch(this.receptiveField, this.multipleOf);
    const before = this.done;
    for (;;) {
      const size = Math.max(smallest, Math.min(options.patchSize, this.limit));
      const patches = split(height, width, size, this.receptiveField, this.multipleOf);
      const areas = patches.map((patch) => area(patch));
      const total = areas.reduce((sum, one) => sum + one, 0) * (DENOISING_COST * this.passes + Number(this.predicts));
      try {
        for (const [i, patch] of patches.entries()) {
          await forward(patch, patch.rows.stop - patch.rows.start, patch.columns.stop - patch.columns.start);
          this.done += areas[i]! * cost;
          options.onProgress(this.done, total);
        }
        return;
      } catch (error) {
        if (!isOutOfMemory(error) || size <= smallest) throw error;
        this.limit = Math.floor((Math.min(size, Math.max(height, width)) * 2) / 3);
        this.done = before;
      }
    }
  }

  /** The patch [3,h,w] of an image, mirrored where it reaches beyond it. */
  read(image: Source, patch: Patch): Float32Array {
    const planes = new Float32Array(3 * area(patch));
    image.read(planes, ...indices(image, patch));
    return planes;
  }

  gather(planes: Float32Array, { height, width }: Source, patch: Patch): Float32Array {
    const part = new Float32Array(3 * area(patch));
    gather(planes, height, width, part, ...indices({ height, width }, patch));
    return part;
  }

  /** The patch of ε · scale. */
  noise(image: Source, patch: Patch, seed: number, scale: number): Float32Array {
    const [top, left] = [patch.rows.start, patch.columns.start];
    const [height, width] = [Math.min(patch.rows.stop, image.height) - top, Math.min(patch.columns.stop, image.width) - left];
    const noise = noiseByPlace(seed, 0, height, width, top, left).map((value) => scale * value);
    const [rows, columns] = indices(image, patch);
    const part = new Float32Array(3 * area(patch));
    gather(noise, height, width, part, rows.map((y) => y - top), columns.map((x) => x - left));
    return part;
  }
}

const area = ({ rows, columns }: Patch): number => (rows.stop - rows.start) * (columns.stop - columns.start);

function indices(image: { height: number; width: number }, { rows, columns }: Patch): [Int32Array, Int32Array] {
  return [mirrored(rows.start, rows.stop, image.height), mirrored(columns.start, columns.stop, image.width)];
}

function gather(
  planes: Float32Array | Int16Array, height: number, width: number, into: Float32Array, rows: Int32Array,
  columns: Int32Array,
): void {
  let to = 0;
  for (let channel = 0; channel < 3; channel++) {
    for (const row of rows) {
      const from = (channel * height + row) * width;
      for (const column of columns) into[to++] = planes[from + column]!;
    }
  }
}

/** Call with the places of each kept number in a patch's result [3,h,w] and in the image [3,height,width]. */
function eachKept(
  { rows, columns }: Patch, height: number, width: number, copy: (from: number, to: number) => void,
): void {
  const [h, w] = [rows.stop - rows.start, columns.stop - columns.start];
  const right = Math.min(columns.keptStop, width);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = rows.keptStart; y < Math.min(rows.keptStop, height); y++) {
      const from = (channel * h + y - rows.start) * w - columns.start;
      const to = (channel * height + y) * width;
      for (let x = columns.keptStart; x < right; x++) copy(from + x, to + x);
    }
  }
}

/** Whether ONNX Runtime or the browser could not allocate what was needed. */
export function isOutOfMemory(error: unknown): boolean {
  const text = String(error);
  return /allocat|bad_alloc|out of memory|array buffer|invalid array length|memory access|std::bad/i.test(text);
}
