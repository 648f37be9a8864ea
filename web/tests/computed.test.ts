// What the page computes, compared with what the package does (scripts/make_web_vectors.py).

import { describe, expect, it } from 'vitest';
import { cleanExif, orientationOf } from '../src/exif';
import { colourSpace, type ColourSpace } from '../src/icc';
import { estimateQuality, type JpegHeader } from '../src/jpeg';
import { noiseByPlace } from '../src/noise';
import { SAMPLERS } from '../src/samplers';
import { amplified, finished, sourceOf, type Photo } from '../src/photo';
import { intervals, mirrored } from '../src/tiles';
import vectors from './vectors.json';

const bytes = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const closeTo = (found: Iterable<number>, expected: number[], within: number): void => {
  const numbers = [...found];
  expect(numbers).toHaveLength(expected.length);
  numbers.forEach((number, i) => expect(Math.abs(number - expected[i]!)).toBeLessThanOrEqual(within));
};

describe('noise by place', () => {
  it.each(vectors.noise)('$place', ({ place, numbers, sums }) => {
    const [seed, step, height, width, top, left] = place as [number, number, number, number, number, number];
    expect([...noiseByPlace(seed, step, height, width, top, left)]).toEqual(numbers);
    const many = noiseByPlace(seed, step, 400, 500, top, left);
    const sum = (of: (x: number) => number): number => many.reduce((total, x) => total + of(x), 0);
    closeTo([sum(Math.abs), sum((x) => x ** 3), many.reduce((a, b) => Math.max(a, b))], sums, 1e-2);
  });

  it('is other noise for another seed', () => {
    expect(noiseByPlace(1, 0, 2, 2)).not.toEqual(noiseByPlace(2, 0, 2, 2));
  });
});

describe('patches', () => {
  it.each(vectors.intervals)('$of', ({ of, intervals: expected }) => {
    const found = intervals(...(of as [number, number, number, number]));
    expect(found.map((one) => [one.start, one.stop, one.keptStart, one.keptStop])).toEqual(expected);
  });

  it.each(vectors.mirrored)('mirrored $of', ({ of, indices }) => {
    expect([...mirrored(...(of as [number, number, number]))]).toEqual(indices);
  });
});

it.each(vectors.quality)('JPEG quality $quality', ({ tables, quality }) => {
  const header = { components: [0, 1, 1], tables: new Map(tables.entries()) } as unknown as JpegHeader;
  expect(estimateQuality(header)).toBe(quality);
});

it.each(vectors.samplers)('sampler $name', async ({ name, eta, levels, x, result }) => {
  const denoise = async (now: Float32Array, level: number): Promise<Float32Array> =>
    now.map((value) => 0.3 * Math.tanh(value) * level + 0.1);
  const noise = (step: number): Float32Array => Float32Array.from(x, (_, i) => Math.cos(step + i));
  const before = await SAMPLERS[name]!({ denoise, x: Float32Array.from(x), levels, noise, eta });
  closeTo(await denoise(before, levels.at(-2)!), result, 1e-5);
});

describe('colour profiles', () => {
  it.each(vectors.profiles)('are as the package reads them', ({ profile, samples, srgb, back, nearly }) => {
    const space = colourSpace(bytes(profile));
    if (nearly) {
      expect(space).toBeNull();
      return;
    }
    samples.forEach((pixel, i) => {
      const found = (space as ColourSpace).srgb(pixel.map((value) => value / 255));
      closeTo(found, srgb[i]!, 1e-4);
      closeTo((space as ColourSpace).samples(srgb[i]!.map((value) => value * 0.9)), back[i]!, 2e-3);
    });
  });

  it('that are damaged are none', () => {
    expect(colourSpace(bytes(vectors.profiles[0]!.profile).subarray(0, 300))).toBeNull();
  });
});

describe('finished pixels', () => {
  it.each(vectors.finished)('are as the package makes them: $name', ({ size, channels, peak, data, alpha, profile, restored, seen, finished: expected }) => {
    const [height, width] = size as [number, number];
    const make = (numbers: number[]): Uint8Array | Uint16Array => (peak > 255 ? Uint16Array.from(numbers) : Uint8Array.from(numbers));
    const photo = {
      pixels: { width, height, channels: channels as 1 | 3, data: make(data) },
      alpha: alpha && make(alpha),
      space: profile ? colourSpace(bytes(profile)) : null,
    } as Photo;
    const planes = new Float32Array(3 * height * width);
    sourceOf(photo).read(planes, mirrored(0, height, height), mirrored(0, width, width));
    closeTo(planes, seen, 2e-4);
    const found = finished(photo, (i) => restored[i]!);
    closeTo(found.data, expected, profile || peak > 255 ? 1 : 0);
    expect(data).not.toEqual(expected);
  });

  it.each(vectors.amplified)('are amplified as by the package: $ratio', ({ ratio, profile, data, amplified: expected }) => {
    const pixels = { width: data.length / 3, height: 1, channels: 3 as const, data: Uint8Array.from(data) };
    const photo = { pixels, alpha: null, space: profile ? colourSpace(bytes(profile)) : null } as Photo;
    closeTo(amplified(photo, ratio).pixels.data, expected, profile ? 1 : 0);
  });
});

describe('EXIF', () => {
  it.each(vectors.exif)('is turned upright, without thumbnail', ({ block, cleaned }) => {
    expect(orientationOf(bytes(block))).toBe(6);
    const found = cleanExif(bytes(block), 480, 640)!;
    const expected = bytes(cleaned);
    expect([...found.subarray(0, expected.length)]).toEqual([...expected]);
    expect(found.subarray(expected.length).every((byte) => byte === 0)).toBe(true);
    expect(orientationOf(found)).toBe(1);
  });

  it('that is damaged is left out', () => {
    expect(cleanExif(bytes(vectors.exif[0]!.block).subarray(0, 20), 1, 1)).toBeNull();
    expect(orientationOf(new Uint8Array(3))).toBe(1);
  });
});
