// Files that the page writes, read again.

import { readFileSync } from 'node:fs';
import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { estimateQuality, exifOfJpeg, iccOfJpeg, jpegHeader, jpegWith, otherMetadataOfJpeg } from '../src/jpeg';
import { encodePng, otherMetadataOfPng, pngChunk } from '../src/png';

const random = (length: number, peak: number): number[] => {
  let state = 1;
  return Array.from({ length }, () => (state = (state * 48_271) % 2_147_483_647) % (peak + 1));
};

const letters = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0));

/** A PNG's chunks, without sums that nobody checks. */
const png = (...chunks: [string, string][]): Uint8Array =>
  Uint8Array.from([...Array<number>(8).fill(0), ...chunks.flatMap(([name, body]) =>
    [0, 0, 0, body.length, ...letters(name), ...letters(body), 0, 0, 0, 0])]);

describe('PNG', () => {
  it.each([
    [png(), []],
    [png(['eXIf', 'II'], ['iCCP', 'icc']), []],
    [png(['iTXt', 'XML:com.adobe.xmp\0\0\0\0\0<x/>']), ['XMP']],
    [png(['iTXt', 'Title\0']), ['comments']],
    [png(['iTXt', 'XML:com.adobe.xmp\0'], ['tEXt', 'Software\0x']), ['XMP', 'comments']],
  ])('%# names what is left out', (data, expected) => {
    expect(otherMetadataOfPng(data)).toEqual(expected);
  });

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

  it.each([
    [[], []],
    [[[0xe1, 'Exif\0\0II']], []],
    [[[0xe1, 'http://ns.adobe.com/xap/1.0/\0<x/>']], ['XMP']],
    [[[0xed, 'Photoshop 3.0\0'], [0xfe, 'a comment']], ['IPTC', 'comments']],
  ] as [[number, string][], string[]][])('with %j names what is left out: %j', (segments, expected) => {
    const bytes = segments.flatMap(([marker, text]) => [0xff, marker, 0, text.length + 2, ...letters(text)]);
    const own = otherMetadataOfJpeg(jpegHeader(file));
    const whole = Uint8Array.of(...file.subarray(0, 2), ...bytes, ...file.subarray(2));
    expect(otherMetadataOfJpeg(jpegHeader(whole)).filter((name) => !own.includes(name))).toEqual(expected);
  });
});
