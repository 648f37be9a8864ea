// Every text of the page, in two languages.

const en = {
  title: 'ucdir: restore photos',
  tagline: 'Restores photos that suffered from compression, blur or too little light.',
  private: 'Your photo stays on this machine: it is restored right here in the browser, and nothing is uploaded.',
  privateServer: 'Your photo is restored by the server that this page came from ({host}), and deleted there afterwards.',
  offlineReady: 'Works offline from now on.',
  language: 'Language',
  drop: 'Drop a photo here, paste one, or click to choose one',
  choose: 'Choose a photo',
  reading: 'Reading the photo …',
  found: '{format}, {width} × {height} pixels ({megapixels} megapixels)',
  foundQuality: 'JPEG quality {quality}',
  foundTraces: 'its pixels were once JPEG of a quality of about {quality}',
  leftOut: 'Not in what you download: {kinds}.',
  comments: 'comments',
  others: 'One photo at a time: {n} more were not opened.',
  problem: 'What is wrong',
  chooseProblem: 'Please choose …',
  jpeg_restoration: 'JPEG compression: blocks and rings',
  jpeg_restoration_small: 'JPEG compression (small model)',
  jpeg_restoration_eq1: 'JPEG compression (another seed, other detail)',
  deblurring: 'Blur: camera shake or out of focus',
  low_light: 'Noise, or too little light',
  low_light_small: 'Far too little light (small model)',
  known: 'What you know, and other settings',
  jpeg_quality: 'JPEG quality, 1 to 100',
  blur_type: 'Kind of blur',
  motion: 'camera shake',
  defocus: 'out of focus',
  unknown: 'unknown',
  blur_length: 'Length of the blur in pixels, roughly',
  brighten: 'Brighten: how many times to amplify the light',
  exposure_ratio: 'How many times the light was amplified already',
  gain: 'Gain of the camera (digital numbers per electron)',
  noise_strength: 'Noise: standard deviation in levels of 255, roughly',
  diversity: 'Invented detail: 0 little, 1 as much as was lost; usually 0.25',
  seed: 'Seed',
  restore: 'Restore',
  cancel: 'Cancel',
  cancelled: 'Cancelled.',
  working: 'Restoring: {percent} %',
  starting: 'Loading the model …',
  waiting: 'Sending the photo, and waiting for the server …',
  left: 'about {time} left',
  done: 'Restored in {time}. Drag the line to compare.',
  compare: 'Before and after; move the line with the arrow keys',
  before: 'before',
  after: 'after',
  zoom: 'Zoom',
  fit: 'Fit',
  full: '100 %',
  detail: 'Detail',
  detailHint: 'The detail is invented. At 0 % only what is likely remains, which is smoother.',
  another: 'Other detail',
  anotherHint: 'Sample the detail again, with the next seed',
  format: 'Format',
  download: 'Download',
  newPhoto: 'Another photo',
  device: 'Runs on {device}.',
  deviceGpu: 'the graphics processor (WebGPU)',
  deviceThreads: 'the processor, {threads} threads',
  deviceThread: 'the processor, one thread (the page lacks the headers for more)',
  notImage: '{name} is not an image that this browser can read; choose a JPEG, PNG, WebP or AVIF file.',
  damaged: '{name} is a damaged or incomplete {format} file; get a complete copy of it.',
  tooLarge: '{name} has {megapixels} megapixels, more than the {most} that fit here; save it smaller, or use the program: ucdir restore.',
  tooDeep: '{name} is a JPEG file of {bits} bits a sample, which cannot be read here; convert it to PNG.',
  noMemory: 'The memory of this browser does not hold the restoration of {name}; close other tabs, or save the photo smaller.',
  noModels: 'The models cannot be loaded; reload the page when you are online.',
  notFinite: 'The model gave numbers that are not finite; choose another model.',
  failed: 'Something went wrong with {name} ({reason}); reload the page and try again.',
  seconds: '{n} s',
  minutes: '{n} min',
};

type Key = keyof typeof en;

const de: Record<Key, string> = {
  title: 'ucdir: Fotos wiederherstellen',
  tagline: 'Stellt Fotos wieder her, die unter Kompression, Unschärfe oder zu wenig Licht gelitten haben.',
  private: 'Dein Foto bleibt auf diesem Gerät: Es wird hier im Browser wiederhergestellt, nichts wird hochgeladen.',
  privateServer: 'Dein Foto wird von dem Server wiederhergestellt, von dem diese Seite stammt ({host}), und danach dort gelöscht.',
  offlineReady: 'Funktioniert ab jetzt auch ohne Netz.',
  language: 'Sprache',
  drop: 'Foto hierher ziehen, einfügen oder zum Auswählen klicken',
  choose: 'Foto auswählen',
  reading: 'Das Foto wird gelesen …',
  found: '{format}, {width} × {height} Pixel ({megapixels} Megapixel)',
  foundQuality: 'JPEG-Qualität {quality}',
  foundTraces: 'die Pixel waren einmal JPEG mit einer Qualität von etwa {quality}',
  leftOut: 'Nicht im Download: {kinds}.',
  comments: 'Kommentare',
  others: 'Ein Foto nach dem anderen: {n} weitere wurden nicht geöffnet.',
  problem: 'Was stimmt nicht',
  chooseProblem: 'Bitte auswählen …',
  jpeg_restoration: 'JPEG-Kompression: Blöcke und Ringe',
  jpeg_restoration_small: 'JPEG-Kompression (kleines Modell)',
  jpeg_restoration_eq1: 'JPEG-Kompression (anderer Startwert, andere Details)',
  deblurring: 'Unschärfe: verwackelt oder falsch fokussiert',
  low_light: 'Rauschen, oder zu wenig Licht',
  low_light_small: 'Viel zu wenig Licht (kleines Modell)',
  known: 'Was du weißt und andere Einstellungen',
  jpeg_quality: 'JPEG-Qualität, 1 bis 100',
  blur_type: 'Art der Unschärfe',
  motion: 'verwackelt',
  defocus: 'falsch fokussiert',
  unknown: 'unbekannt',
  blur_length: 'Länge der Unschärfe in Pixeln, ungefähr',
  brighten: 'Aufhellen: wievielfach das Licht verstärkt werden soll',
  exposure_ratio: 'Wievielfach das Licht schon verstärkt wurde',
  gain: 'Verstärkung der Kamera (digitale Werte je Elektron)',
  noise_strength: 'Rauschen: Standardabweichung in Stufen von 255, ungefähr',
  diversity: 'Erfundenes Detail: 0 wenig, 1 so viel wie verloren ging; sonst 0,25',
  seed: 'Startwert',
  restore: 'Wiederherstellen',
  cancel: 'Abbrechen',
  cancelled: 'Abgebrochen.',
  working: 'Wird wiederhergestellt: {percent} %',
  starting: 'Das Modell wird geladen …',
  waiting: 'Das Foto wird gesendet; der Server hat noch nicht angefangen …',
  left: 'noch etwa {time}',
  done: 'Wiederhergestellt in {time}. Zum Vergleichen die Linie ziehen.',
  compare: 'Vorher und nachher; die Linie mit den Pfeiltasten bewegen',
  before: 'vorher',
  after: 'nachher',
  zoom: 'Größe',
  fit: 'Einpassen',
  full: '100 %',
  detail: 'Details',
  detailHint: 'Die Details sind erfunden. Bei 0 % bleibt nur das Wahrscheinliche, das ist glatter.',
  another: 'Andere Details',
  anotherHint: 'Die Details mit dem nächsten Startwert neu ziehen',
  format: 'Format',
  download: 'Herunterladen',
  newPhoto: 'Anderes Foto',
  device: 'Rechnet auf: {device}.',
  deviceGpu: 'Grafikprozessor (WebGPU)',
  deviceThreads: 'Prozessor, {threads} Threads',
  deviceThread: 'Prozessor, ein Thread (für mehr fehlen der Seite Header)',
  notImage: '{name} ist kein Bild, das dieser Browser lesen kann; wähle eine JPEG-, PNG-, WebP- oder AVIF-Datei.',
  damaged: '{name} ist eine beschädigte oder unvollständige {format}-Datei; beschaffe eine vollständige Kopie.',
  tooLarge: '{name} hat {megapixels} Megapixel, mehr als die {most}, die hier Platz haben; verkleinere es oder nimm das Programm: ucdir restore.',
  tooDeep: '{name} ist eine JPEG-Datei mit {bits} Bit je Wert, die hier nicht gelesen werden kann; wandle sie in PNG um.',
  noMemory: 'Der Speicher dieses Browsers reicht nicht für {name}; schließe andere Tabs oder verkleinere das Foto.',
  noModels: 'Die Modelle können nicht geladen werden; lade die Seite neu, wenn du online bist.',
  notFinite: 'Das Modell ergab Zahlen, die nicht endlich sind; wähle ein anderes Modell.',
  failed: 'Mit {name} ging etwas schief ({reason}); lade die Seite neu und versuche es noch einmal.',
  seconds: '{n} s',
  minutes: '{n} min',
};

const LANGUAGES = { en, de } as const;
export type Language = keyof typeof LANGUAGES;
export type { Key };

let language: Language = 'en';

export const isLanguage = (name: string): name is Language => name in LANGUAGES;
export const currentLanguage = (): Language => language;

export function setLanguage(name: Language): void {
  language = name;
}

export const isKey = (key: string): key is Key => key in en;

/** The text of a key with its {names} replaced; numbers as the language writes them. */
export function say(key: Key, values: Record<string, string | number> = {}): string {
  return LANGUAGES[language][key].replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? '';
    return typeof value === 'number' ? value.toLocaleString(language, { useGrouping: false, maximumFractionDigits: 1 }) : value;
  });
}

/** A duration, in seconds or minutes. */
export function duration(seconds: number): string {
  return seconds < 90 ? say('seconds', { n: Math.max(1, Math.round(seconds)) }) : say('minutes', { n: Math.round(seconds / 60) });
}
