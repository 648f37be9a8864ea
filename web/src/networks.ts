// Networks in ONNX Runtime: on the GPU by WebGPU where there is one, else on the CPU by WebAssembly.

import gpuLoader from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url';
import gpuWasm from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import cpuLoader from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import cpuWasm from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url';
import type { InferenceSession } from 'onnxruntime-web';
import type { Manifest, Model, Networks } from './model';

type Runtime = typeof import('onnxruntime-web/wasm');
export type Device = 'webgpu' | 'wasm';

/** Most threads: beyond, small layers only wait for each other. */
const MOST_THREADS = 8;

/** Files of the runtime that a device needs, to be kept for being offline. */
export const RUNTIME_FILES: Record<Device, [loader: string, wasm: string]> = {
  webgpu: [gpuLoader, gpuWasm],
  wasm: [cpuLoader, cpuWasm],
};

/** The GPU where there is a real one; or what the address of the page says: `?device=wasm` or `?device=webgpu`. */
export async function findDevice(): Promise<Device> {
  interface Gpu {
    requestAdapter(): Promise<{ info?: { isFallbackAdapter?: boolean } } | null>;
  }
  const wanted = new URLSearchParams(self.location.search).get('device');
  if (wanted === 'wasm' || wanted === 'webgpu') return wanted;
  try {
    const adapter = await (navigator as { gpu?: Gpu }).gpu?.requestAdapter();
    return adapter && !adapter.info?.isFallbackAdapter ? 'webgpu' : 'wasm';
  } catch {
    return 'wasm';
  }
}

/** Threads of WebAssembly: one unless the page is cross-origin isolated, see docs/web.md. */
export const threads = (): number =>
  self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;

const runtimes = new Map<Device, Promise<Runtime>>();

function runtime(device: Device): Promise<Runtime> {
  let found = runtimes.get(device);
  if (!found) {
    found = (device === 'webgpu' ? import('onnxruntime-web/webgpu') : import('onnxruntime-web/wasm')).then((ort) => {
      const [mjs, wasm] = RUNTIME_FILES[device].map((url) => new URL(url, self.location.href).href) as [string, string];
      ort.env.wasm.wasmPaths = { mjs, wasm };
      ort.env.wasm.numThreads = threads();
      ort.env.logLevel = 'error';
      return ort as Runtime;
    });
    runtimes.set(device, found);
  }
  return found;
}

/** Address of a file of a model, which changes with its content. */
export const modelFile = (base: string, model: Model, file: string): string =>
  `${base}models/${model.name}/${file}?${model.files[file] ?? ''}`;

/** Open both networks of a model; a GPU that does not take them is passed over. */
export async function openNetworks(base: string, model: Model, device: Device): Promise<Networks> {
  const bytes = async (file: string): Promise<Response> => {
    const response = await fetch(modelFile(base, model, file));
    if (!response.ok) throw new Error(`${file}: ${response.status}`);
    return response;
  };
  const manifest = (await (await bytes('ucdir.json')).json()) as Manifest;
  const [predictor, diffusionModel] = await Promise.all(
    ['predictor.onnx', 'diffusion_model.onnx'].map(async (file) => (await bytes(file)).arrayBuffer()),
  ) as [ArrayBuffer, ArrayBuffer];
  const ort = await runtime(device);
  const open = (network: ArrayBuffer): Promise<InferenceSession> =>
    ort.InferenceSession.create(network, { executionProviders: [device], logSeverityLevel: 4 });
  let networks: Networks;
  try {
    networks = networksOf(ort, manifest, [await open(predictor), await open(diffusionModel)]);
    if (device === 'webgpu') await check(networks, model);
  } catch (error) {
    if (device === 'wasm') throw error;
    console.warn('WebGPU is not used:', error);
    return openNetworks(base, model, 'wasm');
  }
  return networks;
}

function networksOf(ort: Runtime, manifest: Manifest, [predictor, diffusionModel]: [InferenceSession, InferenceSession]): Networks {
  const run = async (
    session: InferenceSession, images: Record<string, Float32Array>, numbers: Record<string, number>, shape: readonly number[],
  ): Promise<Float32Array> => {
    const feeds = Object.fromEntries([
      ...Object.entries(images).map(([name, data]) => [name, new ort.Tensor('float32', data, shape)] as const),
      ...Object.entries(numbers).map(([name, value]) => [name, new ort.Tensor('float32', [value], [1])] as const),
    ]);
    const { output } = await session.run(feeds);
    return (await output!.getData()) as Float32Array;
  };
  return {
    manifest,
    predict: (degraded, height, width) => run(predictor, { degraded }, {}, [1, 3, height, width]),
    denoise: (noisy, degraded, guidance, height, width, level, scalars) => {
      const unsaid = Object.entries(manifest.scalars).map(([name, scalar]) => [name, scalar.default ?? NaN] as const);
      const numbers = { noise_level: level, ...Object.fromEntries(unsaid), ...scalars };
      return run(diffusionModel, { noisy, degraded, guidance }, numbers, [1, 3, height, width]);
    },
  };
}

/** Most that a GPU's numbers may differ: a sixteenth of an 8-bit level. */
const TOLERANCE = 5e-4;

/** Reject networks that give other numbers of a small pattern than the model's list says. */
async function check(networks: Networks, { check: expected, name }: Model): Promise<void> {
  if (!expected) return;
  const { scalars, noise_levels: levels } = networks.manifest;
  const side = 16;
  const pattern = Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin(i * 0.7));
  const plane = side * side;
  const turned = Float32Array.from(pattern, (_, i) => pattern[(2 - Math.floor(i / plane)) * plane + (i % plane)]!);
  const half = pattern.map((value) => value / 2);
  const known = Object.fromEntries(Object.entries(scalars).map(([scalar, { range }]) => [scalar, (range[0] + range[1]) / 2]));
  const unknown = Object.fromEntries(Object.keys(scalars).map((scalar) => [scalar, NaN]));
  const denoise = (given: Record<string, number>): Promise<Float32Array> =>
    networks.denoise(turned, pattern, half, side, side, levels[0]!, given);
  const found = { predictor: await networks.predict(pattern, side, side), unknown: await denoise(unknown), known: await denoise(known) };
  const differences = (['predictor', 'unknown', 'known'] as const).map((key) =>
    Math.max(...expected[key].map((value, i) => Math.abs(value - found[key][i * 37]!))),
  );
  if (!differences.every((one) => one <= TOLERANCE)) throw new Error(`${name} differs by ${differences.join(', ')}`);
}
