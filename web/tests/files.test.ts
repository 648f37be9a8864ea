// Files that the page writes, read again.

import { readFileSync } from 'node:fs';
import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { estimateQuality, exifOfJpeg, iccOfJpeg, jpegHeader, jpegWith } from '../src/jpeg';
import { encodePng, pngChunk } from '../src/png';

const random = (length: number, peak: number): number[] => {
  let state = 1;
  return Array.from({ length }, () => (state = (state * 48_271) % 2_147_483_647) % (peak + 1));
};

describe('PNG', () => {
  it.each([
    [1, 255, false], [3, 255, false], [3, 255, true], [1, 65_535, true], [3, 65_535, false],
  ] as const)('%i channels up to %i, transparent: %s', async (channels, peak, transparent) => {
    const [width, height] = [7, 5];
    const make = (numbers: number[]): Uint8Array | Uint16Array => (peak > 255 ? Uint16Array.from(numbers) : Uint8Array.from(numbers));
    const data = make(random(width * height * channels, peak));
    const alpha = transparent ? make(random(width * height, peak)) : null;
    const [exif, icc] = [Uint8Array.of(1, 2, 3), Uint8Array.from(random(500, 255))];
    const file = new Uint8Array(await (await encodePng({ width, height, channels, data }, alpha, exif, icc)).arrayBuffer());
    const found = decode(file, { checkCrc: true });
    const expected = Array.from({ length: width * height }, (_, i) => [
      ...data.slice(i * channels, (i + 1) * channels), ...(alpha ? [alpha[i]!] : []),
    ]).flat();
    expect([...found.data]).toEqual(expected);
    expect(pngChunk(file, 'eXIf')).toEqual(exif);
    expect(found.iccEmbeddedProfile?.profile).toEqual(icc);
  });
});

describe('JPEG', () => {
  const file = new Uint8Array(readFileSync('../examples/chelsea.jpg'));

  it('has its quality and size in its header', () => {
    const header = jpegHeader(file);
    expect(estimateQuality(header)).toBe(10);
    expect([header.width, header.height, header.complete]).toEqual([451, 300, true]);
  });

  it('that is cut off is not complete', () => {
    expect(jpegHeader(file.subarray(0, -100)).complete).toBe(false);
    expect(jpegHeader(file.subarray(0, 300)).complete).toBe(false);
  });

  it('takes EXIF and a profile of several segments', () => {
    const [exif, icc] = [Uint8Array.of(5, 6, 7), Uint8Array.from(random(150_000, 255))];
    const pieces = jpegWith(file, exif, icc);
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    pieces.reduce((at, piece) => (whole.set(piece, at), at + piece.length), 0);
    const header = jpegHeader(whole);
    expect(exifOfJpeg(header)).toEqual(exif);
    expect(iccOfJpeg(header)).toEqual(icc);
    expect([header.width, header.complete]).toEqual([451, true]);
  });
});
