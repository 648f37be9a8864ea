// The way of an image, with networks that are a formula.

import { describe, expect, it } from 'vitest';
import type { Manifest, Networks } from '../src/model';
import { amountOf, predict, sample, Tiles, type Source } from '../src/restoration';

const REACH = 9;

/** Mean of each pixel and those `REACH` left of and below it; what lies beyond the patch is 0. */
function smeared(planes: Float32Array, height: number, width: number): Float32Array {
  return planes.map((value, i) => {
    const [y, x] = [Math.floor(i / width) % height, i % width];
    const below = y + REACH < height ? planes[i + REACH * width]! : 0;
    return (value + below + (x >= REACH ? planes[i - REACH]! : 0)) / 3;
  });
}

function networks(levels: number[], sampler: string): Networks {
  const pipeline = { task: '', sampler, eta: 0.5, noise_scale: 1, residual_scale: 5, residual_range: 'image' };
  const manifest = { receptive_field: REACH, multiple_of: 8, prediction: 'noise', noise_levels: levels, scalars: {}, pipeline };
  return {
    manifest: manifest as unknown as Manifest,
    predict: async (degraded, height, width) => smeared(degraded, height, width),
    denoise: async (noisy, degraded, guidance, height, width, level) =>
      smeared(noisy.map((x, i) => 0.5 * x + 0.2 * degraded[i]! - guidance[i]! * level), height, width),
  };
}

const image = (height: number, width: number): Source => ({
  height,
  width,
  read: (into, rows, columns) => {
    let to = 0;
    for (let channel = 0; channel < 3; channel++) {
      for (const y of rows) for (const x of columns) into[to++] = Math.sin(channel + 0.3 * y + 0.7 * x);
    }
  },
});

async function restored(source: Source, model: Networks, patchSize: number, seed = 0): Promise<{ pixels: number[]; shares: number[] }> {
  const shares: number[] = [];
  const options = { seed, scalars: {}, patchSize, onProgress: (done: number, total: number) => shares.push(done / total) };
  const tiles = Tiles.of(model, true);
  const guidance = await predict(source, model, options, tiles);
  const residual = await sample(source, guidance, model, options, tiles);
  const pixels = Array.from({ length: 3 * source.height * source.width }, (_, i) => guidance.get(i) + residual.get(i));
  return { pixels, shares };
}

describe.each([['ddim', [0.6, 1]], ['ddim', [0.3, 0.6, 0.9, 1]], ['heun', [0.5, 0.8, 1]]] as const)('%s %s', (sampler, levels) => {
  const model = networks([...levels], sampler);

  it.each([[93, 70], [16, 200]])('is the same in patches of %i x %i', async (height, width) => {
    const [whole, split] = [await restored(image(height, width), model, 1000), await restored(image(height, width), model, 48)];
    whole.pixels.forEach((value, i) => expect(Math.abs(value - split.pixels[i]!)).toBeLessThan(4e-4));
    expect(split.shares.length).toBeGreaterThan(whole.shares.length);
    for (const { shares } of [whole, split]) {
      expect(shares.at(-1)).toBeCloseTo(1);
      expect(shares).toEqual([...shares].sort((a, b) => a - b));
    }
  });

  it('takes images of one pixel, and other seeds', async () => {
    const found = [0, 0, 1].map((seed) => restored(image(1, 1), model, 1000, seed));
    const [first, second, third] = (await Promise.all(found)).map(({ pixels }) => pixels);
    expect(first).toEqual(second);
    expect(first).not.toEqual(third);
  });
});

it('goes on with smaller patches where the memory is full', async () => {
  const model = networks([0.6, 1], 'ddim');
  const sizes: number[] = [];
  const narrow: Networks = {
    ...model,
    predict: async (degraded, height, width) => {
      sizes.push(width);
      if (width > 60) throw new Error('failed to allocate a buffer');
      return model.predict(degraded, height, width);
    },
  };
  const [expected, found] = [await restored(image(80, 120), model, 1000), await restored(image(80, 120), narrow, 1000)];
  found.pixels.forEach((value, i) => expect(Math.abs(value - expected.pixels[i]!)).toBeLessThan(4e-4));
  expect(sizes[0]).toBe(120);
  expect(Math.min(...sizes)).toBeLessThanOrEqual(60);
  const broken: Networks = { ...model, predict: () => Promise.reject(new Error('failed to allocate')) };
  await expect(restored(image(80, 120), broken, 1000)).rejects.toThrow('allocate');
});

it('refuses numbers that are not finite', async () => {
  const model = { ...networks([0.6, 1], 'ddim'), predict: async (x: Float32Array) => x.fill(NaN) };
  await expect(restored(image(16, 16), model, 1000)).rejects.toThrow('notFinite');
});

it.each([[10, 1], [30, 1], [45, 0.825], [80, 0.4], [90, 0.2], [100, 0]])('applies less to better JPEG files: %i', (quality, amount) => {
  expect(amountOf('jpeg_restoration', { jpeg_quality: quality })).toBeCloseTo(amount);
  expect(amountOf('jpeg_restoration', {})).toBe(1);
  expect(amountOf('low_light', {})).toBe(1);
});
