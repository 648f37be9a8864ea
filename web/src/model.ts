// What is known of a model in ONNX form: `ucdir.json` (docs/export.md) and the list that the page starts with.

export interface Manifest {
  precision: string;
  receptive_field: number;
  multiple_of: number;
  prediction: 'noise' | 'residual';
  /** `default`: where a call gives none; null where it is unknown then. */
  scalars: Record<string, { unit: string; range: [number, number]; default?: number | null }>;
  noise_levels: number[];
  bytes_per_pixel: number;
  pipeline: {
    task: string;
    sampler: string;
    eta: number;
    noise_scale: number;
    residual_scale: number;
    residual_range: 'image' | 'unit';
  };
}

/** A model as a list of models names it. */
export interface Model {
  name: string;
  task: string;
  scalars: Manifest['scalars'];
  /** Bytes to be fetched; 0 where the server has it. */
  bytes: number;
  /** Folder below `models/`, and file -> the beginning of its SHA-256. */
  files: Record<string, string>;
  /** What the networks give of a small pattern, every 37th number; see scripts/make_web_models.py. */
  check?: Record<'predictor' | 'unknown' | 'known', number[]>;
}

/** Two networks on patches [3,h,w]; h and w are multiples of `multiple_of`. */
export interface Networks {
  manifest: Manifest;
  predict(degraded: Float32Array, height: number, width: number): Promise<Float32Array>;
  denoise(
    noisy: Float32Array, degraded: Float32Array, guidance: Float32Array, height: number, width: number,
    level: number, scalars: Record<string, number>,
  ): Promise<Float32Array>;
}
