// Inter-step patch-splitting (Sec. 3.3), as in src/ucdir/patches: where the patches of an image lie.

/** Stretch [start, stop) of one side that is read, and the part of it that is kept. */
export interface Interval {
  start: number;
  stop: number;
  keptStart: number;
  keptStop: number;
}

export interface Patch {
  rows: Interval;
  columns: Interval;
}

export const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** The smallest side of a patch that keeps at least a third of it when its overlaps are dropped. */
export const smallestPatch = (receptiveField: number, multipleOf: number): number =>
  3 * roundUp(receptiveField, multipleOf);

/** Cut one side of an image; the kept parts cover it once. */
export function intervals(length: number, patch: number, overlap: number, multipleOf: number): Interval[] {
  if (length <= patch) return [{ start: 0, stop: length, keptStart: 0, keptStop: length }];
  const longest = Math.floor((patch - 2 * overlap) / multipleOf) * multipleOf;
  const core = roundUp(Math.ceil(length / Math.ceil(length / longest)), multipleOf); // equal shares
  const cut: Interval[] = [];
  for (let keptStart = 0; keptStart < length; keptStart += core) {
    const keptStop = Math.min(keptStart + core, length);
    const [start, stop] = [Math.max(keptStart - overlap, 0), Math.min(keptStop + overlap, length)];
    cut.push({ start, stop, keptStart, keptStop });
  }
  return cut;
}

/** The patches of an image whose sides are rounded up to multiples, two of them at least; row by row. */
export function split(
  height: number, width: number, patchSize: number, receptiveField: number, multipleOf: number,
): Patch[] {
  const overlap = roundUp(receptiveField, multipleOf);
  const [rows, columns] = [height, width].map((side) =>
    intervals(Math.max(roundUp(side, multipleOf), 2 * multipleOf), patchSize, overlap, multipleOf),
  ) as [Interval[], Interval[]];
  return rows.flatMap((row) => columns.map((column) => ({ rows: row, columns: column })));
}

/** Indices of a stretch that may reach beyond `length`: 0 1 2 | 1 0 1 2 … as a mirror in the last pixel gives. */
export function mirrored(start: number, stop: number, length: number): Int32Array {
  const period = Math.max(2 * (length - 1), 1);
  return Int32Array.from({ length: stop - start }, (_, i) => {
    const index = (start + i) % period;
    return index < length ? index : period - index;
  });
}
