// The page: what is clicked, dropped and pasted, and what is shown.

import 'img-comparison-slider';
import 'img-comparison-slider/dist/styles.css';
import { chooseEngine } from './choose_engine';
import { EngineError, type Engine, type Format, type Found } from './engine';
import type { Model } from './model';
import { keepOffline } from './offline';
import { currentLanguage, duration, isKey, isLanguage, say, setLanguage } from './words';

const element = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;
const input = (id: string): HTMLInputElement => element<HTMLInputElement>(id);
const select = (id: string): HTMLSelectElement => element<HTMLSelectElement>(id);
const button = (id: string): HTMLButtonElement => element<HTMLButtonElement>(id);
const canvas = (id: string): HTMLCanvasElement => element<HTMLCanvasElement>(id);

/** The field that is no scalar of a model: how many times to amplify the light. */
const BRIGHTEN = 'brighten';
/** JPEG files below this quality are taken to need JPEG restoration. */
const STRONG_JPEG = 90;

let engine: Engine;
let models: Model[] = [];
let file: File | null = null;
let found: Found | null = null;
/** How many more files came with the photo. */
let others = 0;
/** A photo, and how many more, that came before there was an engine. */
let early: [File, number] | null = null;
let running: AbortController | null = null;
/** What is said again when the language changes. */
let said: () => string = () => '';
let failed: (() => string) | null = null;
let onDevice: () => string = () => '';
let isOffline = false;

// ----------------------------------------------------------------------------------------------------- texts

function translate(): void {
  document.documentElement.lang = currentLanguage();
  document.title = say('title');
  for (const [attribute, set] of [
    ['text', (one: HTMLElement, text: string) => (one.textContent = text)],
    ['label', (one: HTMLElement, text: string) => one.setAttribute('aria-label', text)],
    ['title', (one: HTMLElement, text: string) => (one.title = text)],
  ] as const) {
    for (const one of document.querySelectorAll<HTMLElement>(`[data-${attribute}]`)) {
      const key = one.dataset[attribute]!;
      if (isKey(key)) set(one, say(key));
    }
  }
  element('private').textContent =
    engine?.name === 'server' ? say('privateServer', { host: location.host }) : say('private');
  element('found').textContent = found ? describe(found) : '';
  element('offline').textContent = isOffline ? say('offlineReady') : '';
  showModels();
  showTexts();
}

function showTexts(): void {
  element('status').textContent = said();
  element('error').textContent = failed?.() ?? '';
  element('error').hidden = !failed;
  element('device').textContent = onDevice();
}

function report(text: () => string): void {
  [said, failed] = [text, null];
  showTexts();
}

function fail(error: unknown): void {
  if (error instanceof DOMException && error.name === 'AbortError') {
    report(() => say('cancelled'));
    return;
  }
  const { code, values } = error instanceof EngineError ? error : { code: 'failed', values: { reason: String(error) } };
  const known = isKey(code) ? code : values.reason === 'notFinite' ? 'notFinite' : 'failed';
  const name = file?.name ?? '';
  [said, failed] = [() => '', () => ('sentence' in values ? String(values.sentence) : say(known, { name, ...values }))];
  showTexts();
}

function describe({ format, width, height, quality, fromPixels, leftOut }: Found): string {
  const parts = [say('found', { format, width, height, megapixels: (width * height) / 1e6 })];
  if (quality !== null) parts.push(say(fromPixels ? 'foundTraces' : 'foundQuality', { quality }));
  const kinds = leftOut.map((kind) => (isKey(kind) ? say(kind) : kind));
  const lost = kinds.length ? ` ${say('leftOut', { kinds: kinds.join(', ') })}` : '';
  const first = others ? ` ${say('others', { n: others })}` : '';
  return `${file?.name ?? ''}: ${parts.join(', ')}.${lost}${first}`;
}

// ------------------------------------------------------------------------------------------------ models, scalars

const chosenModel = (): Model | undefined => models.find(({ name }) => name === select('model').value);

function showModels(): void {
  const chosen = select('model').value;
  const options = models.map(({ name, task }) => new Option(isKey(name) ? say(name) : isKey(task) ? `${say(task)} (${name})` : name, name));
  const first = new Option(say('chooseProblem'), '');
  select('model').replaceChildren(first, ...options);
  select('model').value = chosen;
  showScalars();
}

function showScalars(): void {
  const model = chosenModel();
  const known = scalars();
  const fields = Object.entries(model?.scalars ?? {}).map(([name, { range }]) => [name, range] as const);
  const ratio = model?.scalars.exposure_ratio?.range;
  if (ratio) fields.unshift([BRIGHTEN, ratio]);
  element('scalars').replaceChildren(...fields.map(([name, range]) => {
    const label = document.createElement('label');
    const text = document.createElement('span');
    text.textContent = isKey(name) ? say(name) : name;
    let field: HTMLInputElement | HTMLSelectElement;
    if (name === 'blur_type') {
      field = document.createElement('select');
      field.append(...(['unknown', 'motion', 'defocus'] as const).map((key, i) => new Option(say(key), i ? String(i - 1) : '')));
    } else {
      field = document.createElement('input');
      Object.assign(field, { type: 'number', min: range[0], max: range[1], step: 'any' });
    }
    field.dataset.scalar = name;
    field.value = String(known[name] ?? (name === 'jpeg_quality' ? (found?.quality ?? '') : ''));
    label.append(text, field);
    return label;
  }));
}

/** What is filled in, by name; `BRIGHTEN` is among it. */
function scalars(): Record<string, number> {
  const fields = [...element('scalars').querySelectorAll<HTMLInputElement | HTMLSelectElement>('[data-scalar]')];
  return Object.fromEntries(fields.filter(({ value }) => value !== '').map((field) => [field.dataset.scalar!, Number(field.value)]));
}

// -------------------------------------------------------------------------------------------------------- actions

/** Run one thing that can be cancelled; another one cancels it. */
async function act(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  running?.abort();
  const controller = (running = new AbortController());
  element('running').hidden = false;
  try {
    await work(controller.signal);
  } catch (error) {
    if (running === controller) fail(error);
  } finally {
    if (running === controller) {
      running = null;
      element('running').hidden = element('progress').hidden = true;
      setBusy(false);
      if (!engine.hasResult) element('result').hidden = true;
    }
  }
}

/** What would end a restoration that is running, or needs its result. */
function setBusy(busy: boolean): void {
  for (const id of ['restore', 'another', 'download', 'detail']) button(id).disabled = busy;
}

async function open(photo: File, more: number): Promise<void> {
  let known = false;
  await act(async (signal) => {
    [file, found, others] = [photo, null, more];
    element('settings').hidden = element('result').hidden = true;
    element('scalars').replaceChildren();
    report(() => say('reading'));
    found = await engine.inspect(photo, signal);
    if (found.picture) paint('before', found.picture);
    element('found').textContent = describe(found);
    element('drop').classList.add('small');
    element('settings').hidden = false;
    known = found.quality !== null && found.quality < STRONG_JPEG;
    const model = models.find(({ task }) => task === (known ? 'jpeg_restoration' : found?.format === 'RAW' ? 'low_light' : ''));
    select('model').value = model?.name ?? '';
    known = model !== undefined;
    showScalars();
    report(() => '');
  });
  if (known && found && file === photo) await restore();
}

async function restore(): Promise<void> {
  const model = chosenModel();
  if (!model || !found || !element<HTMLFormElement>('settings').reportValidity()) return;
  await act(async (signal) => {
    setBusy(true);
    const progress = element<HTMLProgressElement>('progress');
    progress.hidden = false;
    progress.removeAttribute('value');
    report(() => say(engine.name === 'server' ? 'waiting' : 'starting'));
    const began = performance.now();
    let first: { share: number; at: number } | null = null; // before it, a model was loaded or a server waited for
    const onProgress = (share: number): void => {
      progress.value = share;
      const now = performance.now();
      first ??= { share, at: now };
      const left = share > first.share ? ((now - first.at) / 1000) * ((1 - share) / (share - first.share)) : null;
      const working = (): string => say('working', { percent: Math.floor(share * 100) });
      report(() => (left === null ? working() : `${working()}, ${say('left', { time: duration(left) })}`));
    };
    const { [BRIGHTEN]: brighten = 1, ...known } = scalars();
    const request = { model, seed: Number(input('seed').value), scalars: known, brighten, fidelity: fidelity() };
    const restored = await engine.restore(request, onProgress, signal);
    paint('after', restored);
    if (!found?.picture) canvas('before').width = canvas('before').height = 0;
    const seconds = (performance.now() - began) / 1000;
    element('result').hidden = false;
    showZoom();
    report(() => say('done', { time: duration(seconds) }));
  });
}

const fidelity = (): number => 1 - Number(input('detail').value) / 100;

/** The size of the picture that was painted last, in pixels. */
let [pictureWidth, pictureHeight] = [0, 0];

function paint(id: string, picture: ImageBitmap): void {
  [pictureWidth, pictureHeight] = [picture.width, picture.height];
  Object.assign(canvas(id), { width: picture.width, height: picture.height });
  canvas(id).getContext('bitmaprenderer')!.transferFromImageBitmap(picture);
}

function showZoom(): void {
  const full = button('full').getAttribute('aria-pressed') === 'true';
  element('view').classList.toggle('full', full);
  for (const id of ['before', 'after']) {
    canvas(id).style.width = full ? `${pictureWidth / devicePixelRatio}px` : '';
    canvas(id).style.height = full ? `${pictureHeight / devicePixelRatio}px` : '';
  }
}

async function download(): Promise<void> {
  await act(async () => {
    const format = select('format').value as Format;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await engine.save(format));
    link.download = `${file!.name.replace(/\.[^.]*$/, '')}.restored.${format === 'png' ? 'png' : 'jpg'}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}

// --------------------------------------------------------------------------------------------------------- events

function listen(): void {
  const take = (files: FileList | null | undefined): void => {
    const photo = files?.[0];
    if (!photo) return;
    if (engine) void open(photo, files.length - 1);
    else early = [photo, files.length - 1];
  };
  input('file').addEventListener('change', () => {
    take(input('file').files);
    input('file').value = '';
  });
  document.addEventListener('paste', (event) => take(event.clipboardData?.files));
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      element('drop').classList.toggle('over', kind === 'dragover');
    });
  }
  document.addEventListener('drop', (event) => take(event.dataTransfer?.files));
  element('settings').addEventListener('submit', (event) => {
    event.preventDefault();
    void restore();
  });
  // a field that is folded away cannot be shown to be wrong
  element('settings').addEventListener('invalid', ({ target }) => {
    const more = element<HTMLDetailsElement>('more');
    more.open ||= more.contains(target as Node);
  }, true);
  select('model').addEventListener('change', showScalars);
  button('cancel').addEventListener('click', () => running?.abort(new DOMException('', 'AbortError')));
  for (const id of ['fit', 'full']) {
    button(id).addEventListener('click', () => {
      for (const other of ['fit', 'full']) button(other).setAttribute('aria-pressed', String(other === id));
      showZoom();
    });
  }
  const showDetail = (): string => (element('detailValue').textContent = `${input('detail').value} %`);
  showDetail();
  input('detail').addEventListener('input', showDetail);
  input('detail').addEventListener('change', () => void act(async (signal) => paint('after', await engine.adjust(fidelity(), signal))));
  button('another').addEventListener('click', () => {
    input('seed').value = String(Number(input('seed').value) + 1);
    void restore();
  });
  button('download').addEventListener('click', () => void download());
  const slider = element<HTMLElement & { value: number }>('slider');
  const showPlace = (): void => slider.setAttribute('aria-valuenow', String(Math.round(Number(slider.value))));
  slider.addEventListener('slide', showPlace);
  showPlace();
  select('language').addEventListener('change', () => {
    const name = select('language').value;
    if (isLanguage(name)) setLanguage(name);
    localStorage.setItem('language', name);
    translate();
  });
}

async function start(): Promise<void> {
  const wanted = localStorage.getItem('language') ?? navigator.language.slice(0, 2);
  if (isLanguage(wanted)) setLanguage(wanted);
  select('language').value = currentLanguage();
  translate();
  listen();
  const base = new URL('.', location.href).href;
  const chosen = await chooseEngine(base);
  ({ engine, models } = chosen);
  onDevice = chosen.device;
  translate();
  document.documentElement.dataset.ready = 'true';
  if (early) void open(...early);
  if (!chosen.offlineFiles) return;
  await keepOffline(base, chosen.offlineFiles, () => file !== null);
  isOffline = true;
  translate();
}

start().catch((error: unknown) => {
  if (error instanceof EngineError || !engine) fail(error);
});
